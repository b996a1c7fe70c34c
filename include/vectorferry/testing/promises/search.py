"""Searches return the nearest records, best first, by the scores that the protocol defines."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from vectorferry.core.errors import Refused
from vectorferry.core.model import Metric, Neighbours, Vectors
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_best_first, assert_same, eventually, put_all, wait_for_index
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, exact_scores, new_name, random_vectors, records


class SearchContract(StoreFixtures):
    """`search` without a filter."""

    def test_search_finds_the_nearest_for_each_metric(self, make_store: MakeStore) -> None:
        vectors, queries = random_vectors(60, seed=1) * 3, random_vectors(5, seed=2)
        ids = [f"s{row:02}" for row in range(60)]
        for metric in sorted(make_store(create=False).capabilities.metrics):
            store, namespace = make_store(metric=metric), new_name()
            put_all(store, records(namespace, ids, vectors))
            wait_for_index(store, namespace, 60)
            eventually(store, partial(self._check_search, store, namespace, metric, ids, vectors, queries))

    def _check_search(
        self, store: VectorStore, namespace: str, metric: Metric, ids: list[str], vectors: Vectors, queries: Vectors
    ) -> None:
        found = store.search(namespace, queries, 10)
        assert_best_first(found)
        for row, query in enumerate(queries):
            scores = exact_scores(metric, query, vectors)
            best = np.argsort(-scores)[:10]
            assert list(found.ids[row]) == [ids[place] for place in best]
            np.testing.assert_allclose(found.scores[row], scores[best], rtol=1e-3, atol=1e-4)

    def test_search_returns_what_there_is(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b", "c"]))
        wait_for_index(store, namespace, 3)
        eventually(store, lambda: assert_same(len(store.search(namespace, random_vectors(1), 50).ids[0]), 3))
        assert_best_first(store.search(namespace, random_vectors(4), 2))
        assert store.search(namespace, random_vectors(0), 2) == Neighbours((), ())

    def test_search_keeps_to_its_namespace(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["only"], np.full((1, DIMENSION), -1.0, np.float32)))
        wait_for_index(store, namespace, 1)
        query = crowd.column("vector").flatten().to_numpy()[:DIMENSION].reshape(1, -1)
        eventually(store, lambda: assert_same(store.search(namespace, query, 10).ids, (("only",),)))

    def test_search_takes_an_effort(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        namespace = crowd.column("namespace")[0].as_py()
        assert all(len(ids) == 5 for ids in store.search(namespace, random_vectors(3), 5, effort=200).ids)

    def test_search_takes_the_least_and_the_most_effort_that_it_says(
        self, store: VectorStore, crowd: pa.RecordBatch
    ) -> None:
        namespace = crowd.column("namespace")[0].as_py()
        for effort in store.capabilities.efforts or ():
            assert all(len(ids) == 5 for ids in store.search(namespace, random_vectors(3), 5, effort=effort).ids), (
                effort
            )

    def test_a_query_of_another_dimension_is_refused(self, store: VectorStore, crowd: pa.RecordBatch) -> None:
        with pytest.raises(Refused):
            store.search(crowd.column("namespace")[0].as_py(), random_vectors(1, DIMENSION + 1), 5)
