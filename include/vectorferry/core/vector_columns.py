"""Vector columns: how the named vectors of records lie in a batch, each kind in a column of its own, and the bytes that stand for each.

A column is called `vector:NAME`, `multi:NAME` or `sparse:NAME`. Null in it, and no such column, mean the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import RecordError
from vectorferry.core.model import Metric, VectorKind, Vectors, VectorSpec

SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
_PREFIXES = {VectorKind.DENSE: "vector:", VectorKind.MULTI: "multi:", VectorKind.SPARSE: "sparse:"}
Named = Mapping[str, VectorSpec]
"""Vectors by their names."""
NOTHING: Named = MappingProxyType({})


class VectorColumn(NamedTuple):
    """A column that holds one of the named vectors."""

    kind: VectorKind
    name: str

    @property
    def column(self) -> str:
        """What the column is called."""
        return _PREFIXES[self.kind] + self.name


class RawVector(NamedTuple):
    """One vector as bytes that are equal where it is: `floats` little-endian float32, of a sparse vector its indices before them, in order.

    `rows` is how many vectors of a multi vector they are, 1 for the other kinds.
    """

    rows: int
    floats: bytes


def column_name(spec: VectorSpec) -> str:
    """The column of a named vector."""
    return VectorColumn(spec.kind, spec.name).column


def vector_columns(schema: pa.Schema) -> list[VectorColumn]:
    """The named vectors that a canonical schema has columns for, in the order of these columns' names."""
    return [
        VectorColumn(kind, name.removeprefix(prefix))
        for name in sorted(schema.names)
        for kind, prefix in _PREFIXES.items()
        if name.startswith(prefix)
    ]


def vector_fields(named: Named) -> list[pa.Field]:
    """Fields of the named vectors in a canonical schema, in the order of their names; one whose dimension nobody knows has no values."""
    return sorted((pa.field(column_name(spec), arrow_type(spec)) for spec in named.values()), key=lambda it: it.name)


def arrow_type(spec: VectorSpec) -> pa.DataType:
    """Type of a vector's column."""
    if spec.kind is VectorKind.SPARSE:
        return SPARSE
    if spec.dimension is None:
        return pa.null()
    one = pa.list_(pa.float32(), spec.dimension)
    return one if spec.kind is VectorKind.DENSE else pa.list_(one)


def dimension_of_type(kind: pa.DataType) -> int | None:
    """Dimension of the dense vectors in a column of a type, None where there are none."""
    if pa.types.is_list(kind):
        kind = kind.value_type
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


# --- Making columns


def vector_array(vectors: Vectors, missing: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None) -> pa.Array:
    """Arrow array over the same memory for vectors of shape [n, d]; rows marked in `missing` (shape [n]) are null."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype="<f4").reshape(-1))
    mask = None if missing is None or not missing.any() else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)


def dense_array(vectors: Sequence[Any], dimension: int | None) -> pa.Array:
    """A column of n dense vectors, each of `dimension` floats, or None. Raises RecordError for one of another length."""
    if dimension is None:
        return _nothing(vectors)
    made = np.zeros((len(vectors), dimension), np.float32)
    for row, vector in enumerate(vectors):
        if vector is not None:
            made[row] = _shaped(vector, (dimension,))
    return vector_array(made, np.array([vector is None for vector in vectors], bool))


def multi_array(vectors: Sequence[Any], dimension: int | None) -> pa.Array:
    """A column of n multi vectors, each an array of shape [m, dimension], or None. Raises RecordError for one of another shape."""
    if dimension is None:
        return _nothing(vectors)
    parts = [np.empty((0, dimension), np.float32) if it is None else _shaped(it, (-1, dimension)) for it in vectors]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int32)
    missing = [it is None for it in vectors]
    flat = np.concatenate(parts) if parts else np.empty((0, dimension), np.float32)
    mask = pa.array(missing, pa.bool_()) if any(missing) else None
    return pa.ListArray.from_arrays(pa.array(offsets), vector_array(flat), mask=mask)


def sparse_array(vectors: Sequence[Mapping[str, Any] | None]) -> pa.Array:
    """A column of n sparse vectors, each {"indices": …, "values": …}, or None."""
    return pa.array(vectors, SPARSE)


def array_of(kind: VectorKind, vectors: Sequence[Any], dimension: int | None) -> pa.Array:
    """A column of n vectors of a kind."""
    if kind is VectorKind.SPARSE:
        return sparse_array(vectors)
    return (dense_array if kind is VectorKind.DENSE else multi_array)(vectors, dimension)


def _nothing(vectors: Sequence[Any]) -> pa.Array:
    if any(vector is not None for vector in vectors):
        raise RecordError("a vector is given where nobody knows its dimension")
    return pa.nulls(len(vectors))


def _shaped(vector: Any, shape: tuple[int, ...]) -> Vectors:
    made: Vectors = np.asarray(vector, np.float32)
    if made.ndim != len(shape) or made.shape[-1] != shape[-1]:
        raise RecordError(f"a vector has the shape {list(made.shape)}, expected are {shape[-1]} dimensions")
    return made


# --- Reading columns


def floats_of(column: pa.Array) -> Vectors:
    """Dense vectors of a column, shape [n, d], float32, without a copy; rows that are null hold arbitrary numbers."""
    if not pa.types.is_fixed_size_list(column.type):
        return np.empty((len(column), 0), np.float32)
    size = column.type.list_size
    flat = column.values.slice(column.offset * size, len(column) * size)
    values: Vectors = flat.to_numpy(zero_copy_only=False).reshape(len(column), size)
    return values


def multi_of(column: pa.Array) -> list[Vectors | None]:
    """Multi vectors of a column, each of shape [m, d], without a copy."""
    if not pa.types.is_list(column.type):
        return [None] * len(column)
    flat, offsets = floats_of(column.values), column.offsets.to_pylist()
    valid = column.is_valid().to_pylist()
    return [flat[offsets[row] : offsets[row + 1]] if there else None for row, there in enumerate(valid)]


def kind_of_type(kind: pa.DataType) -> VectorKind:
    """What kind of vectors a column of a type holds; one without values counts as dense."""
    if pa.types.is_struct(kind):
        return VectorKind.SPARSE
    return VectorKind.MULTI if pa.types.is_list(kind) else VectorKind.DENSE


def values_of(kind: VectorKind, column: pa.Array) -> list[Any]:
    """The vectors of a column as `array_of` takes them, None where there is none."""
    if kind is VectorKind.SPARSE:
        return list(column.to_pylist())
    if kind is VectorKind.MULTI:
        return list(multi_of(column))
    valid = column.is_valid().to_pylist()
    return [vector if there else None for vector, there in zip(floats_of(column), valid, strict=True)]


def present(column: pa.Array) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Which rows of a column have a vector, shape [n]."""
    valid: np.ndarray[Any, np.dtype[np.bool_]] = column.is_valid().to_numpy(zero_copy_only=False).astype(np.bool_)
    return valid


def dense_bytes(column: pa.Array) -> list[bytes]:
    """Bytes of each dense vector, empty where there is none."""
    if not pa.types.is_fixed_size_list(column.type):
        return [b""] * len(column)
    width = column.type.list_size * 4
    raw = np.ascontiguousarray(floats_of(column), dtype="<f4").tobytes()
    valid = column.is_valid().to_pylist()
    return [raw[i * width : (i + 1) * width] if ok else b"" for i, ok in enumerate(valid)]


def sparse_bytes(column: pa.Array) -> list[bytes]:
    """Bytes of each sparse vector in the order of its indices, empty where there is none."""
    if column.null_count == len(column):
        return [b""] * len(column)
    return [_sparse_row_bytes(row) for row in column.to_pylist()]


def _sparse_row_bytes(row: Mapping[str, Any] | None) -> bytes:
    if row is None:
        return b""
    order = np.argsort(np.asarray(row["indices"], "<u4"), kind="stable")
    return np.asarray(row["indices"], "<u4")[order].tobytes() + np.asarray(row["values"], "<f4")[order].tobytes()


def raw_vectors(kind: VectorKind, column: pa.Array) -> list[RawVector | None]:
    """Each vector of a column as bytes."""
    if kind is VectorKind.MULTI:
        multi = multi_of(column)
        return [None if it is None else RawVector(len(it), np.ascontiguousarray(it, "<f4").tobytes()) for it in multi]
    raw = (dense_bytes if kind is VectorKind.DENSE else sparse_bytes)(column)
    valid = column.is_valid().to_pylist()
    return [RawVector(1, floats) if there else None for floats, there in zip(raw, valid, strict=True)]


def named_vectors(batch: pa.RecordBatch) -> list[dict[str, RawVector]]:
    """The named vectors that each row has, by the names of their columns, in the order of these."""
    rows: list[dict[str, RawVector]] = [{} for _ in range(len(batch))]
    for each in vector_columns(batch.schema):
        for row, vector in zip(rows, raw_vectors(each.kind, batch.column(each.column)), strict=True):
            if vector is not None:
                row[each.column] = vector
    return rows


def not_finite(kind: VectorKind, column: pa.Array) -> int | None:
    """The first row with a vector that holds NaN or infinity, None where there is none."""
    if column.null_count == len(column):
        return None
    if kind is VectorKind.SPARSE:
        return _first_odd(pc.struct_field(column, "values"))
    if kind is VectorKind.MULTI:
        finite = [it is None or bool(np.isfinite(it).all()) for it in multi_of(column)]
        return None if all(finite) else finite.index(False)
    odd = (present(column) & ~np.isfinite(floats_of(column)).all(axis=1)).nonzero()[0]
    return int(odd[0]) if len(odd) else None


def _first_odd(values: pa.Array) -> int | None:
    odd = (~np.isfinite(pc.list_flatten(values).to_numpy(zero_copy_only=False))).nonzero()[0]
    return int(pc.list_parent_indices(values)[int(odd[0])].as_py()) if len(odd) else None


def misshapen(column: pa.Array) -> int | None:
    """The first row with a sparse vector that has not one value, be it NaN, for each index, None where there is none."""
    if column.null_count == len(column):
        return None
    indices, values = (pc.struct_field(column, name) for name in ("indices", "values"))
    alike = pc.equal(pc.list_value_length(indices), pc.list_value_length(values))
    odd = column.is_valid().to_numpy(zero_copy_only=False) & ~pc.fill_null(alike, False).to_numpy(zero_copy_only=False)
    if pc.list_flatten(indices).null_count:
        odd |= np.array([None in (each or ()) for each in indices.to_pylist()], bool)
    rows = odd.nonzero()[0]
    return int(rows[0]) if len(rows) else None


def payload(kind: VectorKind, column: pa.Array) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Bytes of each row's vector, shape [n]: 4 a float, 8 a sparse entry."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int64)
    if kind is VectorKind.DENSE:
        width = 4 * column.type.list_size
        return np.array([width if there else 0 for there in column.is_valid().to_pylist()], np.int64)
    lists = pc.struct_field(column, "indices") if kind is VectorKind.SPARSE else column
    entries = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    size: np.ndarray[Any, np.dtype[np.int64]] = entries * (
        8 if kind is VectorKind.SPARSE else 4 * (dimension_of_type(column.type) or 0)
    )
    return size


def described(spec: VectorSpec) -> str:
    """A named vector in words."""
    size = "" if spec.dimension is None else f" of {spec.dimension} dimensions"
    return f"{spec.name!r} ({spec.kind}{size})"


def to_json(named: Named) -> dict[str, Any]:
    """The named vectors as a manifest or a plan has them."""
    return {
        name: {
            "kind": str(spec.kind),
            "dimension": spec.dimension,
            "metric": str(spec.metric),
            "index": dict(spec.index),
        }
        for name, spec in sorted(named.items())
    }


def from_json(value: Mapping[str, Any]) -> dict[str, VectorSpec]:
    """The named vectors of a manifest or a plan."""
    return {name: _spec(name, each) for name, each in value.items()}


def _spec(name: str, value: Mapping[str, Any]) -> VectorSpec:
    dimension = value["dimension"]
    return VectorSpec(
        name,
        VectorKind(value["kind"]),
        None if dimension is None else int(dimension),
        Metric(value["metric"]),
        value.get("index", {}),
    )


def rows_with(batch: pa.RecordBatch, each: VectorColumn) -> Iterator[int]:
    """Rows that have a named vector."""
    return (int(row) for row in present(batch.column(each.column)).nonzero()[0])


def unlike_vectors(source: Named, target: Named) -> Iterator[str]:
    """What a collection lacks of the named vectors that it is to hold, each named."""
    for name, spec in source.items():
        there = target.get(name)
        if there is None:
            yield f"has no vector {described(spec)}"
        elif there.kind is not spec.kind or not _alike(there.dimension, spec.dimension):
            yield f"has the vector {described(there)}, and it is to be {described(spec)}"
        elif spec.kind is not VectorKind.SPARSE and there.metric is not spec.metric:
            yield f"measures the vector {name!r} by {there.metric}, and it is to be {spec.metric}"


def _alike(left: int | None, right: int | None) -> bool:
    """Whether two dimensions are one, as far as both are known."""
    return None in (left, right) or left == right


def named_counts(batch: pa.RecordBatch) -> dict[str, dict[str, int]]:
    """How many records of each namespace have each named vector, by the names of their columns; those that none has are left out."""
    found: dict[str, dict[str, int]] = {}
    for each in vector_columns(batch.schema):
        having = batch.column("namespace").filter(batch.column(each.column).is_valid())
        for namespace, count in Counter(having.to_pylist()).items():
            found.setdefault(namespace, {})[each.column] = count
    return found
