"""The records that are moved: the demo's real embeddings in one namespace, and whether a copy of them is complete."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vectorferry.core.model import KeyRange
from vectorferry.core.records import canonical_json, make_batch, vectors_of
from vectorferry.stores.base import VectorStore

DATA = Path(__file__).parents[1] / "data" / "docs.parquet"
NAMESPACE = "docs"
FIELDS = {
    "kind": "string",
    "doc-kind": "string",
    "module": "string",
    "public": "boolean",
    "lines": "number",
    "source.line": "number",
    "ratio": "number",
    "tags": "strings",
    "parameters": "strings",
    "title": "text",
    "text": "text",
    "größe": "number",
    "名称": "string",
    "id": "string",
    "ref": "string",
    "released": "string",
    "since": "number",
    "bases": "strings",
}
"""All keys of the data set: the vendor's client makes no properties."""
COLUMNS = pa.schema([("namespace", pa.string()), ("id", pa.string()), ("metadata", pa.string())])


class Incomplete(AssertionError):
    """A copy lacks records, or holds others."""


@dataclass(frozen=True)
class Records:
    """Records of one namespace, ordered by id."""

    batch: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def dimension(self) -> int:
        return int(self.batch.schema.field("vector").type.list_size)

    def require_complete(self, copy: Iterable[pa.RecordBatch]) -> None:
        """Raise Incomplete unless the copy (columns namespace, id, vector, metadata, in any order of rows) holds the same records."""
        table = pa.Table.from_batches(copy).select(["namespace", "id", "vector", "metadata"])
        if len(table) != len(self):
            raise Incomplete(f"{len(table)} records, not {len(self)}")
        [found] = table.sort_by("id").combine_chunks().to_batches()
        for name in ("namespace", "id"):
            if found.column(name).to_pylist() != self.batch.column(name).to_pylist():
                raise Incomplete(f"the column {name} differs")
        if vectors_of(found).tobytes() != vectors_of(self.batch).tobytes():
            raise Incomplete("the vectors differ")
        if [_canonical(text) for text in found.column("metadata").to_pylist()] != self.batch.column(
            "metadata"
        ).to_pylist():
            raise Incomplete("the metadata differ")

    def require_in(self, store: VectorStore) -> None:
        """Raise Incomplete unless a store holds the same records, all of them read back."""
        self.require_complete(store.scan(KeyRange(NAMESPACE)))

    def require_file(self, *paths: Path) -> None:
        """Raise Incomplete unless Parquet files hold the same records."""
        self.require_complete([batch for path in paths for batch in pq.read_table(path).to_batches()])


def real(rows: int) -> Records:
    """The first rows of the demo's data set under ids of their own."""
    table = pq.read_table(DATA).slice(0, rows)
    [batch] = table.combine_chunks().to_batches()
    names = zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)
    ids = [f"{number:06}-{id_}"[:80] for number, (_, id_) in enumerate(names)]
    return Records(make_batch(NAMESPACE, ids, vectors_of(batch), batch.column("metadata").to_pylist()))


def many(rows: int, batch_rows: int = 1000) -> Iterator[pa.RecordBatch]:
    """Any number of rows like the real ones, whose vectors are jittered so that no two are equal."""
    base = real(10_000)
    vectors, metadata = vectors_of(base.batch), base.batch.column("metadata").to_pylist()
    random = np.random.default_rng(7)
    for start in range(0, rows, batch_rows):
        numbers = range(start, min(start + batch_rows, rows))
        taken = [number % len(base) for number in numbers]
        jitter = random.normal(0, 0.02, (len(taken), base.dimension)).astype(np.float32)
        ids = [f"record-{number:08}" for number in numbers]
        yield make_batch(NAMESPACE, ids, vectors[taken] + jitter, [metadata[row] for row in taken])


def _canonical(text: str) -> str:
    return canonical_json(orjson.loads(text))
