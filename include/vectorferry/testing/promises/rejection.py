"""Rows that a store cannot hold are refused one by one, and the others of the batch are kept."""

import numpy as np
import pytest

from vectorferry.core.errors import RecordError, Refused
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_kept_or_refused, put
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, float32_sparse, new_name, random_vectors, records


class RejectionContract(StoreFixtures):
    """What `upsert` refuses, and what it says of it."""

    def test_sparse_vectors_are_kept_or_refused(self, store: VectorStore) -> None:
        sparse = [
            {"indices": [0, 5, 4_000_000_000], "values": [0.25, -1.5, 1e-3]},
            None,
            {"indices": [9, 3], "values": [1.0, 1 / 3]},
        ]
        result = assert_kept_or_refused(store, records(new_name(), ["a", "b", "c"], sparse=float32_sparse(sparse)))
        rejected = [item.id for item in result.rejected]
        assert rejected == ([] if store.capabilities.sparse else ["a", "c"])

    def test_records_without_a_dense_vector_are_kept_or_refused(self, store: VectorStore) -> None:
        sparse = [None, {"indices": [1], "values": [1.0]}] if store.capabilities.sparse else None
        batch = records(new_name(), ["a", "b"], sparse=sparse, missing=np.array([False, True]))
        result = assert_kept_or_refused(store, batch)
        assert [item.id for item in result.rejected] == ([] if store.capabilities.vectorless else ["b"])

    def test_zero_vectors_are_kept_or_refused(self, make_store: MakeStore) -> None:
        for metric in sorted(make_store(create=False).capabilities.metrics):
            store = make_store(metric=metric)
            vectors = random_vectors(2)
            vectors[1] = 0.0
            result = assert_kept_or_refused(store, records(new_name(), ["a", "b"], vectors))
            assert [item.id for item in result.rejected] == ([] if store.capabilities.zero_vectors else ["b"])

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_vectors_that_are_not_finite_are_refused_before_sending(self, store: VectorStore, bad: float) -> None:
        namespace, vectors = new_name(), random_vectors(3)
        vectors[1, 2] = bad
        with pytest.raises(RecordError, match="'b'"):
            store.upsert(records(namespace, ["a", "b", "c"], vectors))
        assert len(store.fetch(namespace, ["a", "b", "c"])) == 0

    def test_a_key_that_occurs_twice_in_a_batch_is_refused(self, store: VectorStore) -> None:
        namespace = new_name()
        with pytest.raises(RecordError, match="'a'"):
            store.upsert(records(namespace, ["a", "b", "a"]))
        assert len(store.fetch(namespace, ["a", "b"])) == 0

    @pytest.mark.parametrize("dimension", [1, DIMENSION - 1, DIMENSION + 1])
    def test_a_wrong_dimension_is_never_passed_over(self, store: VectorStore, dimension: int) -> None:
        namespace = new_name()
        try:
            result = put(store, records(namespace, ["a", "b"], random_vectors(2, dimension)))
        except Refused:
            pass
        else:
            assert len(result.rejected) == 2
        assert len(store.fetch(namespace, ["a", "b"])) == 0
