"""Ids of a namespace in small pages and bitwise order, read from the store in large ones."""

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import orjson

from vectorferry.gateway.pinecone.problems import invalid
from vectorferry.model import KeyOrder, KeyRange

_READ_AHEAD = 10_000
_KEPT = 64
_FRESH_SECONDS = 5.0


class _Lists(Protocol):
    @property
    def capabilities(self) -> Any: ...

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]: ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listing stands: after the id `skip_past`, among ids that start with `prefix`."""

    namespace: str
    prefix: str = ""
    skip_past: str = ""

    def token(self, last: str) -> str:
        """The pagination token for what follows `last`, in the vendor's form."""
        return base64.b64encode(orjson.dumps({"skip_past": last, "prefix": self.prefix or None})).decode()


def cursor_of(namespace: str, prefix: str, token: str | None) -> Cursor:
    """Where a request wants to go on; refuses a token that is not one, or one of another prefix."""
    if not token:
        return Cursor(namespace, prefix)
    try:
        raw = orjson.loads(base64.b64decode(token, validate=True))
        cursor = Cursor(namespace, raw["prefix"] or "", raw["skip_past"])
    except (ValueError, KeyError, TypeError):
        raise invalid("Invalid pagination token") from None
    if prefix and prefix != cursor.prefix:
        raise invalid("Invalid pagination token: it belongs to another prefix")
    return cursor


@dataclass(frozen=True, slots=True)
class _Rest:
    """Ids that were read and not yet asked for; good while the index has not been written to and for a few seconds."""

    ids: list[str]
    position: int
    until: float


class Listing:
    """Serves pages of ids. Thread-safe."""

    def __init__(self, store: _Lists) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._rests: OrderedDict[Cursor, _Rest] = OrderedDict()

    def page(self, cursor: Cursor, limit: int, position: int) -> tuple[list[str], bool]:
        """The next ids after a cursor, and whether more follow; `position` is the index's last write."""
        ids = self._take(cursor, position)
        if len(ids) <= limit:
            ids = self._read(cursor, limit)
        page, rest = ids[:limit], ids[limit:]
        if rest:
            self._keep(Cursor(cursor.namespace, cursor.prefix, page[-1]), rest, position)
        return page, bool(rest)

    def _read(self, cursor: Cursor, limit: int) -> list[str]:
        # A first page may be all that is wanted; whoever comes back with a token probably wants everything.
        wanted = limit + 1 if not cursor.skip_past else max(limit + 1, _READ_AHEAD)
        found: list[str] = []
        for page in self._pages(cursor):
            found += [id_ for id_ in page if id_ > cursor.skip_past] if cursor.skip_past else page
            if len(found) >= wanted:
                break
        return found

    def _pages(self, cursor: Cursor) -> Iterator[Sequence[str]]:
        if self._store.capabilities.key_order is KeyOrder.ID:
            return self._store.list_ids(_span(cursor))
        # The store orders by something else, so all ids have to be read and sorted here.
        everything = chain.from_iterable(self._store.list_ids(KeyRange(cursor.namespace)))
        return iter([sorted(id_ for id_ in everything if id_.startswith(cursor.prefix))])

    def _take(self, cursor: Cursor, position: int) -> list[str]:
        with self._lock:
            rest = self._rests.pop(cursor, None)
        good = rest and rest.position == position and time.monotonic() < rest.until
        return rest.ids if rest and good else []

    def _keep(self, cursor: Cursor, ids: list[str], position: int) -> None:
        with self._lock:
            self._rests[cursor] = _Rest(ids, position, time.monotonic() + _FRESH_SECONDS)
            while len(self._rests) > _KEPT:
                self._rests.popitem(last=False)


def _span(cursor: Cursor) -> KeyRange:
    start = max(cursor.prefix, cursor.skip_past)
    # Ids are ASCII, so the last character has a successor.
    end = cursor.prefix[:-1] + chr(ord(cursor.prefix[-1]) + 1) if cursor.prefix else None
    return KeyRange(cursor.namespace, start or None, end)


def page_of_names(names: Sequence[str], cursor: Cursor, limit: int) -> tuple[list[str], bool]:
    """A page of sorted names, and whether more follow."""
    found = [name for name in names if name > cursor.skip_past and name.startswith(cursor.prefix)]
    return found[:limit], len(found) > limit
