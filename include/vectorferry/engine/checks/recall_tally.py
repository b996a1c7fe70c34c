"""Tally of many judged queries: how many neighbours were found, by kind of query, and which queries missed most."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vectorferry.core.model import Difference, DifferenceKind
from vectorferry.engine.checks.intervals import Counts, Interval, clustered_interval, design_effect
from vectorferry.engine.checks.judged_queries import Judged, Neighbour
from vectorferry.engine.diff.row_diff import MOST_KEPT


@dataclass(frozen=True, slots=True)
class _Lossy:
    """A query that did not get all of its neighbours: its recall, and the first that it missed."""

    query: int
    share: float
    missed: tuple[Difference, ...]

    @classmethod
    def of(cls, one: Judged, most: int) -> "_Lossy":
        lost = islice((n for n in one.neighbours if not n.returned), most)
        return cls(one.query, one.share, tuple(_missed(one, n) for n in lost))


_Labels = npt.NDArray[np.object_]
_Q = TypeVar("_Q", Judged, _Lossy)


@dataclass(frozen=True, slots=True)
class KindRecall:
    """Recall of the queries of one kind."""

    queries: int
    interval: Interval

    @property
    def figures(self) -> dict[str, Any]:
        """For a verdict."""
        found = self.interval
        return {"queries": self.queries} | {
            name: round(getattr(found, of), 6) for name, of in (("recall", "share"), ("low", "low"), ("high", "high"))
        }


@dataclass(frozen=True)
class Tally:
    """What is kept of many judged queries: of those with neighbours, shape [n], hits, trials, kind and whether each was recorded.

    `worst` are the queries that missed most, worst first, and `missed` counts all neighbours that were missed.
    `held_out` counts the held-out queries that had neighbours, `emptied` those all of whose neighbours were touched, `set_aside` these.
    """

    hits: Counts
    trials: Counts
    recorded: npt.NDArray[np.bool_]
    labels: _Labels
    worst: tuple[_Lossy, ...]
    missed: int
    held_out: int
    emptied: int
    set_aside: int

    @classmethod
    def of(cls, judged: Iterable[Judged], kept: int = MOST_KEPT) -> "Tally":
        """Counted one by one, so that no more than `kept` of the queries, and of the neighbours that they missed, stay in memory."""
        counts: list[tuple[int, int, bool]] = []
        labels: list[str] = []
        worst: list[Judged] = []
        missed = held_out = emptied = set_aside = 0
        for one in judged:
            set_aside += one.set_aside
            emptied += one.emptied
            held_out += not one.recorded and bool(one.neighbours or one.set_aside)
            if one.neighbours:
                counts.append((one.hits, len(one.neighbours), one.recorded))
                labels.append(one.kind)
            if lost := len(one.neighbours) - one.hits:
                missed += lost
                worst.append(one)
                worst = _worst(worst, kept) if len(worst) > 2 * kept else worst
        columns = np.array(counts, np.int64).reshape(-1, 3)
        named = tuple(_Lossy.of(one, kept) for one in _worst(worst, kept))
        kinds = np.array([*labels, None], object)[:-1]
        return cls(columns[:, 0], columns[:, 1], columns[:, 2] > 0, kinds, named, missed, held_out, emptied, set_aside)

    @classmethod
    def all(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Of all queries together."""
        every = list(tallies)
        return cls(
            np.concatenate([each.hits for each in every]),
            np.concatenate([each.trials for each in every]),
            np.concatenate([each.recorded for each in every]),
            np.concatenate([each.labels for each in every]),
            tuple(_worst(chain.from_iterable(each.worst for each in every), MOST_KEPT)),
            sum(each.missed for each in every),
            sum(each.held_out for each in every),
            sum(each.emptied for each in every),
            sum(each.set_aside for each in every),
        )

    def __len__(self) -> int:
        return len(self.trials)

    def shown(self, most: int) -> tuple[Difference, ...]:
        """The first neighbours that were missed, those of the worst query first."""
        return tuple(islice(chain.from_iterable(one.missed for one in self.worst), most))

    def aside(self) -> dict[str, int]:
        """How many neighbours were touched, where any was."""
        return {"set_aside": self.set_aside} if self.set_aside else {}

    def origins(self) -> dict[str, Any]:
        """Recall of recorded queries and of the spec's own held-out ones by themselves: one may hide the other in the mean."""
        figures: dict[str, Any] = {}
        for name, chosen in (("recorded", self.recorded), ("held_out", ~self.recorded)):
            if chosen.any():
                share = float(self.hits[chosen].sum() / self.trials[chosen].sum())
                figures |= {f"{name}_queries": int(chosen.sum()), f"{name}_recall": round(share, 6)}
        return figures

    def by_kind(self, confidence: float) -> dict[str, KindRecall]:
        """Recall of each kind of query with its interval, widened by what is known of all queries together."""
        effect = design_effect(self.hits, self.trials)
        found = {}
        for kind in sorted(set(self.labels.tolist())):
            chosen = self.labels == kind
            interval = clustered_interval(self.hits[chosen], self.trials[chosen], confidence, least_effect=effect)
            found[kind] = KindRecall(int(chosen.sum()), interval)
        return found


def _worst(judged: Iterable[_Q], most: int) -> list[_Q]:
    return heapq.nsmallest(most, judged, key=lambda one: (one.share, one.query))


def _missed(one: Judged, neighbour: Neighbour) -> Difference:
    asked = f"query {one.query}" if one.own_id is None else f"query {one.query} (record {one.own_id})"
    asked = f"{asked} by {one.vector}" if one.vector else asked
    return Difference(
        DifferenceKind.RESULT, one.namespace, neighbour.id, asked, f"rank {neighbour.rank}", "not returned"
    )
