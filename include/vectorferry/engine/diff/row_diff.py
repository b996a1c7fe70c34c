"""Row differences of two aligned batches: vectorised where rows are equal, field by field where they are not."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.equality import EXACT, Equality, Mask
from vectorferry.core.model import Difference, DifferenceKind, Verdict
from vectorferry.core.records import comparable_rows, differences_of, vectors_of

MOST_KEPT = 100


def row_differences(left: pa.RecordBatch, right: pa.RecordBatch, equality: Equality = EXACT) -> list[Difference]:
    """Differing fields of n rows with the same keys in the same order."""
    rows = pa.array(np.flatnonzero(unequal(left, right, equality)), pa.int64())
    pairs = zip(comparable_rows(left.take(rows)), comparable_rows(right.take(rows)), strict=True)
    return [found for a, b in pairs for found in differences_of(a, b, equality)]


def unequal(left: pa.RecordBatch, right: pa.RecordBatch, equality: Equality = EXACT) -> Mask:
    """Which of n aligned rows are not equal, shape [n]; a row whose metadata is spelt otherwise counts as not equal."""
    return _texts_differ(left, right) | _vectors_differ(left, right, equality) | _sparse_differ(left, right)


def _texts_differ(left: pa.RecordBatch, right: pa.RecordBatch) -> Mask:
    differ: Mask = pc.not_equal(left.column("metadata"), right.column("metadata")).to_numpy(zero_copy_only=False)
    return differ.astype(np.bool_)


def _vectors_differ(left: pa.RecordBatch, right: pa.RecordBatch, equality: Equality) -> Mask:
    a, b = vectors_of(left), vectors_of(right)
    there, also = _dense(left), _dense(right)
    if a.shape != b.shape:
        return there | also
    differ: Mask = (there != also) | (there & also & equality.apart(a, b))
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
