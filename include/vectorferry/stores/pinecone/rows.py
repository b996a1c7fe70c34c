"""Rows of a canonical batch as Pinecone's vectors, and back; and Pinecone's own rules for rows, beyond what capabilities say."""

import base64
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import pyarrow as pa
from pinecone import SparseValues, Vector

from vectorferry.core.errors import TerminalError
from vectorferry.core.model import Vectors
from vectorferry.core.records import canonical_json, make_batch, parse_json, vectors_of
from vectorferry.stores.row_limits import Reason

DEFAULT_NAME = "__default__"
_SMALLEST = 1e-8
_MAX_SPARSE = 2048
MAX_TEXT = 512
_EXACT_INTEGER = 1 << 53

Values = Callable[[Vectors], Any]
"""One vector, shape [d], in the form that a transport sends fastest."""


def json_values(row: Vectors) -> Any:
    """Shortest decimals that read back as the same float32, written without a Python object per number."""
    return orjson.Fragment(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))


def grpc_values(row: Vectors) -> Any:
    """The floats as the SDK's gRPC channel takes them fastest."""
    return array("f", row.tobytes())


def rejected_rows(batch: pa.RecordBatch) -> Iterator[Reason]:
    """Rows that Pinecone rejects by rules that no capability states."""
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id", "metadata"))
    for row, (name, id_, metadata) in enumerate(zip(*columns, strict=True)):
        if name == DEFAULT_NAME:
            yield row, f"{DEFAULT_NAME} is Pinecone's own name of the default namespace"
        if "\0" in id_ or "\0" in name:
            yield row, "the id or the namespace holds a NUL"
        if '"$' in metadata and any(key.startswith("$") for key in parse_json(metadata)):
            yield row, "a metadata key starts with $"
    yield from _tiny(batch)
    yield from _odd_sparse(batch.column("sparse"))


def _tiny(batch: pa.RecordBatch) -> Iterator[Reason]:
    vectors = vectors_of(batch)
    if not vectors.shape[1]:
        return
    small = np.abs(vectors).max(axis=1, initial=0) < _SMALLEST
    for row in (small & batch.column("vector").is_valid().to_numpy(zero_copy_only=False)).nonzero()[0]:
        yield int(row), f"no component of the vector reaches {_SMALLEST}"


def not_sparse(batch: pa.RecordBatch, *, partial: bool) -> Iterator[Reason]:
    """Rows that an index of sparse vectors only does not take: with a dense vector, or whole ones without a sparse one."""
    dense, sparse = (batch.column(name).is_valid().to_pylist() for name in ("vector", "sparse"))
    for row, there in enumerate(zip(dense, sparse, strict=True)):
        if there[0]:
            yield row, "the index holds sparse vectors only, and the record has a dense one"
        elif not there[1] and not partial:
            yield row, "the index holds sparse vectors only, and the record has none"


def _odd_sparse(column: pa.Array) -> Iterator[Reason]:
    if column.null_count == len(column):
        return
    for row, sparse in enumerate(column.to_pylist()):
        if sparse is not None and not 0 < len(sparse["indices"]) <= _MAX_SPARSE:
            yield row, f"a sparse vector has 1 to {_MAX_SPARSE} entries, not {len(sparse['indices'])}"


def to_vectors(batch: pa.RecordBatch, values: Values) -> list[Vector]:
    """The rows as the SDK's vectors."""
    dense = vectors_of(batch)
    valid = batch.column("vector").is_valid().to_pylist()
    columns = (batch.column(name).to_pylist() for name in ("id", "sparse", "metadata"))
    return [
        Vector(
            id_,
            values(dense[row]) if valid[row] else [],
            None if sparse is None else SparseValues(sparse["indices"], sparse["values"]),
            None if metadata == "{}" else parse_json(metadata),
        )
        for row, (id_, sparse, metadata) in enumerate(zip(*columns, strict=True))
    ]


def to_batch(namespace: str, ids: Sequence[str], found: Mapping[str, Vector], dimension: int | None) -> pa.RecordBatch:
    """The records found, in the order of `ids`, each once. Raises TerminalError where a vector is not of `dimension`."""
    rows = [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]
    return make_batch(
        namespace,
        [row.id for row in rows],
        None if dimension is None else _dense(rows, dimension),
        [canonical_json(_doubles(row.metadata)) for row in rows],
        [_sparse(row) for row in rows] if any(row.sparse_values is not None for row in rows) else None,
        missing=np.array([not row.values for row in rows], bool),
    )


def _dense(rows: Sequence[Vector], dimension: int) -> Vectors:
    """Shape [n, dimension]. The decimals of the answer are doubles; rounded to float32 they are exactly what is stored."""
    odd = next((row for row in rows if row.values and len(row.values) != dimension), None)
    if odd is not None:
        raise TerminalError(f"id {odd.id!r} came back with {len(odd.values)} components, not {dimension}")
    pack, zeros = struct.Struct(f"<{dimension}f").pack, [0.0] * dimension
    packed = b"".join([pack(*(row.values or zeros)) for row in rows])  # half the time of np.array
    return np.frombuffer(packed, "<f4").reshape(len(rows), dimension)


def _sparse(row: Vector) -> dict[str, Any] | None:
    sparse = row.sparse_values
    return {"indices": sparse.indices, "values": sparse.values} if sparse is not None and sparse.indices else None


def _doubles(metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Pinecone's numbers are doubles: one that is printed without a point is no integer beyond 53 bits."""
    if not metadata or not any(type(value) is int and abs(value) >= _EXACT_INTEGER for value in metadata.values()):
        return metadata
    return {key: float(value) if type(value) is int else value for key, value in metadata.items()}


def supported_ids(namespace: str, ids: Iterable[str]) -> Iterator[str]:
    """Those of the ids that Pinecone could hold at all; the SDK refuses to ask for others, which are simply not there."""
    return (id_ for id_ in ids if _fits(id_)) if supported_namespace(namespace) else iter(())


def supported_namespace(namespace: str) -> bool:
    """Whether Pinecone could hold a namespace of this name, as ours; its own name of the default one is not ours."""
    return namespace == "" or (namespace != DEFAULT_NAME and _fits(namespace))


def _fits(text: str) -> bool:
    return 0 < len(text) <= MAX_TEXT and text.isascii() and "\0" not in text


def url_chunks(ids: Iterable[str], rows: int, url_bytes: int | None) -> Iterator[list[str]]:
    """Consecutive runs of at most `rows` ids whose part of a query string stays within `url_bytes` (None: no limit)."""
    part: list[str] = []
    size = 0
    for id_ in ids:
        cost = 0 if url_bytes is None else len("&ids=") + len(quote(id_, safe=""))
        if part and (len(part) == rows or (url_bytes is not None and size + cost > url_bytes)):
            yield part
            part, size = [], 0
        part.append(id_)
        size += cost
    if part:
        yield part


def regrouped(parts: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Consecutive batches joined to at most `rows` rows, without empty ones; none of `parts` may be larger."""
    held: list[pa.RecordBatch] = []
    for part in parts:
        if held and sum(map(len, held)) + len(part) > rows:
            yield _joined(held)
            held = []
        if len(part):
            held.append(part)
    if held:
        yield _joined(held)


def _joined(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def rows_by_namespace(batch: pa.RecordBatch, rows: Iterable[int]) -> dict[str, list[int]]:
    """Positions of the rows by namespace, in order."""
    names = batch.column("namespace").to_pylist()
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(names[row], []).append(row)
    return groups


def page_token_before(key: str) -> str:
    """A page token that continues right before `key`, in the form that Pinecone's own tokens have, which it does not document."""
    last = ord(key[-1]) - 1
    before = key[:-1] + (chr(last) + "\x7f" * 8 if last > 0 else "")
    return base64.b64encode(orjson.dumps({"skip_past": before, "prefix": None})).decode()
