"""Merge join of two streams of records in key order, batch by batch: memory stays bounded whatever their length."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vectorferry.core.errors import CheckFailed
from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows of one stretch of keys: `left` and `right` hold the shared keys, row by row; the others are on one side only."""

    left: pa.RecordBatch
    right: pa.RecordBatch
    left_only: pa.RecordBatch
    right_only: pa.RecordBatch


def join(
    left: Iterable[pa.RecordBatch], right: Iterable[pa.RecordBatch], order: KeyOrder, names: tuple[str, str]
) -> Iterator[Joined]:
    """Join two streams of one namespace's records; `names` name the sides. Raises CheckFailed where a side is out of order."""
    a, b = _Side(left, order, names[0]), _Side(right, order, names[1])
    while True:
        more = a.fill(), b.fill()
        if more == (True, True):
            bound = min(a.keys[-1], b.keys[-1])
            yield _pair(*a.cut(bound), *b.cut(bound))
        elif more[0]:
            yield _alone(a.rest(), left=True)
        elif more[1]:
            yield _alone(b.rest(), left=False)
        else:
            return


class _Side:
    """One stream: the batch at hand and its keys."""

    def __init__(self, batches: Iterable[pa.RecordBatch], order: KeyOrder, name: str) -> None:
        self._batches = iter(batches)
        self._order = order
        self._name = name
        self._last: str | None = None
        self._batch: pa.RecordBatch | None = None
        self.keys: Sequence[str] = ()

    def fill(self) -> bool:
        """Have a batch that is not empty at hand; False at the end."""
        while not self.keys:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._batch, self.keys = batch, self._ordered_keys(batch)
        return True

    def cut(self, bound: str) -> tuple[pa.RecordBatch, Sequence[str]]:
        """Take the rows up to and including a key."""
        assert self._batch is not None
        end = len(self.keys) if self.keys[-1] <= bound else bisect_right(self.keys, bound)
        taken = self._batch.slice(0, end), self.keys[:end]
        self._batch, self.keys = self._batch.slice(end), self.keys[end:]
        return taken

    def rest(self) -> pa.RecordBatch:
        """Take all rows at hand."""
        return self.cut(self.keys[-1])[0]

    def _ordered_keys(self, batch: pa.RecordBatch) -> list[str]:
        rows = zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)
        keys = [key_of(self._order, namespace, id_) for namespace, id_ in rows]
        for key in keys:
            if self._last is not None and key <= self._last:
                raise CheckFailed(f"{self._name} is not in key order: {key!r} comes after {self._last!r}")
            self._last = key
        return keys


def _pair(left: pa.RecordBatch, left_keys: Sequence[str], right: pa.RecordBatch, right_keys: Sequence[str]) -> Joined:
    if left_keys == right_keys:
        return Joined(left, right, left.slice(0, 0), right.slice(0, 0))
    shared = set(left_keys) & set(right_keys)
    return Joined(
        _rows(left, [key in shared for key in left_keys]),
        _rows(right, [key in shared for key in right_keys]),
        _rows(left, [key not in shared for key in left_keys]),
        _rows(right, [key not in shared for key in right_keys]),
    )


def _rows(batch: pa.RecordBatch, keep: Sequence[bool]) -> pa.RecordBatch:
    return batch.filter(pa.array(keep, pa.bool_()))


def _alone(batch: pa.RecordBatch, *, left: bool) -> Joined:
    none = batch.slice(0, 0)
    return Joined(none, none, batch, none) if left else Joined(none, none, none, batch)
