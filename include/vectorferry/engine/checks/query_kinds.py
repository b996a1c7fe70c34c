"""Kinds of queries that are made of a sample of records: those that an approximate index finds hard, and those that people might ask.

Each record is asked at most once, and a query that is a record leaves that record out. Distances are Euclidean, of vectors of unit length
under cosine: there they order as the metric does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vectorferry.core.model import Metric, Vectors
from vectorferry.engine.checks.exact_search import Nearest, Scores, cluster_centres
from vectorferry.engine.checks.ground_truth import TIE
from vectorferry.engine.checks.query_file import HELD_OUT

CENTRE, BORDER, NEAR_DUPLICATE, HARDEST, PERTURBED = "centre", "border", "near_duplicate", "hardest", "perturbed"
MADE = (HELD_OUT, CENTRE, BORDER, NEAR_DUPLICATE, HARDEST, PERTURBED)
_NOISE = 0.5  # of the distance to the nearest record
_MOST_CLUSTERS, _LEAST_CANDIDATES, _CANDIDATES = 256, 500, 20
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Made:
    """Queries of one kind: vectors of shape [n, d], and the records that they were made of and leave out, or None."""

    kind: str
    vectors: Vectors
    own_ids: Sequence[str | None]


@dataclass
class Sample:
    """Records of one namespace, `vectors` of shape [n, d], from which `wanted` queries a kind are made; k is that of recall."""

    ids: Sequence[str]
    vectors: Vectors
    metric: Metric
    k: int
    seed: int
    _asked: set[int] = field(default_factory=set)
    _most: int = 0

    def queries(self, wanted: Mapping[str, int]) -> list[Made]:
        """As many of each kind as are wanted, or as there are: a small sample has no clusters and no rank beyond k."""
        order: Mapping[str, Callable[[int], Made]] = {
            HARDEST: lambda most: self._records(HARDEST, self._hardest(), most),
            BORDER: lambda most: self._records(BORDER, self._borders(), most),
            NEAR_DUPLICATE: lambda most: self._records(NEAR_DUPLICATE, self._near_duplicates(), most),
            CENTRE: self._centres,
            PERTURBED: self._perturbed,
            HELD_OUT: lambda most: self._records(HELD_OUT, self._shuffled, most),
        }
        self._most = max(wanted.values(), default=0)
        return [make(wanted[kind]) for kind, make in order.items() if wanted.get(kind)]

    @cached_property
    def _space(self) -> Vectors:
        if self.metric is not Metric.COSINE:
            return self.vectors
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        scaled: Vectors = np.divide(self.vectors, lengths, out=np.zeros_like(self.vectors), where=lengths > 0)
        return scaled

    @cached_property
    def _shuffled(self) -> Rows:
        return np.random.default_rng(self.seed).permutation(len(self.ids))

    @cached_property
    def _candidates(self) -> Rows:
        """The rows that are compared with all others: of a large sample a share."""
        return self._shuffled[: max(_LEAST_CANDIDATES, len(self.ids) // _CANDIDATES, len(MADE) * self._most)]

    @cached_property
    def _gaps(self) -> Scores:
        """Distance of each candidate to the nearest other record, infinite where there is none."""
        scores = self._others(Metric.EUCLIDEAN, 1)
        return np.sqrt(np.maximum(-scores[:, 0], 0))

    def _others(self, metric: Metric, width: int) -> Scores:
        """Scores of the `width` nearest of each candidate but itself; -inf where there are fewer."""
        nearest = Nearest(self._space[self._candidates], width + 1, metric)
        nearest.add(self._space, pa.array(range(len(self.ids)), pa.int64()))
        scores = np.empty((len(self._candidates), width))
        for place, own in enumerate(self._candidates):
            # Of records with the same vector others may come first, and all places be theirs.
            keep = (nearest.ids[place] != own).nonzero()[0][:width]
            scores[place] = nearest.scores[place][keep]
        return scores

    def _hardest(self) -> Rows:
        """Candidates by the margin between rank k and k + 1, least first; where these tie, either is right, and nothing is hard."""
        scores = self._others(self.metric, self.k + 1)
        last, beyond = scores[:, self.k - 1], scores[:, self.k]
        there = np.isfinite(beyond)
        margin = np.where(there, last - np.where(there, beyond, 0), np.inf)
        hard = there & (margin > TIE * np.abs(last))
        order = np.argsort(margin, kind="stable")
        return self._candidates[order[hard[order]]]

    def _near_duplicates(self) -> Rows:
        """Candidates by how close another record lies, closest first."""
        there = np.isfinite(self._gaps)
        order = np.argsort(self._gaps, kind="stable")
        return self._candidates[order[there[order]]]

    @cached_property
    def _means(self) -> Vectors:
        clusters = min(_MOST_CLUSTERS, int(np.sqrt(len(self.ids))))
        if clusters < 2:
            return np.empty((0, self.vectors.shape[1]), np.float32)
        return cluster_centres(self._space, clusters, self.metric, self.seed)

    def _borders(self) -> Rows:
        """Records by the difference between the distances to the two nearest centres, least first."""
        if len(self._means) < 2:
            return np.empty(0, np.int64)
        nearest = Nearest(self._space, 2, Metric.EUCLIDEAN)
        nearest.add(self._means, pa.array(range(len(self._means)), pa.int64()))
        distances = np.sqrt(np.maximum(-nearest.scores, 0))
        return np.argsort(distances[:, 1] - distances[:, 0], kind="stable")

    def _centres(self, most: int) -> Made:
        """The middle of clusters: no record, so that it leaves none out."""
        means = self._means[np.linalg.norm(self._means, axis=1) > 0]
        chosen = np.random.default_rng(self.seed).permutation(len(means))[:most]
        return Made(CENTRE, means[chosen], [None] * len(chosen))

    def _perturbed(self, most: int) -> Made:
        """Records moved by half the distance to the nearest other one, in any direction: new questions, which their records answer."""
        fresh = [place for place, row in enumerate(self._candidates) if row not in self._asked and self._far(place)]
        chosen = fresh[:most]
        self._asked |= {int(self._candidates[place]) for place in chosen}
        noise = np.random.default_rng(self.seed).standard_normal((len(chosen), self.vectors.shape[1]))
        noise *= _NOISE * self._gaps[chosen, None] / np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
        moved = self._space[self._candidates[chosen]] + noise
        if self.metric is Metric.COSINE:
            moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        return Made(PERTURBED, moved.astype(np.float32), [None] * len(chosen))

    def _far(self, place: int) -> bool:
        return bool(np.isfinite(self._gaps[place]) and self._gaps[place] > 0)

    def _records(self, kind: str, order: Rows, most: int) -> Made:
        """The first records in this order that no other kind asks."""
        fresh = [int(row) for row in order if int(row) not in self._asked][:most]
        self._asked.update(fresh)
        # The only record of a namespace may find itself, as among the held-out ones of a migration.
        own = [None if len(self.ids) == 1 else self.ids[row] for row in fresh]
        return Made(kind, self.vectors[fresh], own)
