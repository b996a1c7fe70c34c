"""Records to and from PostgreSQL's binary formats, without a Python object per number.

COPY's format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format). A vector is int16 dimension, int16 zero and
big-endian float32 (pgvector's vector_send). Sparse vectors are ours: n little-endian uint32 indices, then n float32 values.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import RecordError
from vectorferry.core.model import Vectors
from vectorferry.core.records import make_batch
from vectorferry.core.stored_json import as_canonical
from vectorferry.core.vector_columns import floats_of

Row = tuple[str, bytes | None, bytes | None, str]
"""What is read back of a record: id, vector, sparse, metadata."""

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
NULL = struct.pack(">i", -1)
"""A field of COPY that holds nothing."""
_VECTOR_HEADER = 4


def copy_data(batch: pa.RecordBatch, more: Sequence[Sequence[bytes]] = ()) -> bytes:
    """A batch as one COPY of the columns namespace, id, vector, sparse, metadata; `more` are the fields of further columns."""
    columns = (
        _texts(batch, "namespace"),
        _texts(batch, "id"),
        dense_fields(batch.column("vector")),
        sparse_fields(batch.column("sparse")),
        _texts(batch, "metadata"),
        *more,
    )
    count = struct.pack(">h", len(columns))
    rows = [part for row in zip(*columns, strict=True) for part in (count, *row)]
    return b"".join((_COPY_HEADER, *rows, _COPY_TRAILER))


def vector_array(vectors: Vectors, oid: int) -> bytes:
    """Vectors of shape [n, d] as a one-dimensional array of the type with this oid."""
    return struct.pack(">iiiii", 1, 0, oid, len(vectors), 1) + _framed(vectors).tobytes()


def batch_of(store: str, namespace: str, rows: Sequence[Row], dimension: int) -> pa.RecordBatch:
    """A canonical batch of rows that were read in binary format; a dimension of 0 means that no record has a vector.

    Raises RecordError for metadata or a sparse vector that others wrote so that no record can carry it.
    """
    ids, vectors, sparse, texts = zip(*rows, strict=True) if rows else ((), (), (), ())
    places = places_of(store, namespace, ids)
    metadata = list(map(as_canonical, texts, places))
    missing = np.array([vector is None for vector in vectors], bool)
    dense = dense_rows(vectors, dimension, filled=not missing.any()) if dimension else None
    thin = None if all(item is None for item in sparse) else list(map(sparse_row, sparse, places))
    return make_batch(namespace, ids, dense, metadata, thin, missing=missing)


def places_of(store: str, namespace: str, ids: Sequence[str]) -> list[str]:
    """Where each record is, for messages."""
    return [f"{store}, namespace {namespace or '(default)'}, id {id_}" for id_ in ids]


def _texts(batch: pa.RecordBatch, column: str) -> list[bytes]:
    return [struct.pack(">i", len(text)) + text for text in batch.column(column).cast(pa.binary()).to_pylist()]


def _framed(vectors: Vectors) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Each row as a field: int32 length, then the vector; shape [n, 8 + 4 d]."""
    rows, dimension = vectors.shape
    framed = np.empty((rows, 4 + _VECTOR_HEADER + 4 * dimension), np.uint8)
    framed[:, :8] = np.frombuffer(struct.pack(">ihh", _VECTOR_HEADER + 4 * dimension, dimension, 0), np.uint8)
    framed[:, 8:] = np.ascontiguousarray(vectors, ">f4").view(np.uint8).reshape(rows, 4 * dimension)
    return framed


def dense_fields(column: pa.Array) -> list[bytes]:
    """A column of dense vectors as fields of COPY."""
    vectors = floats_of(column)
    if not vectors.shape[1]:
        return [NULL] * len(column)
    framed = _framed(vectors)
    raw, width = framed.tobytes(), framed.shape[1]
    valid = column.is_valid().to_pylist()
    return [raw[row * width : (row + 1) * width] if there else NULL for row, there in enumerate(valid)]


def sparse_fields(column: pa.Array) -> list[bytes]:
    """A column of sparse vectors as fields of COPY."""
    if column.null_count == len(column):
        return [NULL] * len(column)
    indices, values = (pc.struct_field(column, name) for name in ("indices", "values"))
    return [
        _sparse_field(indices[row].values, values[row].values) if there else NULL
        for row, there in enumerate(column.is_valid().to_pylist())
    ]


def _sparse_field(indices: pa.Array, values: pa.Array) -> bytes:
    raw: bytes = indices.to_numpy().astype("<u4").tobytes() + values.to_numpy().astype("<f4").tobytes()
    return struct.pack(">i", len(raw)) + raw


def sparse_row(raw: bytes | None, place: str) -> dict[str, Any] | None:
    """A sparse vector that was read. Raises RecordError for bytes that are none, with the place."""
    if raw is None:
        return None
    if len(raw) % 8:
        raise RecordError(f"{place}: the sparse vector has {len(raw)} bytes, which is no number of indices and values")
    half = len(raw) // 2
    return {"indices": np.frombuffer(raw[:half], "<u4"), "values": np.frombuffer(raw[half:], "<f4")}


def dense_rows(vectors: Sequence[bytes | None], dimension: int, *, filled: bool) -> Vectors:
    """Vectors in binary form, each of this dimension or None, as an array of shape [n, d]; not `filled`: there are None."""
    width = _VECTOR_HEADER + 4 * dimension
    raw = b"".join(vectors if filled else [vector or bytes(width) for vector in vectors])  # type: ignore[arg-type]
    framed = np.frombuffer(raw, np.uint8).reshape(len(vectors), width)
    return np.ascontiguousarray(framed[:, _VECTOR_HEADER:]).view(">f4").astype(np.float32)
