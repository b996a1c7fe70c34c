"""The keys that callers may send, each with a name that is logged and counted in its place."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Self

from vectorferry.core.errors import ConnectionMissing

_ENTRY = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]+):)?(?P<key>[^\s:,]+)\Z")


class Keys:
    """Keys by name."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        if not keys:
            raise ConnectionMissing("a gateway needs at least one API key")
        self._digests = [(name, _digest(key)) for name, key in keys.items()]

    @classmethod
    def parse(cls, entries: Sequence[str]) -> Self:
        """Keys from entries `name:key`; one without a name is called key1, key2, ... by its place.

        Raises ConnectionMissing for what is neither, and for a name or key that occurs twice; the message shows no key.
        """
        found: dict[str, str] = {}
        for place, entry in enumerate(entries, 1):
            parts = _ENTRY.match(entry.strip())
            if not parts:
                raise ConnectionMissing(f"API key {place} is not of the form name:key, without spaces")
            name = parts["name"] or f"key{place}"
            if name in found or parts["key"] in found.values():
                raise ConnectionMissing(f"API key {place} ({name}) is there twice")
            found[name] = parts["key"]
        return cls(found)

    def caller(self, key: str | None) -> str | None:
        """The name of a key, None where it is not one of ours. Takes the same time whichever it is."""
        given, name = _digest(key or ""), None
        for known, digest in self._digests:
            name = known if hmac.compare_digest(given, digest) else name
        return name


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
