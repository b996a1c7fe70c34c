"""Exact neighbours by multi and sparse vectors: the same as by comparing each pair in plain Python, however the rows come in batches."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.model import Metric, VectorKind, VectorSpec, Verdict
from vectorferry.core.similarity import SparseRows, dense_scores, multi_scores
from vectorferry.engine.checks.exact_search import NearestScored
from vectorferry.engine.checks.searched_vectors import SearchedVector, together

SPARSE = st.dictionaries(st.integers(0, 9), st.integers(-4, 4), max_size=5).map(
    lambda found: {"indices": list(found), "values": [float(each) for each in found.values()]}
)
MULTI = st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=1, max_size=3).map(
    lambda rows: np.array(rows, np.float32)
)


def product(query: dict[str, Any], vector: dict[str, Any]) -> float | None:
    """The product over the indices in common, None where there are none."""
    weights = dict(zip(query["indices"], query["values"], strict=True))
    common = [(i, v) for i, v in zip(vector["indices"], vector["values"], strict=True) if i in weights]
    return sum(weights[i] * v for i, v in common) if common else None


def score(metric: Metric, left: Any, right: Any) -> float:
    """Of two dense vectors."""
    if metric is Metric.EUCLIDEAN:
        return -float(np.square(left - right).sum())
    dot = float(left @ right)
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return dot if metric is Metric.DOT else (dot / lengths if lengths else 0.0)


@given(SPARSE, st.lists(SPARSE, max_size=6))
def test_sparse_products(query: dict[str, Any], vectors: list[dict[str, Any]]) -> None:
    found = [None if np.isneginf(each) else float(each) for each in SparseRows(vectors).scores(query)]
    assert found == [product(query, each) for each in vectors]


@pytest.mark.parametrize("metric", Metric)
@given(query=MULTI, vectors=st.lists(MULTI, max_size=5))
def test_maxsim_is_the_sum_of_each_vectors_best(metric: Metric, query: Any, vectors: list[Any]) -> None:
    expected = [
        sum(max(score(metric, one.astype(float), other.astype(float)) for other in each) for one in query)
        for each in vectors
    ]
    np.testing.assert_allclose(multi_scores(metric, query, vectors), expected, atol=1e-12)


def test_a_multi_vector_without_vectors_is_nobodys_neighbour() -> None:
    empty, one = np.empty((0, 2), np.float32), np.ones((1, 2), np.float32)
    assert multi_scores(Metric.DOT, one, [one, empty, one]).tolist() == [2.0, -np.inf, 2.0]
    assert multi_scores(Metric.DOT, one, [empty]).tolist() == [-np.inf]
    assert dense_scores(Metric.EUCLIDEAN, one[:0], one).shape == (0, 1)


@given(st.lists(SPARSE, min_size=1, max_size=3), st.lists(SPARSE, max_size=12), st.integers(1, 5), st.integers(1, 4))
def test_the_best_of_all_batches_are_the_best(
    queries: list[dict[str, Any]], vectors: list[dict[str, Any]], size: int, width: int
) -> None:
    nearest = NearestScored(queries, width, VectorSpec("", VectorKind.SPARSE, None, Metric.DOT))
    ids = [f"r{row}" for row in range(len(vectors))]
    for start in range(0, len(vectors), size):
        nearest.add(vectors[start : start + size], pa.array(ids[start : start + size]))
    for query, found, scores in zip(queries, nearest.ids.tolist(), nearest.scores.tolist(), strict=True):
        products = [(product(query, each), id_) for each, id_ in zip(vectors, ids, strict=True)]
        best = sorted((-value, ids.index(id_), id_) for value, id_ in products if value is not None)[:width]
        kept = [(value, id_) for value, id_ in zip(scores, found, strict=True) if np.isfinite(value)]
        assert kept == [(-value, id_) for value, _, id_ in best]


def vector(name: str) -> SearchedVector:
    return SearchedVector(VectorSpec(name, VectorKind.DENSE, 2, Metric.DOT))


def verdict(value: float | None, *, passed: bool = True, reason: str = "") -> Verdict:
    return Verdict("recall", "overall", passed, {} if value is None else {"recall": value}, reason=reason)


def recall(found: Verdict) -> float | None:
    return found.figures.get("recall")


def test_the_worst_vector_is_shown_and_any_failure_fails() -> None:
    assert together([(vector(""), verdict(0.5))], recall) == verdict(0.5)
    both = together([(vector(""), verdict(0.9)), (vector("a"), verdict(0.8))], recall)
    assert (both.passed, both.figures["recall"], both.figures["vector"]) == (True, 0.8, "vector:a")
    assert both.figures["vectors"] == {"(without a name)": 0.9, "vector:a": 0.8}
    failed = together(
        [(vector("a"), verdict(0.9, passed=False, reason="too few")), (vector("b"), verdict(0.8))], recall
    )
    assert (failed.passed, failed.figures["vector"], failed.reason) == (False, "vector:a", "vector:a: too few")
    assert together([(vector("a"), verdict(None)), (vector("b"), verdict(0.8))], recall).figures["vector"] == "vector:b"
    assert (
        together([(vector("a"), verdict(0.1)), (vector("b"), verdict(0.8))], recall, largest=True).figures["recall"]
        == 0.8
    )
