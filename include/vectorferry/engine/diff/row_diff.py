"""Row differences of two aligned batches: vectorised where rows are equal, field by field where they are not."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.core.records import VectorsEqual, comparable_rows, differences_of, vectors_of

MOST_KEPT = 100
Mask = npt.NDArray[np.bool_]


def row_differences(left: pa.RecordBatch, right: pa.RecordBatch, tolerance: float = 0.0) -> list[Difference]:
    """Differing fields of n rows with the same keys in the same order; `tolerance` is the largest difference of a component."""
    rows = pa.array(np.flatnonzero(unequal(left, right, tolerance)), pa.int64())
    pairs = zip(comparable_rows(left.take(rows)), comparable_rows(right.take(rows)), strict=True)
    return [found for a, b in pairs for found in differences_of(a, b, vectors_within(tolerance))]


def unequal(left: pa.RecordBatch, right: pa.RecordBatch, tolerance: float = 0.0) -> Mask:
    """Which of n aligned rows are not equal, shape [n]; a row whose metadata is spelt otherwise counts as not equal."""
    return _texts_differ(left, right) | _vectors_differ(left, right, tolerance) | _sparse_differ(left, right)


def _texts_differ(left: pa.RecordBatch, right: pa.RecordBatch) -> Mask:
    differ: Mask = pc.not_equal(left.column("metadata"), right.column("metadata")).to_numpy(zero_copy_only=False)
    return differ.astype(np.bool_)


def _vectors_differ(left: pa.RecordBatch, right: pa.RecordBatch, tolerance: float) -> Mask:
    a, b = vectors_of(left), vectors_of(right)
    there, also = _dense(left), _dense(right)
    if a.shape != b.shape:
        return there | also
    close = np.abs(a - b) <= tolerance if tolerance else a.view(np.uint32) == b.view(np.uint32)
    differ: Mask = (there != also) | (there & also & ~close.all(axis=1))
    return differ


def _dense(batch: pa.RecordBatch) -> Mask:
    valid: Mask = batch.column("vector").is_valid().to_numpy(zero_copy_only=False)
    return valid


def _sparse_differ(left: pa.RecordBatch, right: pa.RecordBatch) -> Mask:
    a, b = left.column("sparse"), right.column("sparse")
    none: Mask = (a.is_null().to_numpy(zero_copy_only=False) & b.is_null().to_numpy(zero_copy_only=False)).astype(
        np.bool_
    )
    return ~none


def vectors_within(tolerance: float) -> VectorsEqual:
    """Equality of two vectors given as float32 bytes: bit for bit, or no component further apart than `tolerance`."""
    if not tolerance:
        return bytes.__eq__

    def within(left: bytes, right: bytes) -> bool:
        if len(left) != len(right):
            return False
        a, b = np.frombuffer(left, "<f4"), np.frombuffer(right, "<f4")
        return bool((np.abs(a - b) <= tolerance).all())

    return within


def aligned(wanted: pa.RecordBatch, found: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch, list[str]]:
    """Rows of `wanted` whose ids were found, the found rows in the same order, and the missing ids; all of one namespace."""
    asked, got = wanted.column("id").to_pylist(), found.column("id").to_pylist()
    if asked == got:
        return wanted, found, []
    places = {id_: place for place, id_ in enumerate(got)}
    kept = [row for row, id_ in enumerate(asked) if id_ in places]
    order = [places[asked[row]] for row in kept]
    missing = [id_ for id_ in asked if id_ not in places]
    return wanted.take(pa.array(kept, pa.int64())), found.take(pa.array(order, pa.int64())), missing


class Findings:
    """The differences that a check found: the first 100 kept, all counted."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self.kept: list[Difference] = []
        self.total = 0

    def add(self, found: Iterable[Difference]) -> None:
        """Keep and count differences."""
        for difference in found:
            self.total += 1
            if len(self.kept) < self._most:
                self.kept.append(difference)

    def note(self, kind: DifferenceKind, keys: Iterable[tuple[str, str]], field: str = "") -> None:
        """Keep and count one difference for each (namespace, id)."""
        self.add(Difference(kind, namespace, id_, field) for namespace, id_ in keys)

    def verdict(self, check: str, scope: str, *, passed: bool, figures: dict[str, Any], reason: str = "") -> Verdict:
        """The verdict of a check; any difference fails it."""
        return Verdict(check, scope, passed and not self.total, figures, tuple(self.kept), self.total, reason)
