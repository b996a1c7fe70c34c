"""Loose keys: a store of a database without a primary key, in which a test has a key stand for two records."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import Held, Inventory, KeyRange, WriteResult
from vectorferry.core.records import keys_of
from vectorferry.stores.base import Capabilities, VectorStore
from vectorferry.stores.delegating import DelegatingStore


class LooseKeys(DelegatingStore):
    """The store, and a second record beside each of those that are planted: told, counted and listed, and never read."""

    def __init__(self, store: VectorStore) -> None:
        super().__init__(store)
        self._planted = set[tuple[str, str]]()

    def plant(self, namespace: str, id_: str) -> None:
        """Put a second record with the key of one that is there."""
        assert len(self.whole.fetch(namespace, [id_])) == 1
        self._planted.add((namespace, id_))

    @property
    def capabilities(self) -> Capabilities:
        """As the store's, without unique keys."""
        return replace(self.whole.capabilities, unique_keys=False)

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """The doubled keys by name."""
        told = self.whole.inventory(namespaces, most=most)
        held = {name: Held(each.rows + len(self._in(name))) for name, each in told.held.items()}
        doubled = [(name, id_) for name in namespaces for id_ in self._in(name)]
        unread = tuple(f"2 records have the key {id_!r} of namespace {name!r}" for name, id_ in doubled)
        return replace(told, held=held, unread=(*told.unread, *unread))

    def count(self, namespace: str | None = None) -> int:
        """Both records."""
        more = self._planted if namespace is None else self._in(namespace)
        return self.whole.count(namespace) + len(more)

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """The id of each record."""
        doubled = self._in(span.namespace)
        for page in self.whole.list_ids(span):
            yield [id_ for each in page for id_ in [each] * (1 + (each in doubled))]

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Raises RecordError at a doubled key."""
        for batch in self.whole.scan(span, batch_rows=batch_rows, ids=ids):
            self._refuse(list(keys_of(batch)))
            yield batch

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """Raises RecordError for a doubled key."""
        self._refuse([(namespace, id_) for id_ in ids])
        return self.whole.fetch(namespace, ids)

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """One record takes the place of all that have its key."""
        written = self.whole.upsert(batch)
        self._planted -= set(keys_of(batch))
        return written

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete all records with these keys."""
        self.whole.delete(namespace, ids)
        self._planted -= {(namespace, id_) for id_ in ids}

    def drop(self) -> None:
        """Drop all."""
        self.whole.drop()
        self._planted.clear()

    def _in(self, namespace: str) -> list[str]:
        return sorted(id_ for name, id_ in self._planted if name == namespace)

    def _refuse(self, keys: Sequence[tuple[str, str]]) -> None:
        for namespace, id_ in keys:
            if (namespace, id_) in self._planted:
                raise RecordError(f"{self.name}, namespace {namespace!r}: 2 records have the key {id_!r}")
