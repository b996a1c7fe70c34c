"""Comparison of two answers to the same read: how far the authority's and the follower's agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from vectorferry.core.equality import EXACT, Equality
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.journal import ShadowFigures

A = TypeVar("A", contravariant=True)


class AnswerComparison(Protocol[A]):
    """A read of one namespace, and how its answers are compared."""

    @property
    def kind(self) -> str:
        """'search' or 'fetch'."""
        ...

    @property
    def namespace(self) -> str:
        """Where it reads."""
        ...

    def ids(self, here: A, there: A) -> Sequence[str]:
        """The ids that the two answers speak of."""
        ...

    def figures(self, here: A, there: A, aside: frozenset[str], equality: Equality = EXACT) -> ShadowFigures | None:
        """How far the follower's answer (`there`) agrees, without the ids set aside; None where nothing is left to compare.

        `equality` is what holds between the two stores' vectors.
        """
        ...


@dataclass(frozen=True, slots=True)
class Searched(Generic[A]):
    """A search for the k nearest; `scores` reads ids and scores out of an answer, best first."""

    namespace: str
    k: int
    scores: Callable[[A], dict[str, float]]
    kind: str = "search"

    def ids(self, here: A, there: A) -> Sequence[str]:
        """All that either side found."""
        return list(self.scores(here) | self.scores(there))

    def figures(self, here: A, there: A, aside: frozenset[str], equality: Equality = EXACT) -> ShadowFigures | None:
        """Overlap@k, order and score drift.

        An id set aside takes a place of the k from the follower: it can show as many fewer of the authority's.
        """
        del equality
        ours, theirs = self.scores(here), self.scores(there)
        possible = min(len(ours.keys() - aside), self.k - len(theirs.keys() & aside))
        if possible <= 0:
            return None
        common = [id_ for id_ in ours if id_ in theirs and id_ not in aside]
        scores = np.array([[ours[id_], theirs[id_]] for id_ in common], np.float64).reshape(-1, 2)
        order, overlap = _in_order(scores), len(common) / possible
        return ShadowFigures(
            reads=1,
            overlap=overlap,
            least_overlap=overlap,
            ordered=int(order is not None),
            in_order=order or 0.0,
            scored=int(bool(common)),
            drift=float(np.abs(scores[:, 0] - scores[:, 1]).mean()) if common else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetch by id; answers are batches of what was found."""

    namespace: str
    asked: tuple[str, ...]
    kind: str = "fetch"

    def ids(self, here: pa.RecordBatch, there: pa.RecordBatch) -> Sequence[str]:
        """What was asked for: an id that neither side has is agreed upon, too."""
        del here, there
        return list(dict.fromkeys(self.asked))

    def figures(
        self, here: pa.RecordBatch, there: pa.RecordBatch, aside: frozenset[str], equality: Equality = EXACT
    ) -> ShadowFigures | None:
        """The share of ids under which both sides hold the same, or nothing."""
        left = [id_ for id_ in dict.fromkeys(self.asked) if id_ not in aside]
        if not left:
            return None
        ours, theirs = _by_id(here), _by_id(there)
        overlap = sum(_same(ours.get(id_), theirs.get(id_), equality) for id_ in left) / len(left)
        return ShadowFigures(reads=1, overlap=overlap, least_overlap=overlap)


def _in_order(scores: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> float | None:
    """The share of pairs that both sides rank alike, of scores with shape [n, 2]; ties on either side do not count, None without pairs."""
    signs = np.sign(scores[:, None, :] - scores[None, :, :])
    product = signs[:, :, 0] * signs[:, :, 1]
    told = np.count_nonzero(product)
    return float(np.count_nonzero(product > 0) / told) if told else None


def _by_id(batch: pa.RecordBatch) -> dict[str, Mapping[str, Any]]:
    return {row["id"]: row for row in comparable_rows(batch)}


def _same(here: Mapping[str, Any] | None, there: Mapping[str, Any] | None, equality: Equality) -> bool:
    """Whether both sides hold the same of an id, or nothing."""
    if here is None or there is None:
        return here is there
    return not differences_of(here, there, equality)
