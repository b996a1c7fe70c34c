"""Dense-only: a source as a target without sparse vectors is given it, for migrations that say so with `source.sparse: leave`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import Refused
from vectorferry.core.model import CollectionInfo, KeyRange, Rejection, VectorKind, Vectors, WriteResult
from vectorferry.core.vector_columns import vector_columns
from vectorferry.stores.base import VectorStore
from vectorferry.stores.row_limits import first_reasons

_NO_WAY_BACK = (
    "its sparse vector was left behind (`source.sparse: leave`), and a record that comes back would be without it"
)


class DenseOnly:
    """A store whose records are read without their sparse vectors, and which takes none back: all else is the store's own.

    `left` counts the sparse vectors that reads have left out, records that were read twice included.
    """

    def __init__(self, store: VectorStore) -> None:
        self.whole = store
        self.left = 0
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def describe(self) -> CollectionInfo:
        """As the store's, without sparse vectors."""
        found = self.whole.describe()
        dense = {name: spec for name, spec in found.named.items() if spec.kind is not VectorKind.SPARSE}
        return replace(found, sparse=False, named=dense)

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As the store's, without sparse vectors."""
        return map(self._dense, self.whole.scan(span, batch_rows=batch_rows, ids=ids))

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """As the store's, without sparse vectors."""
        return self._dense(self.whole.fetch(namespace, ids))

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """Every row: put back, it would replace a record that has more."""
        del partial
        return first_reasons(batch, ((row, _NO_WAY_BACK) for row in range(len(batch))))

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Rejects every row."""
        return WriteResult(0, tuple(self.rejections(batch)))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Raises Refused."""
        del namespace, id_, vector, metadata
        raise Refused(_NO_WAY_BACK, store=self.whole.name)

    def _dense(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        named = [each.column for each in vector_columns(batch.schema) if each.kind is VectorKind.SPARSE]
        found = sum(len(batch) - batch.column(name).null_count for name in ("sparse", *named))
        with self._lock:
            self.left += found
        place = batch.schema.get_field_index("sparse")
        without = batch.set_column(place, batch.schema.field(place), pa.nulls(len(batch), batch.column(place).type))
        return without.drop_columns(named) if named else without


def left_behind(store: VectorStore) -> int:
    """Sparse vectors that reads of this store have left out so far."""
    return store.left if isinstance(store, DenseOnly) else 0
