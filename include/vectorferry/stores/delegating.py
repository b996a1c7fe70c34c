"""Delegating store: a store that is another one in all that its subclasses do not say otherwise."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from vectorferry.core.filters import Filter
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    Inventory,
    KeyRange,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    Vectors,
    WriteResult,
)
from vectorferry.stores.base import Capabilities, VectorStore


class DelegatingStore(VectorStore):
    """Every method of a store, passed on to `whole`. It is written out, so that none that the protocol gains is passed on unseen."""

    def __init__(self, store: VectorStore) -> None:
        self.whole = store

    def namespace_there(self, namespace: str) -> str:
        """Where `whole` has the records of a namespace."""
        return namespace

    @property
    def name(self) -> str:
        """As the store's."""
        return self.whole.name

    @property
    def capabilities(self) -> Capabilities:
        """As the store's."""
        return self.whole.capabilities

    @property
    def usage(self) -> Usage:
        """As the store's."""
        return self.whole.usage

    def describe(self) -> CollectionInfo:
        """As the store's."""
        return self.whole.describe()

    def empty_namespaces(self) -> Sequence[str]:
        """As the store's."""
        return self.whole.empty_namespaces()

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """As the store's."""
        return self.whole.make_namespaces(namespaces)

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """As the store's."""
        return self.whole.inventory(namespaces, most=most)

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """As the store's."""
        return self.whole.obstacles(definition)

    def create(self, definition: CollectionDefinition) -> None:
        """As the store's."""
        self.whole.create(definition)

    def drop(self) -> None:
        """As the store's."""
        self.whole.drop()

    def count(self, namespace: str | None = None) -> int:
        """As the store's."""
        return self.whole.count(namespace)

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """As the store's."""
        return self.whole.list_ids(span)

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """As the store's."""
        return self.whole.split(namespace, rows)

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As the store's."""
        return self.whole.scan(span, batch_rows=batch_rows, ids=ids)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """As the store's."""
        return self.whole.fetch(namespace, ids)

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """As the store's."""
        return self.whole.rejections(batch, partial=partial)

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """As the store's."""
        return self.whole.upsert(batch)

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """As the store's."""
        self.whole.update(namespace, id_, vector=vector, metadata=metadata)

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """As the store's."""
        self.whole.delete(namespace, ids)

    def search(
        self,
        namespace: str,
        queries: Queries,
        k: int,
        *,
        where: Filter | None = None,
        effort: int | None = None,
        vector: str = "",
    ) -> Neighbours:
        """As the store's."""
        return self.whole.search(namespace, queries, k, where=where, effort=effort, vector=vector)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """As the store's."""
        return self.whole.matching(namespace, where, limit)

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """As the store's."""
        return self.whole.keyword(namespace, field, words, k, near=near, vector=vector)

    def pending_index(self) -> int:
        """As the store's."""
        return self.whole.pending_index()

    def change_token(self, namespace: str) -> str | None:
        """As the store's."""
        return self.whole.change_token(namespace)

    def capacity(self, *, count: bool = True) -> Capacity:
        """As the store's."""
        return self.whole.capacity(count=count)

    def server_version(self) -> str:
        """As the store's."""
        return self.whole.server_version()

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """As the store's."""
        return self.whole.footprint(definition, payload)

    def alias_target(self, alias: str) -> str | None:
        """As the store's."""
        return self.whole.alias_target(alias)

    def refuse_alias(self, alias: str) -> None:
        """As the store's."""
        self.whole.refuse_alias(alias)

    def point_alias(self, alias: str) -> None:
        """As the store's."""
        self.whole.point_alias(alias)

    def marker(self, name: str) -> str | None:
        """As the store's."""
        return self.whole.marker(name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """As the store's."""
        self.whole.keep_marker(name, text)

    def close(self) -> None:
        """As the store's."""
        self.whole.close()


def whole(store: VectorStore) -> VectorStore:
    """The store itself, in its own terms and with all that it has, as a backup keeps it."""
    return whole(store.whole) if isinstance(store, DelegatingStore) else store
