"""Connections are shared by threads, metered, and tell a wrong key from a server that is away."""

import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from vectorferry.core.equality import Equality
from vectorferry.core.errors import Unauthorized, Unavailable
from vectorferry.core.records import comparable_rows, differences_of, parse_json
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, assert_same, eventually, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import new_name, random_vectors, records


class ConnectionContract(StoreFixtures):
    """What holds for every call."""

    def test_four_threads_write_and_read_at_once(self, store: VectorStore) -> None:
        namespace = new_name()

        def work(worker: int) -> None:
            for step in range(3):
                ids = [f"{worker}-{step}-{row}" for row in range(50)]
                batch = records(namespace, ids, random_vectors(50, seed=worker * 10 + step))
                put_all(store, batch)
                assert_holds(store, batch)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        eventually(store, lambda: assert_same(store.count(namespace), 600))

    def test_threads_may_write_the_same_ids(self, store: VectorStore) -> None:
        namespace, ids = new_name(), [f"i{row}" for row in range(100)]
        batches = [records(namespace, ids, random_vectors(100, seed=seed), [{"seed": seed}] * 100) for seed in range(4)]
        backwards = [
            batch.take(pa.array(range(99, -1, -1))) if seed % 2 else batch for seed, batch in enumerate(batches)
        ]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda batch: put_all(store, batch), backwards))
        found = comparable_rows(store.fetch(namespace, ids))
        assert len(found) == 100
        for row, record in enumerate(found):
            seed = parse_json(record["metadata"])["seed"]
            assert not differences_of(record, comparable_rows(batches[seed])[row], Equality.between(store.capabilities))

    def test_calls_are_metered(self, store: VectorStore) -> None:
        before = store.usage.requests
        store.fetch(new_name(), ["a"])
        assert store.usage.requests > before

    def test_the_version_of_the_server_is_told_in_one_line_or_not_at_all(self, store: VectorStore) -> None:
        told = store.server_version()
        assert told.strip() == told
        assert "\n" not in told
        assert not told or any(letter.isdigit() for letter in told)

    def test_a_wrong_key_is_unauthorized(self, wrong_key_store: VectorStore) -> None:
        for attempt in (wrong_key_store.describe, lambda: wrong_key_store.upsert(records("n", ["a"]))):
            with pytest.raises(Unauthorized):
                attempt()
        wrong_key_store.close()

    def test_a_server_that_is_away_is_unavailable(self, unreachable_store: VectorStore) -> None:
        began = time.monotonic()
        for attempt in (unreachable_store.describe, lambda: unreachable_store.upsert(records("n", ["a"]))):
            with pytest.raises(Unavailable):
                attempt()
        assert time.monotonic() - began < 10
        unreachable_store.close()
