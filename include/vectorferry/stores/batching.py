"""Cutting batches by rows and by bytes, and refusing batches that are invalid: that no store may be sent."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import RecordError
from vectorferry.core.model import VectorKind
from vectorferry.core.records import vectors_of
from vectorferry.core.vector_columns import misshapen, not_finite, payload, vector_columns

T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def payload_bytes(batch: pa.RecordBatch) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Size of each row as vendors count it, shape [n]: 4 bytes a float, 8 a sparse entry, and the UTF-8 of id and metadata.

    Named vectors are counted where a row has them.
    """
    dense = vectors_of(batch).shape[1] * 4
    size = np.full(len(batch), dense, np.int64)
    for name in ("id", "metadata"):
        size += pc.binary_length(batch.column(name)).to_numpy(zero_copy_only=False).astype(np.int64)
    if batch.column("sparse").null_count < len(batch):
        size += payload(VectorKind.SPARSE, batch.column("sparse"))
    for each in vector_columns(batch.schema):
        size += payload(each.kind, batch.column(each.column))
    return size


def cut(batch: pa.RecordBatch, max_rows: int, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Consecutive slices within both limits; a single row over `max_bytes` is a slice of its own."""
    total = np.concatenate(([0], np.cumsum(payload_bytes(batch))))
    start = 0
    while start < len(batch):
        fitting = int(np.searchsorted(total, total[start] + max_bytes, side="right")) - 1
        end = max(start + 1, min(fitting, start + max_rows))
        yield batch.slice(start, end - start)
        start = end


def by_namespace(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Runs of rows with one namespace, in order."""
    names = batch.column("namespace").to_pylist()
    start = 0
    for end in range(1, len(names) + 1):
        if end == len(names) or names[end] != names[start]:
            yield names[start], batch.slice(start, end - start)
            start = end


def refuse_invalid(batch: pa.RecordBatch) -> None:
    """Raise RecordError for NaN or infinite components, for sparse vectors that have not one value for each index, and for two rows
    with one key, naming the first id.

    Some databases take these without an error: NaN poisons every score, a value without an index is read by nobody, and of two rows
    with one key the last one wins.
    """
    for name, kind, column in _vectors(batch):
        if kind is VectorKind.SPARSE and (row := misshapen(column)) is not None:
            raise RecordError(f"{_key(batch, row)}: the {name} has not one value for each index")
        if (row := not_finite(kind, column)) is not None:
            raise RecordError(f"{_key(batch, row)}: the {name} holds NaN or infinity")
    seen: set[tuple[str, str]] = set()
    for row, key in enumerate(zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)):
        if key in seen:
            raise RecordError(f"{_key(batch, row)}: the id occurs twice in one batch")
        seen.add(key)


def _vectors(batch: pa.RecordBatch) -> Iterator[tuple[str, VectorKind, pa.Array]]:
    """Every vector of a batch: what it is in messages, its kind and its column."""
    yield "vector", VectorKind.DENSE, batch.column("vector")
    yield "sparse vector", VectorKind.SPARSE, batch.column("sparse")
    for each in vector_columns(batch.schema):
        yield f"vector {each.name!r}", each.kind, batch.column(each.column)


def _key(batch: pa.RecordBatch, row: int) -> str:
    return f"namespace {batch.column('namespace')[row].as_py()!r}, id {batch.column('id')[row].as_py()!r}"
