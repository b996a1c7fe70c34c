"""The keys that callers may send, each with a name that is logged and counted in its place, and with what it may be used for."""

import hashlib
import hmac
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

from vectorferry.core.errors import ConnectionMissing
from vectorferry.gateway.pinecone.api.access import Caller, limited_to

_ENTRY = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]+):)?(?P<key>[^\s:,]+)(?P<limits>(?:\s+\S+)*)\Z")
_DIGEST = re.compile(r"sha256=([0-9a-f]{64})\Z")
_NAMESPACES = "namespaces="
_LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class KeyRing(Protocol):
    """Says whose key it is."""

    def caller(self, key: str | None) -> Caller | None:
        """Whose key it is, None where it is not one of ours."""
        ...


class Keys:
    """Keys, kept as their digests."""

    def __init__(self, callers: Sequence[tuple[bytes, Caller]]) -> None:
        if not callers:
            raise ConnectionMissing("a gateway needs at least one API key")
        self._callers = tuple(callers)

    @classmethod
    def parse(cls, entries: Sequence[str], *, limits: bool = True) -> Self:
        """Keys from entries `name:key`; one without a name is called key1, key2, ... by its place.

        In the place of a key may stand its digest, `sha256=` and 64 hexadecimal digits. Behind it, after a space, `read` makes it a key for
        reading, and `namespaces=a,b*` limits it to these. `limits` False takes no entry with such.
        Raises ConnectionMissing for what is none of it, and for a name or key that occurs twice; the message shows no key.
        """
        found: dict[str, tuple[bytes, Caller]] = {}
        for place, entry in enumerate(entries, 1):
            parts = _ENTRY.match(entry.strip())
            if not parts:
                raise ConnectionMissing(f"API key {place} is not of the form name:key, without spaces")
            name, digest = parts["name"] or f"key{place}", _digest_of(parts["key"])
            if name in found or any(digest == known for known, _ in found.values()):
                raise ConnectionMissing(f"API key {place} ({name}) is there twice")
            if parts["limits"] and not limits:
                raise ConnectionMissing(
                    f"API key {place} ({name}) has limits, which are read from a file only: --keys FILE"
                )
            found[name] = digest, _limited(Caller(name), parts["limits"].split())
        return cls(list(found.values()))

    def caller(self, key: str | None) -> Caller | None:
        """Whose key it is, None where it is not one of ours. Takes the same time whichever it is."""
        given, found = _digest(key or ""), None
        for digest, caller in self._callers:
            found = caller if hmac.compare_digest(given, digest) else found
        return found


class KeyFile:
    """Keys in the lines of a file, which is read again within a second of its change.

    What is there then and cannot be read is logged as an error, and the keys of before hold on: a slip locks nobody out. Thread-safe.
    """

    def __init__(self, file: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._now = now
        self._lock = threading.Lock()
        self._seen = _state(file)
        self._keys = _read(file)
        self._looked = now()

    def caller(self, key: str | None) -> Caller | None:
        """Whose key it is, None where it is not one of ours."""
        with self._lock:
            if self._now() - self._looked >= _LOOK_SECONDS:
                self._looked = self._now()
                self._look()
            keys = self._keys
        return keys.caller(key)

    def _look(self) -> None:
        try:
            state = _state(self._file)
            if state == self._seen:
                return
            self._keys = _read(self._file)
            self._seen = state
        except ConnectionMissing as error:
            log.error("the API keys of before hold on: %s", error)
            return
        log.info("the API keys were read again")


def _state(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise ConnectionMissing(f"the API keys cannot be read: {error}") from error
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(file: Path) -> Keys:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectionMissing(f"the API keys cannot be read: {error}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ConnectionMissing(f"no API keys: {file} is empty")
    return Keys.parse(lines)


def _limited(caller: Caller, words: Sequence[str]) -> Caller:
    writes, patterns = True, None
    for word in words:
        given = [each for each in word.removeprefix(_NAMESPACES).split(",") if each]
        if word == "read" and writes:
            writes = False
        elif word.startswith(_NAMESPACES) and given and patterns is None:
            patterns = given
        else:
            raise ConnectionMissing(
                f"the limits of API key {caller.name} are not `read`, or `namespaces=` and names, each once"
            )
    caller = Caller(caller.name, writes=writes)
    return caller if patterns is None else limited_to(caller, patterns)


def _digest_of(key: str) -> bytes:
    given = _DIGEST.match(key)
    return bytes.fromhex(given[1]) if given else _digest(key)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
