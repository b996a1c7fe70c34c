"""The canonical record: its Arrow schema, canonical metadata JSON, fingerprints and digests."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from vectorferry.core.equality import EXACT, Equality
from vectorferry.core.errors import RecordError
from vectorferry.core.model import Difference, DifferenceKind, MetadataKind, Vectors

SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
DIGEST_MODULUS = 1 << 128
_EXACT_INTEGER = 1 << 53
_INT64 = 1 << 63
_TEXT = frozenset({str})
_AS_IS = frozenset({str, bool, type(None)})


def record_schema(dimension: int | None) -> pa.Schema:
    """Canonical schema for dense vectors of `dimension` floats; None means that no record has a dense vector."""
    vector = pa.list_(pa.float32(), dimension) if dimension else pa.null()
    return pa.schema(
        [
            pa.field("namespace", pa.string(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", vector),
            pa.field("sparse", SPARSE),
            pa.field("metadata", pa.string(), nullable=False),
        ]
    )


def dimension_of(schema: pa.Schema) -> int | None:
    """Dimension of the dense vectors in a canonical schema, None where there are none."""
    kind = schema.field("vector").type
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def make_batch(
    namespaces: str | Sequence[str],
    ids: Sequence[str],
    vectors: Vectors | None,
    metadata: Sequence[str],
    sparse: Sequence[Mapping[str, Any] | None] | None = None,
    *,
    missing: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None,
) -> pa.RecordBatch:
    """A canonical batch of n records.

    Vectors have shape [n, d], float32; `missing` (shape [n]) marks rows without a dense vector. `metadata` is canonical JSON per row.
    Raises RecordError where the lengths differ.
    """
    n = len(ids)
    names = [namespaces] * n if isinstance(namespaces, str) else namespaces
    if not n == len(names) == len(metadata) == (n if vectors is None else len(vectors)):
        raise RecordError(f"batch columns differ in length: {len(names)} namespaces, {n} ids, {len(metadata)} metadata")
    schema = record_schema(None if vectors is None else vectors.shape[1])
    columns = [
        pa.array(names, pa.string()),
        pa.array(ids, pa.string()),
        pa.nulls(n) if vectors is None else vector_array(vectors, missing),
        pa.nulls(n, SPARSE) if sparse is None else pa.array(sparse, SPARSE),
        pa.array(metadata, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def vector_array(vectors: Vectors, missing: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None) -> pa.Array:
    """Arrow array over the same memory for vectors of shape [n, d]; rows marked in `missing` (shape [n]) are null."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype="<f4").reshape(-1))
    mask = None if missing is None or not missing.any() else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)


def vectors_of(batch: pa.RecordBatch) -> Vectors:
    """Dense vectors of a batch, shape [n, d], float32, without a copy; rows that are null hold arbitrary numbers."""
    column = batch.column("vector")
    if not pa.types.is_fixed_size_list(column.type):
        return np.empty((len(batch), 0), np.float32)
    size = column.type.list_size
    flat = column.values.slice(column.offset * size, len(column) * size)
    values: Vectors = flat.to_numpy(zero_copy_only=False).reshape(len(column), size)
    return values


def canonical_json(metadata: Mapping[str, Any] | None) -> str:
    """Metadata as canonical JSON: sorted keys, no spaces, UTF-8, floats that are integers below 2^53 written as integers.

    Raises RecordError for what JSON cannot hold: NaN, infinity, keys that are not strings, numbers beyond 64 bits.
    """
    if not metadata:
        return "{}"
    try:
        return orjson.dumps(_canonical_items(metadata), option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, UnicodeEncodeError) as error:
        raise RecordError(f"metadata cannot be written as JSON: {error}") from error


def _canonical(value: Any) -> Any:
    if isinstance(value, float):
        return _canonical_float(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and not -_INT64 <= value < 2 * _INT64:
        raise RecordError(f"metadata number {value} is beyond 64 bits")
    if isinstance(value, Mapping):
        return _canonical_items(value)
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _AS_IS else _canonical(item) for item in value]
    return value


def _canonical_items(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item if type(item) in _AS_IS else _canonical(item) for key, item in metadata.items()}


def _canonical_float(value: float) -> float | int:
    if not math.isfinite(value):
        raise RecordError(f"metadata number {value} is not finite")
    return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGER else value


def parse_json(text: str) -> dict[str, Any]:
    """Metadata of a record from its canonical JSON."""
    value: dict[str, Any] = orjson.loads(text)
    return value


def kind_of(value: Any) -> MetadataKind:
    """Kind of one metadata value; an empty list counts as a list of strings."""
    if value is None:
        return MetadataKind.NULL
    if isinstance(value, bool):
        return MetadataKind.BOOLEAN
    if isinstance(value, (int, float)):
        return MetadataKind.NUMBER
    if isinstance(value, str):
        return MetadataKind.STRING
    if isinstance(value, (list, tuple)):
        return MetadataKind.STRINGS if _TEXT.issuperset(map(type, value)) else MetadataKind.LIST
    return MetadataKind.OBJECT


def fingerprints(batch: pa.RecordBatch) -> list[int]:
    """Fingerprint of each row: xxh3-128 over length-delimited namespace, id, float32 bytes, sparse and metadata."""
    return [int.from_bytes(value) for value in fingerprint_bytes(batch)]


def fingerprint_bytes(batch: pa.RecordBatch, equality: Equality = EXACT) -> list[bytes]:
    """The fingerprints as 16 bytes each, big-endian; of a vector that has a tolerance only how many floats it has."""
    # As they lie in Arrow, in UTF-8: a Python string of each would be encoded again.
    names, ids, metadata = (
        batch.column(name).cast(pa.binary()).to_pylist() for name in ("namespace", "id", "metadata")
    )
    vectors = _vector_bytes(batch)
    if equality.of():
        vectors = [b"%d floats" % (len(vector) // 4) if vector else b"" for vector in vectors]
    rows = zip(names, ids, vectors, _sparse_bytes(batch.column("sparse")), metadata, strict=True)
    framed = b"%d:%b%d:%b%d:%b%d:%b%d:%b"
    return [
        bytes(xxhash.xxh3_128_digest(framed % (len(n), n, len(i), i, len(v), v, len(s), s, len(m), m)))
        for n, i, v, s, m in rows
    ]


def sketch_bytes(batch: pa.RecordBatch, equality: Equality) -> list[bytes]:
    """Sketches of each row's vectors that have a tolerance, as little-endian doubles; nothing of a vector that is not there."""
    if not equality.of() or dimension_of(batch.schema) is None:
        return [b""] * len(batch)
    valid = batch.column("vector").is_valid().to_pylist()
    rows = equality.sketches(vectors_of(batch)).astype("<f8")
    return [row.tobytes() if there else b"" for row, there in zip(rows, valid, strict=True)]


def _vector_bytes(batch: pa.RecordBatch) -> list[bytes]:
    column = batch.column("vector")
    if not pa.types.is_fixed_size_list(column.type):
        return [b""] * len(batch)
    width = column.type.list_size * 4
    raw = np.ascontiguousarray(vectors_of(batch), dtype="<f4").tobytes()
    valid = column.is_valid().to_pylist()
    return [raw[i * width : (i + 1) * width] if ok else b"" for i, ok in enumerate(valid)]


def _sparse_bytes(column: pa.Array) -> list[bytes]:
    if column.null_count == len(column):
        return [b""] * len(column)
    return [_sparse_row_bytes(row) for row in column.to_pylist()]


def _sparse_row_bytes(row: Mapping[str, Any] | None) -> bytes:
    if row is None:
        return b""
    order = np.argsort(np.asarray(row["indices"], "<u4"), kind="stable")
    return np.asarray(row["indices"], "<u4")[order].tobytes() + np.asarray(row["values"], "<f4")[order].tobytes()


def digest(values: Iterable[int]) -> int:
    """Order-free digest of rows: the sum of their fingerprints modulo 2^128, so parts add up."""
    return sum(values) % DIGEST_MODULUS


def short_hash(value: Any) -> str:
    """Eight hexadecimal characters that stand for a value in reports, which may not show personal data."""
    text = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return str(xxhash.xxh3_64_hexdigest(text))[:8]


def differences_of(
    source: Mapping[str, Any], target: Mapping[str, Any], equality: Equality = EXACT
) -> list[Difference]:
    """Differing fields of two rows with the same key, each {namespace, id, vector: bytes, sparse: bytes, metadata: canonical JSON}."""
    place = (source["namespace"], source["id"])
    found = []
    if not equality.same_bytes(source["vector"], target["vector"]):
        values = (short_hash(source["vector"]), short_hash(target["vector"]))
        found.append(Difference(DifferenceKind.VECTOR, *place, "vector", *values))
    if source["sparse"] != target["sparse"]:
        found.append(
            Difference(
                DifferenceKind.SPARSE, *place, "sparse", short_hash(source["sparse"]), short_hash(target["sparse"])
            )
        )
    if source["metadata"] != target["metadata"]:
        found += _metadata_differences(place, parse_json(source["metadata"]), parse_json(target["metadata"]))
    return found


def _metadata_differences(place: tuple[str, str], source: dict[str, Any], target: dict[str, Any]) -> list[Difference]:
    absent = object()
    keys = sorted(source.keys() | target.keys())
    return [
        Difference(
            DifferenceKind.METADATA,
            *place,
            key,
            *(short_hash(side[key]) if key in side else "" for side in (source, target)),
        )
        for key in keys
        if _typed(source.get(key, absent)) != _typed(target.get(key, absent))
    ]


def _typed(value: Any) -> Any:
    """The value with its types, at every depth: 1 is not "1" and not true, but 1 is 1.0. Integers are never rounded."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return ("number" if number else type(value), value)


def comparable_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as `differences_of` takes them."""
    columns = zip(
        batch.column("namespace").to_pylist(),
        batch.column("id").to_pylist(),
        _vector_bytes(batch),
        _sparse_bytes(batch.column("sparse")),
        batch.column("metadata").to_pylist(),
        strict=True,
    )
    return [dict(zip(("namespace", "id", "vector", "sparse", "metadata"), row, strict=True)) for row in columns]


def keys_of(batch: pa.RecordBatch) -> Iterator[tuple[str, str]]:
    """(namespace, id) of each row."""
    return zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)


def past(batch: pa.RecordBatch, last: str | None) -> pa.RecordBatch:
    """The batch without its first record where that is the id `last`: a reading that goes on there scans it once more."""
    again = last is not None and len(batch) and batch.column("id")[0].as_py() == last
    return batch.slice(1) if again else batch
