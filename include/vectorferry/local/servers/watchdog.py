"""Stops a supervisor's servers when the supervisor is gone: `python -m vectorferry.local.servers.watchdog FOLDER`.

Its standard input is a pipe that the supervisor holds; the pipe ends when the supervisor does, however it does.
"""

import sys
import time
from pathlib import Path
from typing import IO

from vectorferry.local.servers.runfile import RunFile, stop_all


def main() -> None:
    """Wait for the supervisor's end, then stop what the run file still lists."""
    file = RunFile(Path(sys.argv[1]))
    supervisor = int(sys.argv[2])
    sys.stdin.buffer.read()
    held = _lock(file, supervisor)
    if held is not None:
        with held:
            stop_all(file.read().entries)
            file.clear()


def _lock(file: RunFile, supervisor: int) -> IO[str] | None:
    """Return the lock, or None once the run is no longer that supervisor's: it ended well, or another took over.

    A dying process closes its pipes and its locks one by one, so the lock may come a moment after the pipe's end.
    """
    while (run := file.read()).supervisor is not None and run.supervisor.pid == supervisor:
        if held := file.try_lock():
            return held
        time.sleep(0.05)
    return None


if __name__ == "__main__":
    main()
