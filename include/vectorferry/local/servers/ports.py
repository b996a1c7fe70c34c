"""Free TCP ports on loopback."""

import contextlib
import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections: a server started a little later still finds it free.
RANGE = range(20_000, 32_000)


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nothing listens on it now, else any free port."""
    if preferred:
        with contextlib.suppress(OSError):
            return _free_from(preferred, 1)[0]
    return free_run(1)[0]


def free_run(count: int) -> list[int]:
    """Return `count` consecutive ports that nothing listens on now; raises OSError where none are found."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            return _free_from(random.choice(RANGE), count)  # noqa: S311
    raise OSError(f"no {count} consecutive ports are free")


def _free_from(first: int, count: int) -> list[int]:
    ports = list(range(first, first + count))
    with contextlib.ExitStack() as held:
        for port in ports:
            sock = held.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((LOOPBACK, port))
    return ports
