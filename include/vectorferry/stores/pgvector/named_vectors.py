"""Named vectors in our layout of tables: each in a column that is called as it is in a batch, `vector:NAME`, `multi:NAME` or `sparse:NAME`.

A dense vector is a vector(d), a multi vector an array of these, a sparse one as `binary` has it. COPY's form of an array is that of
array_send: int32 dimensions, flags, the elements' type, and of its one dimension length and lower bound; then each element as a field.
"""

# ruff: noqa: S608 (put together from constants; every value is a parameter)

import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, Vectors, VectorSpec
from vectorferry.core.vector_columns import Named, array_of, column_name, multi_of
from vectorferry.stores.pgvector.binary import (
    NULL,
    dense_fields,
    dense_rows,
    sparse_fields,
    sparse_row,
    vector_array,
)
from vectorferry.stores.pgvector.sql import index_settings, row_bytes, wrong_settings

KINDS = frozenset(VectorKind)
_MAX_NAME_BYTES = 63
_EMPTY_ARRAY = struct.Struct(">iii")
_ARRAY = struct.Struct(">iiiii")
_ELEMENT = struct.Struct(">ihh")


def in_order(named: Named) -> list[VectorSpec]:
    """The vectors in the order of their columns."""
    return sorted(named.values(), key=column_name)


def column_type(spec: VectorSpec) -> str:
    """Type of a vector's column."""
    if spec.kind is VectorKind.SPARSE:
        return "bytea"
    return f"vector({spec.dimension})" + ("[]" if spec.kind is VectorKind.MULTI else "")


def misnamed(named: Named) -> Iterator[str]:
    """Vectors whose names no column can have."""
    for spec in named.values():
        column = column_name(spec)
        if "\0" in column or len(column.encode()) > _MAX_NAME_BYTES:
            yield (
                f"the vector {spec.name!r} would be in a column {column!r}, and names of columns have at most {_MAX_NAME_BYTES} "
                "bytes and no U+0000"
            )


def wrong_indexes(named: Named) -> Iterator[str]:
    """Index settings of named vectors that are unknown or cannot be."""
    for spec in named.values():
        if spec.kind is VectorKind.DENSE:
            yield from (f"the vector {spec.name!r}: {each}" for each in wrong_settings(spec.index, spec.dimension or 0))
        elif spec.index and spec.index != {"type": "none"}:
            yield f"the vector {spec.name!r} is {spec.kind}, and there is no index for such vectors: leave its settings out"


def with_settings(definition: CollectionDefinition) -> dict[str, VectorSpec]:
    """The named vectors with the settings of their indexes filled in; only dense ones have an index."""
    return {
        name: VectorSpec(name, spec.kind, spec.dimension, spec.metric, _settings(spec))
        for name, spec in definition.named.items()
    }


def _settings(spec: VectorSpec) -> Mapping[str, object]:
    return index_settings(spec.index, spec.dimension or 0) if spec.kind is VectorKind.DENSE else {"type": "none"}


def index_bytes(named: Named) -> float:
    """Bytes on disk of the elements of a record's named vectors in their indexes, see `row_bytes`."""
    empty = row_bytes(0, 0.0, {"type": "none"})
    return sum(
        row_bytes(spec.dimension or 0, 0.0, _settings(spec)) - empty for spec in named.values() if spec.dimension
    )


# --- Rows


def fields_of(spec: VectorSpec, batch: pa.RecordBatch, oid: int) -> list[bytes]:
    """A vector of each row as a field of COPY; `oid` is the number of the type vector."""
    column = column_name(spec)
    if column not in batch.schema.names:
        return [NULL] * len(batch)
    if spec.kind is VectorKind.DENSE:
        return dense_fields(batch.column(column))
    if spec.kind is VectorKind.SPARSE:
        return sparse_fields(batch.column(column))
    return [NULL if it is None else _array_field(it, oid) for it in multi_of(batch.column(column))]


def _array_field(vectors: Vectors, oid: int) -> bytes:
    raw = vector_array(vectors, oid) if len(vectors) else _EMPTY_ARRAY.pack(0, 0, oid)
    return struct.pack(">i", len(raw)) + raw


def column_of(spec: VectorSpec, values: Sequence[bytes | None], places: Sequence[str]) -> pa.Array:
    """A column of a batch of values that were read in binary form. Raises RecordError for what no record can carry, with its place."""
    if spec.kind is VectorKind.SPARSE:
        return array_of(spec.kind, list(map(sparse_row, values, places)), None)
    assert spec.dimension is not None, "a column has a dimension"
    if spec.kind is VectorKind.MULTI:
        return array_of(
            spec.kind, [_multi(it, spec, at) for it, at in zip(values, places, strict=True)], spec.dimension
        )
    missing = [value is None for value in values]
    floats = dense_rows(values, spec.dimension, filled=not any(missing))
    return array_of(
        spec.kind, [None if gone else row for gone, row in zip(missing, floats, strict=True)], spec.dimension
    )


def _multi(raw: bytes | None, spec: VectorSpec, place: str) -> Vectors | None:
    dimension = spec.dimension or 0
    if raw is None:
        return None
    if _EMPTY_ARRAY.unpack_from(raw)[0] == 0:
        return np.empty((0, dimension), np.float32)
    dimensions, holes, _, rows, _ = _ARRAY.unpack_from(raw)
    width = _ELEMENT.size + 4 * dimension
    if dimensions != 1 or holes or len(raw) != _ARRAY.size + rows * width:
        raise RecordError(f"{place}: the vector {spec.name!r} is an array of another shape, which no record can carry")
    framed = np.frombuffer(raw, np.uint8, offset=_ARRAY.size).reshape(rows, width)
    return np.ascontiguousarray(framed[:, _ELEMENT.size :]).view(">f4").astype(np.float32)


# --- Search

_BEST = {
    Metric.COSINE: "1 - COALESCE(NULLIF({here} <=> asked, 'NaN'), 1)",
    Metric.DOT: "-({here} <#> asked)",
    Metric.EUCLIDEAN: "-(({here} <-> asked) ^ 2)",
}


def nearest_multi(metric: Metric, clause: str) -> str:
    """The search by MaxSim for one query, a vector[]: every row is compared, for there is no index of such vectors."""
    best = _BEST[metric].format(here="held")
    return (
        "SELECT id, score FROM {table}, LATERAL (SELECT sum(best) AS score FROM ("
        f"SELECT max({best}) AS best FROM unnest(%s) WITH ORDINALITY AS queries (asked, place), unnest({{column}}) AS held"
        f" GROUP BY place) AS bests) AS scored WHERE {clause} AND score IS NOT NULL ORDER BY score DESC, id LIMIT %s"
    )
