"""Stops a supervisor's servers when the supervisor is gone: `python -m vectorferry.local.watchdog FOLDER`.

Its standard input is a pipe that the supervisor holds; the pipe ends when the supervisor does, however it does.
"""

import sys
from pathlib import Path

from vectorferry.local.runfile import RunFile, stop_all


def main() -> None:
    """Wait for the supervisor's end, then stop what the run file still lists."""
    sys.stdin.buffer.read()
    file = RunFile(Path(sys.argv[1]))
    held = file.try_lock() if file.folder.exists() else None
    if held is None:
        return  # a supervisor that came after has the lock, and stops what it finds
    with held:
        stop_all(file.read().entries)
        file.clear()


if __name__ == "__main__":
    main()
