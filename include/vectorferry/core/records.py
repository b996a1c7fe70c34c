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
from vectorferry.core.model import Difference, DifferenceKind, MetadataKind, VectorKind, Vectors
from vectorferry.core.vector_columns import (
    NOTHING,
    SPARSE,
    Named,
    RawVector,
    dense_bytes,
    dimension_of_type,
    floats_of,
    multi_of,
    named_vectors,
    sparse_bytes,
    vector_array,
    vector_columns,
    vector_fields,
)

DIGEST_MODULUS = 1 << 128
_EXACT_INTEGER = 1 << 53
_INT64 = 1 << 63
_TEXT = frozenset({str})
_AS_IS = frozenset({str, bool, type(None)})


def record_schema(dimension: int | None, named: Named = NOTHING) -> pa.Schema:
    """Canonical schema for dense vectors of `dimension` floats (None: no record has one without a name) and these named vectors.

    The columns of the named ones come last, in the order of their names: see `core/vector_columns.py`.
    """
    vector = pa.list_(pa.float32(), dimension) if dimension else pa.null()
    return pa.schema(
        [
            pa.field("namespace", pa.string(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", vector),
            pa.field("sparse", SPARSE),
            pa.field("metadata", pa.string(), nullable=False),
            *vector_fields(named),
        ]
    )


def dimension_of(schema: pa.Schema) -> int | None:
    """Dimension of the dense vectors in a canonical schema, None where there are none."""
    return dimension_of_type(schema.field("vector").type)


def make_batch(
    namespaces: str | Sequence[str],
    ids: Sequence[str],
    vectors: Vectors | None,
    metadata: Sequence[str],
    sparse: Sequence[Mapping[str, Any] | None] | None = None,
    *,
    missing: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None,
    named: Mapping[str, pa.Array] | None = None,
) -> pa.RecordBatch:
    """A canonical batch of n records.

    Vectors have shape [n, d], float32; `missing` (shape [n]) marks rows without a dense vector. `metadata` is canonical JSON per row.
    `named` are the columns of named vectors, as `vector_columns.array_of` makes them, by the columns' names.
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
    for name, column in sorted((named or {}).items()):
        if len(column) != n:
            raise RecordError(f"batch columns differ in length: {n} ids, {len(column)} in {name!r}")
        schema, columns = schema.append(pa.field(name, column.type)), [*columns, column]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def vectors_of(batch: pa.RecordBatch) -> Vectors:
    """Dense vectors of a batch, shape [n, d], float32, without a copy; rows that are null hold arbitrary numbers."""
    return floats_of(batch.column("vector"))


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
    """Fingerprint of each row: xxh3-128 over length-delimited namespace, id, float32 bytes, sparse and metadata.

    Of a row with named vectors, over "2;", the same, and for each of these vectors, in the order of the columns' names, the column's name,
    the number of its rows and its bytes, length-delimited too. So it does not depend on which vectors other rows have.
    """
    return [int.from_bytes(value) for value in fingerprint_bytes(batch)]


def fingerprint_bytes(batch: pa.RecordBatch, equality: Equality = EXACT) -> list[bytes]:
    """The fingerprints as 16 bytes each, big-endian; of a vector that has a tolerance only how many floats it has."""
    # As they lie in Arrow, in UTF-8: a Python string of each would be encoded again.
    names, ids, metadata = (
        batch.column(name).cast(pa.binary()).to_pylist() for name in ("namespace", "id", "metadata")
    )
    vectors = dense_bytes(batch.column("vector"))
    if equality.of():
        vectors = [_length(vector) if vector else b"" for vector in vectors]
    rows = zip(names, ids, vectors, sparse_bytes(batch.column("sparse")), metadata, strict=True)
    framed = b"%d:%b%d:%b%d:%b%d:%b%d:%b"
    plain = (framed % (len(n), n, len(i), i, len(v), v, len(s), s, len(m), m) for n, i, v, s, m in rows)
    return [
        bytes(xxhash.xxh3_128_digest(b"2;" + text + _framed(named, equality) if named else text))
        for text, named in zip(plain, named_vectors(batch), strict=True)
    ]


def _length(floats: bytes) -> bytes:
    """What stands in a fingerprint for a vector that has a tolerance."""
    return b"%d floats" % (len(floats) // 4)


def _framed(named: Mapping[str, RawVector], equality: Equality) -> bytes:
    return b"".join(_framed_vector(column, vector, equality) for column, vector in named.items())


def _framed_vector(column: str, vector: RawVector, equality: Equality) -> bytes:
    name, floats = column.encode(), vector.floats
    if _tolerance(column, equality):
        floats = _length(floats)
    return b"%d:%b%d;%d:%b" % (len(name), name, vector.rows, len(floats), floats)


def _tolerance(column: str, equality: Equality) -> float:
    """The tolerance of the named vector in a column; sparse ones have none."""
    kind, _, name = column.partition(":")
    return 0.0 if kind == "sparse" else equality.of(name)


def sketch_bytes(batch: pa.RecordBatch, equality: Equality) -> list[bytes]:
    """Sketches of each row's vectors that have a tolerance, as little-endian doubles; nothing of a vector that is not there.

    First that of the unnamed vector, then those of the named ones in the order of their columns; of a multi vector one a row.
    """
    found = [b""] * len(batch)
    if equality.of():
        found = _sketched(batch.column("vector"), VectorKind.DENSE, equality, "")
    for each in vector_columns(batch.schema):
        if _tolerance(each.column, equality):
            more = _sketched(batch.column(each.column), each.kind, equality, each.name)
            found = [a + b for a, b in zip(found, more, strict=True)]
    return found


def _sketched(column: pa.Array, kind: VectorKind, equality: Equality, name: str) -> list[bytes]:
    if kind is VectorKind.MULTI:
        multi = multi_of(column)
        return [b"" if it is None else equality.sketches(it, name).astype("<f8").tobytes() for it in multi]
    if dimension_of_type(column.type) is None:
        return [b""] * len(column)
    rows = equality.sketches(floats_of(column), name).astype("<f8")
    return [row.tobytes() if there else b"" for row, there in zip(rows, column.is_valid().to_pylist(), strict=True)]


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
    """Differing fields of two rows with the same key, each as `comparable_rows` makes it; a named vector is called as its column."""
    place = (source["namespace"], source["id"])
    found = []
    if not equality.same_bytes(source["vector"], target["vector"]):
        values = (short_hash(source["vector"]), short_hash(target["vector"]))
        told = _how_apart(source["vector"], target["vector"])
        found.append(Difference(DifferenceKind.VECTOR, *place, "vector", values[0], f"{values[1]}{told}"))
    if source["sparse"] != target["sparse"]:
        found.append(
            Difference(
                DifferenceKind.SPARSE, *place, "sparse", short_hash(source["sparse"]), short_hash(target["sparse"])
            )
        )
    found += _named_differences(place, source["named"], target["named"], equality)
    if source["metadata"] != target["metadata"]:
        found += _metadata_differences(place, parse_json(source["metadata"]), parse_json(target["metadata"]))
    return found


def _named_differences(
    place: tuple[str, str], source: Mapping[str, RawVector], target: Mapping[str, RawVector], equality: Equality
) -> Iterator[Difference]:
    for column in sorted(source.keys() | target.keys()):
        sides = source.get(column), target.get(column)
        if not _same(column, *sides, equality):
            kind = DifferenceKind.SPARSE if column.startswith("sparse:") else DifferenceKind.VECTOR
            here, there = ("" if it is None else short_hash(it.floats) for it in sides)
            dense = column.startswith("vector:") and here and there
            told = _how_apart(*(it.floats for it in sides if it)) if dense else ""
            yield Difference(kind, *place, column, here, f"{there}{told}")


def _how_apart(source: bytes, target: bytes) -> str:
    """What two dense vectors, little-endian float32, have to do with each other, in words behind a hash; neither is told by it."""
    if len(source) != len(target) or not source:
        return f" ({len(target) // 4} numbers, not {len(source) // 4})" if source and target else ""
    a, b = (np.frombuffer(side, "<f4").astype(np.float64) for side in (source, target))
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    if not (np.isfinite(lengths).all() and all(lengths)):
        return " (all zeros)" if lengths[0] and not lengths[1] else ""
    none = int((b == 0).sum())
    zeros = f", {none} of {len(b)} numbers 0" if none > (a == 0).sum() else ""
    return f" (cosine {a @ b / (lengths[0] * lengths[1]):.4f}, length × {lengths[1] / lengths[0]:.4g}{zeros})"


def _same(column: str, source: RawVector | None, target: RawVector | None, equality: Equality) -> bool:
    if source == target:
        return True
    if source is None or target is None or source.rows != target.rows or len(source.floats) != len(target.floats):
        return False
    if not _tolerance(column, equality):
        return False
    a, b = (np.frombuffer(side.floats, "<f4").reshape(side.rows, -1) for side in (source, target))
    return not equality.apart(a, b, column.partition(":")[2]).any()


def _metadata_differences(place: tuple[str, str], source: dict[str, Any], target: dict[str, Any]) -> list[Difference]:
    absent = object()
    keys = sorted(source.keys() | target.keys())
    return [
        Difference(
            DifferenceKind.METADATA,
            *place,
            key,
            *(f"{short_hash(side[key])} ({_kind_of(side[key])})" if key in side else "" for side in (source, target)),
        )
        for key in keys
        if _typed(source.get(key, absent)) != _typed(target.get(key, absent))
    ]


def _kind_of(value: Any) -> str:
    """The type of a value of JSON, and how long a text or a list is; the value itself is not told."""
    if isinstance(value, (str, list)):
        return f"{'text' if isinstance(value, str) else 'list'} of {len(value)}"
    names = ((bool, "boolean"), (int | float, "number"), (Mapping, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _typed(value: Any) -> Any:
    """The value with its types, at every depth: 1 is not "1" and not true, but 1 is 1.0. Integers are never rounded."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return ("number" if number else type(value), value)


def comparable_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as `differences_of` takes them: {namespace, id, vector: bytes, sparse: bytes, metadata: canonical JSON, named: RawVectors}."""
    columns = zip(
        batch.column("namespace").to_pylist(),
        batch.column("id").to_pylist(),
        dense_bytes(batch.column("vector")),
        sparse_bytes(batch.column("sparse")),
        batch.column("metadata").to_pylist(),
        named_vectors(batch),
        strict=True,
    )
    return [
        dict(zip(("namespace", "id", "vector", "sparse", "metadata", "named"), row, strict=True)) for row in columns
    ]


def keys_of(batch: pa.RecordBatch) -> Iterator[tuple[str, str]]:
    """(namespace, id) of each row."""
    return zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)


def past(batch: pa.RecordBatch, last: str | None) -> pa.RecordBatch:
    """The batch without its first record where that is the id `last`: a reading that goes on there scans it once more."""
    again = last is not None and len(batch) and batch.column("id")[0].as_py() == last
    return batch.slice(1) if again else batch
