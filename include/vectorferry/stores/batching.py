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
    for name, column in _sparse_columns(batch):
        if (row := misshapen(column)) is not None:
            raise RecordError(f"{_key(batch, row)}: the {name} has not one value for each index")
    if (row := not_finite(VectorKind.DENSE, batch.column("vector"))) is not None:
        raise RecordError(f"{_key(batch, row)}: the vector holds NaN or infinity")
    if (row := not_finite(VectorKind.SPARSE, batch.column("sparse"))) is not None:
        raise RecordError(f"{_key(batch, row)}: the sparse vector holds NaN or infinity")
    for each in vector_columns(batch.schema):
        if (row := not_finite(each.kind, batch.column(each.column))) is not None:
            raise RecordError(f"{_key(batch, row)}: the vector {each.name!r} holds NaN or infinity")
    seen: set[tuple[str, str]] = set()
    for row, key in enumerate(zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)):
        if key in seen:
            raise RecordError(f"{_key(batch, row)}: the id occurs twice in one batch")
        seen.add(key)


def _sparse_columns(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """The columns of sparse vectors that some row has, each with its name in messages."""
    named = [each for each in vector_columns(batch.schema) if each.kind is VectorKind.SPARSE]
    columns = [("sparse vector", batch.column("sparse"))]
    columns += [(f"sparse vector {each.name!r}", batch.column(each.column)) for each in named]
    return ((name, column) for name, column in columns if column.null_count < len(column))


def _key(batch: pa.RecordBatch, row: int) -> str:
    return f"namespace {batch.column('namespace')[row].as_py()!r}, id {batch.column('id')[row].as_py()!r}"
