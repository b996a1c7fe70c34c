"""One process of the soak: `python -m soak.child ROLE NAME …`. It ends with its parent, and can stop itself at the worst moment.

While there is a file NAME.pause that names a time to come (of the machine's monotonic clock), the process stops itself (SIGSTOP) right
after its next look at its lease, before the request that the look permits. Whoever made the file wakes it again.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_one_stops = threading.Lock()


def main() -> None:
    """Become a client, the driver, a command of vectorferry, or the local Qdrant."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    role, name, *arguments = sys.argv[1:]
    _pause_after_checks(Path(f"{name}.pause"))
    if role == "command":
        from vectorferry.cli import app

        sys.argv = ["vectorferry", *arguments]
        app.main()
    elif role == "qdrant":
        from vectorferry.local.qdrant import __main__ as qdrant

        qdrant.main(arguments)
    elif role == "driver":
        from soak import driver

        driver.main(name, *arguments)
    else:
        from soak import client

        client.main(role, name, *arguments)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _pause_after_checks(wish: Path) -> None:
    """Wrap the check that stores call before each request, before anybody imports it by name."""
    from vectorferry.stores import caller

    original = caller.permitted_by

    @contextmanager
    def permitted_by(check: Callable[[], None]) -> Iterator[None]:
        with original(lambda: _checked(check, wish)):
            yield

    caller.permitted_by = permitted_by


def _checked(check: Callable[[], None], wish: Path) -> None:
    check()
    if wish.exists():
        with _one_stops:
            if wish.exists() and time.monotonic() < float(wish.read_text()):
                wish.unlink()
                os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    main()
