"""`vectorferry …` in a process of its own: what it said, how long it took, its peak memory, or its death.

`python -m drift.commands FILE …` is that process: it leaves its peak in FILE.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
INCLUDE = TESTS.parent / "include"
PATIENCE = 3600.0


@dataclass(frozen=True)
class Ran:
    """How a command ended; `peak` in bytes, 0 where it was killed."""

    code: int
    out: str
    err: str
    seconds: float
    peak: int

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


class Command:
    """A command that was started."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err, self._peak = (folder / f"command.{name}" for name in ("out", "err", "peak"))
        self._peak.unlink(missing_ok=True)
        path = os.pathsep.join((str(TESTS), str(INCLUDE)))
        self._began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "drift.commands", str(self._peak), *arguments],
                env={**os.environ, **environment, "PYTHONPATH": path},
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
            )

    def wait(self) -> Ran:
        """Wait for its end."""
        code = self.process.wait(PATIENCE)
        seconds = time.monotonic() - self._began
        peak = int(self._peak.read_text()) if self._peak.exists() else 0
        return Ran(code, self._out.read_text(), self._err.read_text(), seconds, peak)

    def kill(self) -> Ran:
        """End it where it is (SIGKILL)."""
        self.process.kill()
        return self.wait()


def main() -> None:
    """Run the command line, and leave the peak behind."""
    file, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    from vectorferry.cli import app

    sys.argv = ["vectorferry", *arguments]
    try:
        app.main()
    finally:
        Path(file).write_text(str(_peak_bytes()))


def _peak_bytes() -> int:
    # Not ru_maxrss: Linux hands that of the process which started this one on to it.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
