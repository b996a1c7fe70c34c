"""Exact nearest neighbours over a stream of vectors, by faiss: memory holds one batch and the best so far."""

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vectorferry.core.model import Metric, VectorKind, Vectors, VectorSpec
from vectorferry.core.similarity import SparseRows, multi_scores

THREADS = 2
_LARGE = 100_000_000  # multiplications, some 5 ms of one core
Scores = npt.NDArray[np.float64]
Ids = npt.NDArray[np.object_]


class Nearest:
    """The `width` best rows of each of n queries among all rows added; scores are higher for better, as stores give them.

    faiss picks candidates in single precision; their scores are then computed in double precision, so that equal vectors
    have equal scores wherever they lie.
    """

    def __init__(self, queries: Vectors, width: int, metric: Metric) -> None:
        self._metric = metric
        self._queries = _prepared(queries, metric)
        self._width = width
        self.scores: Scores = np.full((len(queries), width), -np.inf)
        self.ids: Ids = np.full((len(queries), width), None, object)

    def add(self, vectors: Vectors, ids: pa.Array) -> None:
        """Look at more rows: vectors of shape [m, d], and their ids."""
        if not len(vectors) or not len(self._queries):
            return
        prepared = _prepared(vectors, self._metric)
        approximate, rows = self._candidates(prepared)
        # What is worse than the worst kept can be dropped before it costs anything; the margin covers single precision.
        worst = self.scores[:, -1:]
        hopeful = approximate >= worst - 1e-4 * np.maximum(1.0, np.abs(worst))
        query, place = np.nonzero(hopeful & (rows >= 0))
        if len(query):
            self._merge(query, place, rows[query, place], prepared, ids)

    def _candidates(self, vectors: Vectors) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        width = min(self._width, len(vectors))
        # A small product is done before a second thread has woken up.
        large = self._queries.size * len(vectors) > _LARGE
        faiss.omp_set_num_threads(THREADS if large else 1)
        if self._metric is Metric.EUCLIDEAN:
            distances, rows = faiss.knn(self._queries, vectors, width, metric=faiss.METRIC_L2)
            return -distances, rows
        scores, rows = faiss.knn(self._queries, vectors, width, metric=faiss.METRIC_INNER_PRODUCT)
        return scores, rows

    def _merge(
        self, query: npt.NDArray[Any], place: npt.NDArray[Any], row: npt.NDArray[Any], vectors: Vectors, ids: pa.Array
    ) -> None:
        fresh = np.full((len(self._queries), self._width), -np.inf)
        fresh[query, place] = exact_scores(self._queries[query], vectors[row], self._metric)
        names = np.full(fresh.shape, None, object)
        names[query, place] = ids.take(pa.array(row)).to_pylist()
        scores = np.concatenate([self.scores, fresh], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._width]
        self.scores = np.take_along_axis(scores, best, axis=1)
        self.ids = np.take_along_axis(np.concatenate([self.ids, names], axis=1), best, axis=1)


class NearestScored:
    """The same of queries by multi or sparse vectors, each compared with every row."""

    def __init__(self, queries: Sequence[Any], width: int, spec: VectorSpec) -> None:
        self._queries, self._width, self._spec = queries, width, spec
        self.scores: Scores = np.full((len(queries), width), -np.inf)
        self.ids: Ids = np.full((len(queries), width), None, object)

    def add(self, vectors: Sequence[Any], ids: pa.Array) -> None:
        """Look at more rows: their vectors, and their ids."""
        if not len(vectors):
            return
        rows = SparseRows(vectors) if self._spec.kind is VectorKind.SPARSE else None
        names = np.array([*ids.to_pylist(), None], object)[:-1]
        for number, query in enumerate(self._queries):
            found = multi_scores(self._spec.metric, query, vectors) if rows is None else rows.scores(query)
            scores = np.concatenate([self.scores[number], found])
            best = np.argsort(-scores, kind="stable")[: self._width]
            self.scores[number] = scores[best]
            self.ids[number] = np.concatenate([self.ids[number], names])[best]


def nearest_by(spec: VectorSpec, queries: Any, width: int) -> "Nearest | NearestScored":
    """The exact search by a vector of any kind."""
    return (
        Nearest(queries, width, spec.metric) if spec.kind is VectorKind.DENSE else NearestScored(queries, width, spec)
    )


def exact_scores(queries: Vectors, vectors: Vectors, metric: Metric) -> Scores:
    """Score of each pair of rows, shape [n], in double precision; cosine expects vectors of unit length (or zero)."""
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        distances: Scores = -np.square(left - right).sum(axis=1)
        return distances
    products: Scores = np.einsum("nd,nd->n", left, right)
    return products


def cluster_centres(vectors: Vectors, clusters: int, metric: Metric, seed: int) -> Vectors:
    """Centres of k-means over vectors of shape [n, d], n > clusters; of unit length under cosine. The same for the same seed."""
    faiss.omp_set_num_threads(1)  # the order of sums decides the last bits
    spherical = metric is Metric.COSINE
    means = faiss.Kmeans(
        vectors.shape[1], clusters, niter=10, seed=seed, spherical=spherical, min_points_per_centroid=1, verbose=False
    )
    means.train(_prepared(vectors, metric))
    return np.asarray(means.centroids, np.float32)


def _prepared(vectors: Vectors, metric: Metric) -> Vectors:
    if metric is not Metric.COSINE:
        return np.ascontiguousarray(vectors, np.float32)
    copy = np.array(vectors, np.float32, order="C")  # a copy: the caller's vectors stay as they were stored
    faiss.normalize_L2(copy)
    return copy
