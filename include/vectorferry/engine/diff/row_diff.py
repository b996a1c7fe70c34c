"""Row differences of two aligned batches: vectorised where rows are equal, field by field where they are not."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.equality import EXACT, Equality, Mask
from vectorferry.core.model import Difference, DifferenceKind, VectorKind, Verdict
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.core.vector_columns import floats_of, present, vector_columns

MOST_KEPT = 100


def row_differences(left: pa.RecordBatch, right: pa.RecordBatch, equality: Equality = EXACT) -> list[Difference]:
    """Differing fields of n rows with the same keys in the same order."""
    rows = pa.array(np.flatnonzero(unequal(left, right, equality)), pa.int64())
    pairs = zip(comparable_rows(left.take(rows)), comparable_rows(right.take(rows)), strict=True)
    return [found for a, b in pairs for found in differences_of(a, b, equality)]


def unequal(left: pa.RecordBatch, right: pa.RecordBatch, equality: Equality = EXACT) -> Mask:
    """Which of n aligned rows are not equal, shape [n]; a row whose metadata is spelt otherwise counts as not equal."""
    differ = _texts_differ(left, right) | _sparse_differ(left, right)
    for column, name in (("vector", ""), *_dense_columns(left, right)):
        differ |= _vectors_differ(_column(left, column), _column(right, column), equality, name)
    for side in (left, right):
        # Multi and sparse ones are compared row by row, where there are any.
        for each in vector_columns(side.schema):
            if each.kind is not VectorKind.DENSE:
                differ |= present(side.column(each.column))
    return differ


def _dense_columns(*sides: pa.RecordBatch) -> set[tuple[str, str]]:
    """Columns of named dense vectors that one of the sides has, each with the vector's name."""
    found = (each for side in sides for each in vector_columns(side.schema))
    return {(each.column, each.name) for each in found if each.kind is VectorKind.DENSE}


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of dense vectors, all null where the batch has none of that name."""
    return batch.column(name) if name in batch.schema.names else pa.nulls(len(batch))


def _texts_differ(left: pa.RecordBatch, right: pa.RecordBatch) -> Mask:
    differ: Mask = pc.not_equal(left.column("metadata"), right.column("metadata")).to_numpy(zero_copy_only=False)
    return differ.astype(np.bool_)


def _vectors_differ(left: pa.Array, right: pa.Array, equality: Equality, name: str) -> Mask:
    a, b = floats_of(left), floats_of(right)
    there, also = present(left), present(right)
    if a.shape != b.shape:
        return there | also
    differ: Mask = (there != also) | (there & also & equality.apart(a, b, name))
    return differ


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
