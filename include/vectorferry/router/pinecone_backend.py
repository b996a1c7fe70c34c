"""Backend over a router: what an index of Pinecone's API reads and writes through, in the gateway and in the drop-in."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from vectorferry.core.errors import NotDone, Unknown
from vectorferry.core.filters import Filter, to_json
from vectorferry.gateway.faults import Effects
from vectorferry.gateway.pinecone.api.backend import Backing, Found, RecordPatch
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.problems import missing, unsupported
from vectorferry.gateway.pinecone.api.requests import Shape, wire_namespace
from vectorferry.gateway.pinecone.observing import Observation, ObservedIndex
from vectorferry.router.answer_comparison import Fetched, Searched
from vectorferry.stores.bulk_reads import all_matching

if TYPE_CHECKING:
    from vectorferry.router.router import Router

_PAGE = 1_000
T = TypeVar("T")


class RouterBackend:
    """One index behind a router; `close` leaves the router to who made it. Thread-safe. No faults are injected here.

    There are no log positions: what has been indexed, only the database knows.
    """

    alone = False
    reads_everything = False
    indexed = None

    def __init__(self, router: "Router") -> None:
        self._router = router
        self._lock = threading.Lock()
        self._writes = 0

    @property
    def position(self) -> int:
        """How many writes began here."""
        return self._writes

    @cached_property
    def shape(self) -> Shape:
        """What the collection holds: the same on both sides."""
        return Shape.of(self._router.describe())

    def read(self, namespace: str, ask: Callable[[Backing], T]) -> T:
        """What the side that has the authority answers."""
        return self._router.ask(namespace, ask)

    def search(self, namespace: str, k: int, ask: Callable[[Backing], Found]) -> Found:
        """The same, of a search: a share is asked of the other side too, later."""
        return self._router.ask(namespace, ask, Searched(namespace, k, _scores))

    def fetch(self, namespace: str, ids: Sequence[str], effects: Effects) -> pa.RecordBatch:
        """The records that are there."""
        del effects
        asked = tuple(ids)
        return self._router.ask(namespace, lambda store: store.fetch(namespace, asked), Fetched(namespace, asked))

    def counts(self) -> Mapping[str, int]:
        """Records by namespace."""
        return self._router.describe().namespaces

    def create_namespace(self, namespace: str) -> None:
        """Not served: a namespace is there once it has records."""
        raise unsupported(f"create_namespace {namespace!r}")

    def put(self, batch: pa.RecordBatch, effects: Effects) -> None:
        """Put whole records."""
        del effects
        self._begin_write()
        self._router.put(batch)

    def update(self, namespace: str, id_: str, change: RecordPatch, effects: Effects) -> None:
        """Change a record."""
        del effects
        self._begin_write()
        self._change(namespace, id_, change)

    def update_where(self, namespace: str, where: Filter, change: RecordPatch, effects: Effects) -> None:
        """Change what passes the filter now, record by record."""
        del effects
        self._begin_write()
        ids = self._router.ask(namespace, lambda store: all_matching(store, namespace, where))
        _one_by_one("changed", ids, lambda id_: self._change(namespace, id_, change))

    def delete(self, namespace: str, ids: Sequence[str], effects: Effects) -> None:
        """Delete records."""
        del effects
        self._begin_write()
        self._router.delete(namespace, ids)

    def delete_where(self, namespace: str, where: Filter, effects: Effects) -> None:
        """Delete what passes the filter."""
        del effects
        self._begin_write()
        self._router.delete_where(namespace, to_json(where))

    def delete_all(self, namespace: str, effects: Effects) -> None:
        """Delete what a listing finds, page by page. Raises 404 where that is nothing."""
        del effects
        self._begin_write()
        pages = self._pages(namespace)
        first = next(pages, None)
        if first is None:
            raise missing(f"Namespace {wire_namespace(namespace)!r}")
        _one_by_one("deleted", itertools.chain([first], pages), lambda ids: self._router.delete(namespace, ids))

    def close(self) -> None:
        """The router is not this one's to close."""

    def _begin_write(self) -> None:
        with self._lock:
            self._writes += 1

    def _change(self, namespace: str, id_: str, change: RecordPatch) -> None:
        if change.sparse is not None:
            raise unsupported("an update of sparse values")
        vector = None if change.vector is None else change.vector[0]
        self._router.update(namespace, id_, vector=vector, set_metadata=change.metadata)

    def _pages(self, namespace: str) -> Iterator[list[str]]:
        page = [""]
        while page := self._router.list_ids(namespace, after=page[-1], limit=_PAGE):
            yield page


def _scores(found: Found) -> dict[str, float]:
    return dict(zip(found[0], found[1], strict=True))


def _one_by_one(what: str, parts: Iterable[T], write: Callable[[T], None]) -> None:
    """Write parts in turn; once one is done, a refusal of another is no longer "nothing was done"."""
    for done, part in enumerate(parts):
        try:
            write(part)
        except NotDone as error:
            if done:
                raise Unknown(f"{done} parts are {what}, the others are not: {error}", within=0.0) from error
            raise


def index_of(router: "Router", observation: Observation | None = None) -> IndexData:
    """What Pinecone's API can ask of an index, over a router; what is asked may be counted."""
    backend = RouterBackend(router)
    return IndexData(backend) if observation is None else ObservedIndex(backend, observation)
