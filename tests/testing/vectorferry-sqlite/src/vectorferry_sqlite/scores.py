"""Scores of vectors against queries, as the protocol defines them: higher is better."""

import numpy as np
import numpy.typing as npt

from vectorferry.core.model import Metric, Vectors


def scores(metric: Metric, queries: Vectors, vectors: Vectors) -> npt.NDArray[np.float64]:
    """Scores of shape [queries, vectors], in double precision; a zero vector has cosine similarity 0."""
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        distances: npt.NDArray[np.float64] = np.square(left[:, np.newaxis] - right).sum(axis=2)
        return -distances
    products: npt.NDArray[np.float64] = left @ right.T
    if metric is Metric.DOT:
        return products
    lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    similarities: npt.NDArray[np.float64] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return similarities
