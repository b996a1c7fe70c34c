"""Stops the servers that were started in a folder: `python -m vectorferry.local.servers.stop FOLDER`."""

import sys
from pathlib import Path

from vectorferry.local.servers.supervisor import ServerError, stop_recorded


def main() -> int:
    """Stop what the folder's run file lists, and nothing else; exit code 1 if something would not stop."""
    try:
        stopped = stop_recorded(Path(sys.argv[1]))
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
