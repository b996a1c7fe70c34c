"""Rows of the table: made of batches and made into batches, without an object for each number of a vector."""

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa

from vectorferry.core.records import make_batch, vectors_of
from vectorferry_sqlite.client import Row


def rows_of(batch: pa.RecordBatch) -> list[Row]:
    """(namespace, id, vector, sparse, metadata) of each record: float32 as they lie in memory, sparse vectors as JSON."""
    vectors = vectors_of(batch)
    valid = batch.column("vector").is_valid().to_pylist()
    dense = [vectors[row].astype("<f4").tobytes() if there else None for row, there in enumerate(valid)]
    sparse = [value and orjson.dumps(value).decode() for value in batch.column("sparse").to_pylist()]
    names, ids, metadata = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    return list(zip(names, ids, dense, sparse, metadata, strict=True))


def batch_of(namespace: str, rows: Sequence[Row], dimension: int | None) -> pa.RecordBatch:
    """The batch of rows (id, vector, sparse, metadata)."""
    dimension = dimension or 0
    missing = np.array([row[1] is None for row in rows], bool)
    raw = b"".join(bytes(4 * dimension) if row[1] is None else row[1] for row in rows)
    vectors = np.frombuffer(raw, "<f4").reshape(len(rows), dimension)
    sparse = [row[2] and orjson.loads(row[2]) for row in rows]
    return make_batch(namespace, [row[0] for row in rows], vectors, [row[3] for row in rows], sparse, missing=missing)
