"""Server versions: read from what a server tells of itself, compared, and refused where they are too old; the one rule for every store."""

import re
from collections.abc import Iterator, Sequence

Version = tuple[int, ...]
_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)")


def version_of(text: str) -> Version:
    """The numbers of a version as in '0.8.1', 'v1.39.0-rc.0' or '16.4 (Debian)': what follows them is no part of it. Empty without any."""
    found = _NUMBERS.match(text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def version_text(version: Sequence[int]) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def too_old(what: str, version: Version, oldest: Version, way_out: str = "") -> Iterator[str]:
    """One obstacle where `what` (as in "the server is Weaviate", to be followed by the version) is older; a version not told is taken.

    `way_out` says what to do where an update of the server is not all that it takes.
    """
    if version and version < oldest:
        yield f"{what} {version_text(version)}; {version_text(oldest)} or later is needed{': ' * bool(way_out)}{way_out}"
