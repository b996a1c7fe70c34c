"""A store as the backend of an index, with what faults do to it: late writes, and reads of the past."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from vectorferry.core.filters import Filter
from vectorferry.core.model import KeyRange
from vectorferry.gateway.faults import Effects
from vectorferry.gateway.pinecone.api.backend import Backing, Found, RecordPatch
from vectorferry.gateway.pinecone.api.problems import ApiProblem, invalid, missing
from vectorferry.gateway.pinecone.api.requests import Shape, wire_namespace
from vectorferry.gateway.pinecone.backends.history import History
from vectorferry.gateway.writelog import SharedLock, WriteLog
from vectorferry.stores.batching import chunks
from vectorferry.stores.bulk_reads import all_matching

_CHUNK = 1000
T = TypeVar("T")


class NamespaceBook(Protocol):
    """Remembers namespaces that were created empty, which stores do not."""

    def names(self) -> frozenset[str]: ...  # noqa: D102

    def add(self, namespace: str) -> None: ...  # noqa: D102

    def discard(self, namespace: str) -> None: ...  # noqa: D102


class StoreBackend:
    """One index in a store that nobody else writes. `remembers`: seconds of the past that reads may ask for. Thread-safe."""

    alone = True
    reads_everything = True

    def __init__(self, store: Backing, shape: Shape, book: NamespaceBook, remembers: Callable[[], float]) -> None:
        self.shape = shape
        self._store = store
        self._book = book
        self._remembers = remembers
        self._log = WriteLog(ApiProblem)
        self._lock = SharedLock()
        self._history = History()

    @property
    def position(self) -> int:
        """Log position of the last write taken."""
        return self._log.position

    @property
    def indexed(self) -> int | None:
        """Log position up to which reads see every write."""
        return self._log.indexed

    def read(self, namespace: str, ask: Callable[[Backing], T]) -> T:
        """What the store answers."""
        del namespace
        return ask(self._store)

    def search(self, namespace: str, k: int, ask: Callable[[Backing], Found]) -> Found:
        """What the store answers."""
        del namespace, k
        return ask(self._store)

    def fetch(self, namespace: str, ids: Sequence[str], effects: Effects) -> pa.RecordBatch:
        """The records that are there, or were where a fault says so."""
        found = self._store.fetch(namespace, ids)
        return self._history.rewind(namespace, ids, found, effects.stale) if effects.stale else found

    def counts(self) -> Mapping[str, int]:
        """Records by namespace."""
        return {**dict.fromkeys(self._book.names(), 0), **self._store.describe().namespaces}

    def create_namespace(self, namespace: str) -> None:
        """Remember a namespace without records."""
        self._book.add(namespace)

    def put(self, batch: pa.RecordBatch, effects: Effects) -> int:
        """Put whole records."""
        return self._log.submit(lambda: self._put(batch), effects.lag)

    def update(self, namespace: str, id_: str, change: RecordPatch, effects: Effects) -> int:
        """Change a record."""
        return self._log.submit(lambda: self._merge(namespace, lambda: [id_], change), effects.lag)

    def update_where(self, namespace: str, where: Filter, change: RecordPatch, effects: Effects) -> int:
        """Change all records that pass a filter when the write takes effect."""
        matching = lambda: all_matching(self._store, namespace, where)  # noqa: E731
        return self._log.submit(lambda: self._merge(namespace, matching, change), effects.lag)

    def delete(self, namespace: str, ids: Sequence[str], effects: Effects) -> int:
        """Delete records."""
        return self._log.submit(lambda: self._remove(namespace, ids), effects.lag)

    def delete_where(self, namespace: str, where: Filter, effects: Effects) -> int:
        """Delete all records that pass a filter when the write takes effect."""
        return self._log.submit(lambda: self._remove_matching(namespace, where), effects.lag)

    def delete_all(self, namespace: str, effects: Effects) -> int:
        """Delete a namespace with its records."""
        if namespace not in self._book.names() and not any(self._store.list_ids(KeyRange(namespace))):
            raise missing(f"Namespace {wire_namespace(namespace)!r}")
        self._book.discard(namespace)
        return self._log.submit(lambda: self._remove_all(namespace), effects.lag)

    def close(self) -> None:
        """Apply what is late, and release the store."""
        self._log.close()
        self._store.close()

    def _put(self, batch: pa.RecordBatch) -> None:
        with self._lock.shared():
            self._write(batch)

    def _write(self, batch: pa.RecordBatch) -> None:
        if not len(batch):
            return
        self._remember(batch.column("namespace")[0].as_py(), batch.column("id").to_pylist())
        result = self._store.upsert(batch)
        if result.rejected:
            first = result.rejected[0]
            raise invalid(f"{len(result.rejected)} records were rejected, first {first.id!r}: {first.reason}")

    def _remember(self, namespace: str, ids: Sequence[str]) -> None:
        if keep := self._remembers():
            self._history.remember(namespace, ids, self._store.fetch(namespace, ids), keep)

    def _remove(self, namespace: str, ids: Sequence[str]) -> None:
        with self._lock.shared():
            self._remember(namespace, ids)
            self._store.delete(namespace, ids)

    def _remove_all(self, namespace: str) -> None:
        with self._lock.alone():
            for page in list(self._store.list_ids(KeyRange(namespace))):
                self._store.delete(namespace, page)

    def _remove_matching(self, namespace: str, where: Filter) -> None:
        # Nobody may write between the look and the delete, or a record that no longer matches would go.
        with self._lock.alone():
            for ids in chunks(all_matching(self._store, namespace, where), _CHUNK):
                self._store.delete(namespace, ids)

    def _merge(self, namespace: str, wanted: Callable[[], Sequence[str]], change: RecordPatch) -> None:
        # Alone: an upsert between the read and the write would be undone.
        with self._lock.alone():
            for ids in chunks(wanted(), _CHUNK):
                before = self._store.fetch(namespace, ids)
                if len(before):
                    self._write(change.of(before))
