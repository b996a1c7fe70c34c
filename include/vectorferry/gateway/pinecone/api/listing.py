"""Ids of a namespace in small pages and bitwise order, read from the store in large ones."""

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from vectorferry.core.model import KeyOrder
from vectorferry.gateway.pinecone.api.problems import invalid
from vectorferry.stores.bulk_reads import Lists, ids_after

_READ_AHEAD = 10_000
_KEPT = 64
_FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listing stands: after the id `skip_past`, None at the beginning, among ids that start with `prefix`."""

    namespace: str
    prefix: str = ""
    skip_past: str | None = None

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
    """Ids of a store that were read and not yet asked for; good until this process writes, and for a few seconds."""

    ids: list[str]
    state: tuple[str, int]
    until: float


class Listing:
    """Serves pages of ids. Thread-safe.

    `alone`: nobody else writes the store, so what was read ahead is current. Else ids are kept only of a store in another order than
    theirs, which has to be read as a whole for every page.
    """

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._lock = threading.Lock()
        self._rests: OrderedDict[Cursor, _Rest] = OrderedDict()

    def page(self, store: Lists, cursor: Cursor, limit: int, position: int) -> tuple[list[str], bool]:
        """The next ids after a cursor, and whether more follow; `position` is the index's last write."""
        state, ahead = (store.name, position), self._alone or store.capabilities.key_order is not KeyOrder.ID
        ids = self._take(cursor, state)
        if len(ids) <= limit:
            ids = self._read(
                store, cursor, max(limit + 1, _READ_AHEAD) if ahead and cursor.skip_past is not None else limit + 1
            )
        page, rest = ids[:limit], ids[limit:]
        if rest and ahead:
            self._keep(Cursor(cursor.namespace, cursor.prefix, page[-1]), rest, state)
        return page, bool(rest)

    def _read(self, store: Lists, cursor: Cursor, wanted: int) -> list[str]:
        # A first page may be all that is wanted; whoever comes back with a token probably wants everything.
        found: list[str] = []
        for page in ids_after(store, cursor.namespace, prefix=cursor.prefix, after=cursor.skip_past):
            found += page
            if len(found) >= wanted:
                break
        return found

    def _take(self, cursor: Cursor, state: tuple[str, int]) -> list[str]:
        with self._lock:
            rest = self._rests.pop(cursor, None)
        good = rest and rest.state == state and time.monotonic() < rest.until
        return rest.ids if rest and good else []

    def _keep(self, cursor: Cursor, ids: list[str], state: tuple[str, int]) -> None:
        with self._lock:
            self._rests[cursor] = _Rest(ids, state, time.monotonic() + _FRESH_SECONDS)
            while len(self._rests) > _KEPT:
                self._rests.popitem(last=False)


def page_of_names(names: Sequence[str], cursor: Cursor, limit: int) -> tuple[list[str], bool]:
    """A page of sorted names, and whether more follow."""
    after = cursor.skip_past
    found = [name for name in names if (after is None or name > after) and name.startswith(cursor.prefix)]
    return found[:limit], len(found) > limit
