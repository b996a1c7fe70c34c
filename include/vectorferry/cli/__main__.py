"""`vectorferry …`, and `python -m vectorferry.cli …`; says what to install where the command line's own libraries are missing."""

import sys
from importlib.util import find_spec

LIBRARIES = ("typer", "rich")
"""What the extra `engine` brings for the command line; a store, or a router, needs neither."""


def main() -> None:
    """Run the command line, or exit with 2 where its libraries are not installed."""
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        sys.stderr.write(
            f"the command line needs {' and '.join(missing)}, not installed here: pip install 'vectorferry[engine]'\n"
        )
        sys.exit(2)
    from vectorferry.cli import app

    app.main()


if __name__ == "__main__":
    main()
