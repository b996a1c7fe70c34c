"""Document indexes: a stand-in for the store of an index with a document schema, which reads as empty through the vectors API."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from vectorferry.core.errors import Unsupported
from vectorferry.core.filters import Filter
from vectorferry.core.model import CollectionInfo, KeyRange, Metric, Neighbours, Vectors, WriteResult
from vectorferry.core.records import record_schema
from vectorferry.stores.base import Capabilities


class NoDocuments:
    """Has nothing, and takes nothing."""

    capabilities = Capabilities(product="documents")

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> CollectionInfo:
        """An empty collection."""
        return CollectionInfo(self.name, None, Metric.DOT, {})

    def count(self, namespace: str | None = None) -> int:
        """Nothing."""
        del namespace
        return 0

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Nothing."""
        del span
        return iter(())

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """Nothing."""
        del namespace, ids
        return pa.RecordBatch.from_pylist([], record_schema(None))

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Refused."""
        raise Unsupported(f"{len(batch)} vectors cannot be written", store=self.name)

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Refused."""
        raise Unsupported(f"{len(ids)} vectors of {namespace!r} cannot be deleted", store=self.name)

    def search(
        self, namespace: str, queries: Vectors, k: int, *, where: Filter | None = None, effort: int | None = None
    ) -> Neighbours:
        """Nothing."""
        del namespace, k, where, effort
        return Neighbours(((),) * len(queries), ((),) * len(queries))

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Nothing."""
        del namespace, where, limit
        return frozenset()

    def close(self) -> None:
        """Nothing to release."""
