"""Vectors in Qdrant: what each is called there and is in a record, and the length that the server takes from it under cosine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vectorferry.core.model import Metric, VectorKind, Vectors, VectorSpec
from vectorferry.core.records import vectors_of
from vectorferry.core.vector_columns import array_of, column_name, floats_of, multi_of, vector_array
from vectorferry.stores.row_limits import Reason

TOLERANCE = 1e-6
"""Of a vector under cosine that had another length than 1: it is kept as a direction and a length, each rounded once."""
_UNIT = 4e-7  # the server leaves alone what it takes for 1, that is squares within 1e-6
_HALF = "float16"
_BYTES = "uint8"


@dataclass(frozen=True, slots=True)
class HeldVector:
    """One vector of a collection: `wire` is its name in Qdrant, `name` that in records; `datatype` is as what its floats are kept.

    `unnamed`: the dense or sparse vector of a record that has no name there.
    """

    wire: str
    name: str
    kind: VectorKind
    dimension: int | None
    metric: Metric
    datatype: str = ""
    index: Mapping[str, Any] = field(default_factory=dict)
    unnamed: bool = False

    @property
    def normalised(self) -> bool:
        """Whether the server keeps it at length 1."""
        return self.metric is Metric.COSINE and self.kind is not VectorKind.SPARSE

    @property
    def spec(self) -> VectorSpec:
        """As `CollectionInfo` tells of it."""
        return VectorSpec(self.name, self.kind, self.dimension, self.metric, self.index)

    @property
    def column(self) -> str:
        """The column of a batch that holds it."""
        if self.unnamed:
            return "sparse" if self.kind is VectorKind.SPARSE else "vector"
        return column_name(self.spec)


Norms = npt.NDArray[np.float64]


# --- Writing


class Column:
    """One vector of a batch, ready to be sent: what is null is not sent, and what the server would normalise has its length beside it."""

    def __init__(self, held: HeldVector, batch: pa.RecordBatch) -> None:
        self.held = held
        column = batch.column(held.column)
        self._valid = column.is_valid().to_pylist()
        self._norms: Sequence[Any] = ()
        self._rows: Sequence[Any]
        if held.kind is VectorKind.SPARSE:
            self._rows = column.to_pylist()
        elif held.kind is VectorKind.MULTI:
            self._rows, self._norms = self._multi(multi_of(column))
        else:
            vectors = vectors_of(batch) if held.unnamed else floats_of(column)
            self._rows, self._norms = self._dense(vectors)

    def _dense(self, vectors: Vectors) -> tuple[Sequence[Any], Sequence[Any]]:
        norms: Sequence[Any] = ()
        if self.held.normalised and len(vectors):
            vectors, found = to_unit(vectors, np.array(self._valid, bool))
            norms = [None if np.isnan(each) else float(each) for each in found]
        raw, width = np.ascontiguousarray(vectors, "<f4").tobytes(), vectors.shape[1] * 4
        return [raw[row * width : (row + 1) * width] for row in range(len(vectors))], norms

    def _multi(self, vectors: Sequence[Vectors | None]) -> tuple[Sequence[Any], Sequence[Any]]:
        if not self.held.normalised:
            return vectors, ()
        made, norms = list[Any](), list[Any]()
        for each in vectors:
            unit, found = (None, None) if each is None else to_unit(each, np.ones(len(each), bool))
            made.append(unit)
            kept = None if found is None or np.isnan(found).all() else [1.0 if np.isnan(n) else float(n) for n in found]
            norms.append(kept)
        return made, norms

    def norm(self, row: int) -> Any:
        """The length of a row's vector, of a multi vector of each one in it; None where there is nothing to keep."""
        return self._norms[row] if self._norms and self._valid[row] else None

    def has(self, row: int) -> bool:
        """Whether a row has the vector."""
        return bool(self._valid[row])

    def fill(self, target: Any, row: int) -> None:
        """Write a row's vector into a message `Vector`."""
        value = self._rows[row]
        if self.held.kind is VectorKind.DENSE:
            target.dense.data = value
        elif self.held.kind is VectorKind.SPARSE:
            fill_sparse(target.sparse, value)
        else:
            target.multi_dense.SetInParent()
            for each in np.ascontiguousarray(value, "<f4"):
                target.multi_dense.vectors.add().data = each.tobytes()


def fill_sparse(target: Any, value: Mapping[str, Any]) -> None:
    """Write a sparse vector into a message."""
    target.SetInParent()
    target.indices = _varints(value["indices"])
    target.values = np.asarray(value["values"], "<f4").tobytes()


def _varints(numbers: Sequence[int]) -> bytes:
    """Whole numbers as protobuf packs them."""
    made = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            made.append(rest & 0x7F | 0x80)
            rest >>= 7
        made.append(rest)
    return bytes(made)


def to_unit(vectors: Vectors, there: npt.NDArray[np.bool_]) -> tuple[Vectors, Norms]:
    """Vectors at length 1, and the lengths that they had: NaN where it was 1 or 0, and the vector is left as it is.

    The server divides by a length of 32 bits, which is infinite for large vectors and 0 for small ones: it gets what it leaves alone.
    """
    wide = vectors.astype(np.float64)
    # The largest component is taken out first: its square may be beyond a double's range nowhere, but that of tiny ones is 0.
    largest = np.abs(wide).max(axis=1, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    lengths = np.sqrt(((wide / scale[:, None]) ** 2).sum(axis=1)) * scale
    changed = there & (largest > 0) & (np.abs(lengths - 1.0) > _UNIT)
    if not changed.any():
        return vectors, np.full(len(vectors), np.nan)
    divided = wide / np.where(changed, lengths, 1.0)[:, None]
    return np.where(changed[:, None], divided.astype(np.float32), vectors), np.where(changed, lengths, np.nan)


def to_length(vectors: Vectors, norms: Norms) -> Vectors:
    """Vectors at the lengths that they had; those whose length is NaN as they are."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt((wide**2).sum(axis=1))
    changed = ~np.isnan(norms) & (lengths > 0)
    if not changed.any():
        return vectors
    factor = np.where(changed, np.where(changed, norms, 1.0) / np.where(lengths > 0, lengths, 1.0), 1.0)
    return np.where(changed[:, None], (wide * factor[:, None]).astype(np.float32), vectors)


# --- Reading


def raw_of(found: Any) -> Any:
    """One vector of an answer: bytes, {"indices", "values"}, or the list of bytes of a multi vector; None where there is none.

    Older servers answer in the fields that all kinds share.
    """
    kind = found.WhichOneof("vector")
    if kind == "dense":
        return found.dense.data
    if kind == "sparse":
        return _sparse(found.sparse.indices, found.sparse.values)
    if kind == "multi_dense":
        return [each.data for each in found.multi_dense.vectors]
    if found.HasField("indices"):
        return _sparse(found.indices.data, found.data)
    if found.HasField("vectors_count"):
        width = len(found.data) // max(found.vectors_count, 1)
        return [found.data[row * width : (row + 1) * width] for row in range(found.vectors_count)]
    return found.data


def _sparse(indices: bytes, values: bytes) -> dict[str, Any]:
    return {"indices": _numbers(indices), "values": np.frombuffer(values, "<f4").tolist()}


def _numbers(packed: bytes) -> list[int]:
    found, number, shift = list[int](), 0, 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        if byte > 0x7F:
            shift += 7
        else:
            found.append(number)
            number = shift = 0
    return found


def raw_vectors(found: Any) -> dict[str, Any]:
    """All vectors of a point, by their names in Qdrant."""
    kind = found.WhichOneof("vectors_options")
    if kind == "vector":
        return {"": raw_of(found.vector)}
    if kind is None:
        return {}
    return {name: raw_of(each) for name, each in found.vectors.vectors.items()}


def dense_column(raw: Sequence[Any], dimension: int, norms: Sequence[Any]) -> pa.Array:
    """A column of dense vectors, of the bytes of each row, None where there is none."""
    width = 4 * dimension
    empty = bytes(width)
    missing = np.array([not each for each in raw], bool)
    joined = b"".join(raw) if not missing.any() else b"".join(each or empty for each in raw)
    vectors = np.frombuffer(joined, "<f4").reshape(len(raw), dimension)
    if any(norms):
        lengths = np.array([each if isinstance(each, (int, float)) else np.nan for each in norms], np.float64)
        vectors = to_length(vectors, lengths)
    return vector_array(vectors, missing)


def column_of(held: HeldVector, raw: Sequence[Any], norms: Sequence[Any]) -> pa.Array:
    """A column of any vector."""
    if held.kind is VectorKind.SPARSE:
        return array_of(held.kind, raw, None)
    if held.kind is VectorKind.DENSE:
        return dense_column(raw, held.dimension or 0, norms)
    rows = [
        None if each is None else _rows(each, held.dimension or 0, norm) for each, norm in zip(raw, norms, strict=True)
    ]
    return array_of(held.kind, rows, held.dimension)


def _rows(raw: Sequence[bytes], dimension: int, norms: Any) -> Vectors:
    vectors: Vectors = np.frombuffer(b"".join(raw), "<f4").reshape(len(raw), dimension)
    if not isinstance(norms, list) or len(norms) != len(raw):
        return vectors
    return to_length(vectors, np.array([n if isinstance(n, (int, float)) else np.nan for n in norms], np.float64))


# --- What it does not take


def unfit_rows(batch: pa.RecordBatch, vectors: Sequence[HeldVector]) -> Iterator[Reason]:
    """Rows with a vector that the server would refuse or change, each with the reason."""
    for held in vectors:
        if held.column not in batch.schema.names:
            continue
        column = batch.column(held.column)
        if held.kind is VectorKind.SPARSE:
            yield from _unfit_sparse(held, column)
        elif held.kind is VectorKind.MULTI:
            rows = enumerate(multi_of(column))
            yield from (
                (row, f"the vector {held.name!r} has no rows")
                for row, each in rows
                if each is not None and not len(each)
            )
        if held.datatype in (_HALF, _BYTES):
            yield from _inexact(held, batch)


def _unfit_sparse(held: HeldVector, column: pa.Array) -> Iterator[Reason]:
    if column.null_count == len(column):
        return
    for row, each in enumerate(column.to_pylist()):
        if each is not None and len(set(each["indices"])) != len(each["indices"]):
            yield row, f"the sparse vector{held.name and f' {held.name!r}'} has an index twice"


def _inexact(held: HeldVector, batch: pa.RecordBatch) -> Iterator[Reason]:
    column = batch.column(held.column)
    parts = multi_of(column) if held.kind is VectorKind.MULTI else [row[None] for row in floats_of(column)]
    name = held.name and f" {held.name!r}"
    reason = f"the collection keeps the vector{name} as {held.datatype}, which does not hold its numbers as they are"
    for row, (each, there) in enumerate(zip(parts, column.is_valid().to_pylist(), strict=True)):
        if there and each is not None and not _held_exactly(each, held):
            yield row, reason


def _held_exactly(vectors: Vectors, held: HeldVector) -> bool:
    if held.normalised:
        return False
    if held.datatype == _BYTES:
        return bool(((vectors == np.round(vectors)) & (vectors >= 0) & (vectors <= 255)).all())
    with np.errstate(over="ignore"):
        return bool((vectors.astype(np.float16).astype(np.float32) == vectors).all())
