"""`vectorferry version`: prints the version."""

import sys

from vectorferry import __version__


def version() -> None:
    """Print the version."""
    sys.stdout.write(__version__ + "\n")
