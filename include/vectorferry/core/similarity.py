"""Similarity: exact scores of vectors of each kind against queries, in double precision; higher is better."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vectorferry.core.model import Metric, Vectors

Scores = npt.NDArray[np.float64]
Sparse = Mapping[str, Any]
"""{"indices": …, "values": …}"""


def dense_scores(metric: Metric, queries: Vectors, vectors: Vectors) -> Scores:
    """Scores of shape [queries, vectors]; a zero vector has cosine similarity 0, the euclidean score is the negative squared distance."""
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        return np.array([-np.square(right - query).sum(axis=1) for query in left]).reshape(len(left), len(right))
    products: Scores = left @ right.T
    if metric is Metric.DOT:
        return products
    lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    similarities: Scores = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return similarities


def multi_scores(metric: Metric, query: Vectors, vectors: Sequence[Vectors]) -> Scores:
    """MaxSim of one query, shape [m, d], to n multi vectors, shape [n]: the sum, over the query's vectors, of each one's best score.

    Late interaction as in ColBERT, https://arxiv.org/abs/2004.12832, section 3.3. A multi vector without vectors has the score -inf.
    """
    if not vectors:
        return np.empty(0)
    sizes = np.array([len(each) for each in vectors])
    flat = dense_scores(metric, query, np.concatenate(vectors).reshape(-1, query.shape[1]))
    starts = np.cumsum(sizes) - sizes
    found: Scores = np.full(len(vectors), -np.inf)
    filled = sizes > 0
    if filled.any():
        found[filled] = np.maximum.reduceat(flat, starts[filled], axis=1).sum(axis=0)
    return found


class SparseRows:
    """Sparse vectors that queries are multiplied with."""

    def __init__(self, vectors: Sequence[Sparse]) -> None:
        self._count = len(vectors)
        sizes = [len(each["indices"]) for each in vectors]
        self._rows = np.repeat(np.arange(len(vectors)), sizes)
        self._indices = np.concatenate(
            [np.empty(0, np.int64), *(np.asarray(it["indices"], np.int64) for it in vectors)]
        )
        self._values = np.concatenate([np.empty(0), *(np.asarray(it["values"], np.float64) for it in vectors)])

    def scores(self, query: Sparse) -> Scores:
        """Products with a query over the indices in common, shape [n]; -inf where there are none, which makes no neighbour."""
        asked, order = np.unique(np.asarray(query["indices"], np.int64), return_index=True)
        weights = np.asarray(query["values"], np.float64)[order]
        found: Scores = np.full(self._count, -np.inf)
        if not len(asked):
            return found
        place = np.minimum(np.searchsorted(asked, self._indices), len(asked) - 1)
        common = asked[place] == self._indices
        rows = self._rows[common]
        products = np.bincount(rows, self._values[common] * weights[place[common]], self._count)
        there = np.unique(rows)
        found[there] = products[there]
        return found
