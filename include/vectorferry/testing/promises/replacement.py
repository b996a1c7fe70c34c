"""A put replaces a record as a whole: nothing of the old one is left to readers, filters or searches, and none sees half of each."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import numpy as np
import pyarrow as pa
import pytest

from vectorferry.core.equality import Equality
from vectorferry.core.filters import Filter, parse_filter
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, eventually, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import DIMENSION, FIELDS, new_name, random_vectors, records

_FULL = {"genre": "old", "year": 1, "good": True, "tags": ["old"], "other": "old"}


class ReplacementContract(StoreFixtures):
    """`upsert` of what is there: `merging_upserts`."""

    def test_filters_find_nothing_of_a_record_that_was_replaced(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b"], metadata=[_FULL, _FULL]))
        new = records(namespace, ["a"], metadata=[{"year": 2}])
        put_all(store, new)
        assert_holds(store, new)
        for name in FIELDS:
            where = parse_filter({name: {"$in": ["old"]} if name in ("genre", "tags") else _FULL[name]})
            eventually(store, partial(_assert_matched, store, namespace, where))

    def test_a_record_without_a_vector_takes_the_place_of_one_with_a_vector(self, store: VectorStore) -> None:
        if not store.capabilities.vectorless:
            pytest.skip("each record has a vector, as declared")
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b"], metadata=[_FULL, {}]))
        bare = records(namespace, ["a"], metadata=[{}], missing=np.array([True]))
        put_all(store, bare)
        assert_holds(store, bare)
        found = store.search(namespace, np.ones((1, DIMENSION), np.float32), 10)
        assert "a" not in found.ids[0]

    def test_readers_see_one_record_or_the_other(self, store: VectorStore) -> None:
        """Never half of each. None is seen for a moment where a database replaces by deleting, as Weaviate does in its index of ids."""
        namespace = new_name()
        first = records(namespace, ["a"], metadata=[_FULL])
        second = records(namespace, ["a"], random_vectors(1, seed=9), [{"year": 2}])
        put_all(store, first)
        assert_holds(store, first)
        done = Event()

        def read() -> list[pa.RecordBatch]:
            seen = []
            while not done.is_set():
                seen.append(store.fetch(namespace, ["a"]))
            return seen

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            try:
                for _ in range(10):
                    put_all(store, second)
                    put_all(store, first)
            finally:
                done.set()
            seen = reading.result()
        equality = Equality.between(store.capabilities)
        states = [comparable_rows(state)[0] for state in (first, second)]
        for row in (row for batch in seen for row in comparable_rows(batch)):
            assert any(not differences_of(row, state, equality) for state in states), row


def _assert_matched(store: VectorStore, namespace: str, where: Filter) -> None:
    assert store.matching(namespace, where, 10) == {"b"}
