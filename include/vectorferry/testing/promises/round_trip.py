"""Records come back as they were written, bit for bit where no gap is declared."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.model import WriteResult
from vectorferry.core.records import make_batch
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, assert_kept_or_refused, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import (
    DIMENSION,
    FIELDS,
    ODD_METADATA,
    QUICK,
    TEXT,
    is_supported,
    metadata_values,
    new_name,
    random_vectors,
    records,
)


class RoundTripContract(StoreFixtures):
    """`upsert`, then `fetch`."""

    def test_vectors_come_back_bit_for_bit(self, store: VectorStore) -> None:
        vectors = random_vectors(6)
        vectors[1] = [-0.0, 1.0, -0.0, 0.0, 1e-45, -1e-45, 1.1754942e-38, 1e-38]
        vectors[2, 1:] = np.float32(1e-30)
        vectors[3] = [1 / 3, 0.1, 1e-7, 16777217.0, -2.5, 3e5, 7.0, 1.0]
        vectors[4] = np.nextafter(np.float32(1), np.float32(2))
        batch = records(new_name(), [f"v{row}" for row in range(6)], vectors)
        put_all(store, batch)
        assert_holds(store, batch)

    def test_large_components_come_back_or_are_refused(self, store: VectorStore) -> None:
        vectors = np.full((3, DIMENSION), 1.0, np.float32)
        vectors[1], vectors[2] = 1e30, np.finfo(np.float32).max
        assert_kept_or_refused(store, records(new_name(), ["a", "b", "c"], vectors))

    @QUICK
    @given(data=st.data())
    def test_metadata_comes_back_as_it_was(self, store: VectorStore, data: st.DataObject) -> None:
        entries = st.dictionaries(TEXT | st.sampled_from(sorted(FIELDS)), metadata_values(store), max_size=6)
        rows = data.draw(st.lists(entries, min_size=1, max_size=8))
        assert_kept_or_refused(store, records(new_name(), [f"m{row}" for row in range(len(rows))], metadata=rows))

    def test_odd_metadata_comes_back_unless_a_gap_is_declared(self, store: VectorStore) -> None:
        batch = records(new_name(), [f"m{row}" for row in range(len(ODD_METADATA))], metadata=ODD_METADATA)
        result = assert_kept_or_refused(store, batch)
        refused = {item.row: item.reason for item in result.rejected}
        for row, metadata in enumerate(ODD_METADATA):
            assert (row not in refused) == is_supported(store, metadata), (metadata, refused.get(row))

    def test_too_large_metadata_is_refused(self, store: VectorStore) -> None:
        limit = store.capabilities.max_metadata_bytes
        if limit is None:
            pytest.skip("no limit is declared")
        rows = [{"text": "x" * (limit // 2)}, {"text": "x" * (limit + 1)}, {}]
        result = assert_kept_or_refused(store, records(new_name(), ["a", "b", "c"], metadata=rows))
        assert [item.id for item in result.rejected] == ["b"]

    def test_metadata_of_the_largest_size_is_kept(self, store: VectorStore) -> None:
        limit = min(store.capabilities.max_metadata_bytes or 200_000, 200_000)
        batch = records(new_name(), ["a"], metadata=[{"text": "x" * (limit - 64)}])
        put_all(store, batch)
        assert_holds(store, batch)

    def test_an_upsert_replaces_the_whole_record(self, store: VectorStore) -> None:
        namespace, sparse = new_name(), store.capabilities.sparse
        values = [{"indices": [1, 7], "values": [0.5, 2.0]}] if sparse else None
        put_all(store, records(namespace, ["a"], metadata=[{"genre": "x", "year": 1, "other": "y"}], sparse=values))
        second = records(namespace, ["a"], random_vectors(1, seed=9), [{"other": "z"}])
        put_all(store, second)
        assert_holds(store, second)
        put_all(store, second)
        assert_holds(store, second)
        assert store.count(namespace) == 1 or not store.capabilities.exact_count

    def test_a_batch_may_span_namespaces(self, store: VectorStore) -> None:
        names = [new_name() for _ in range(3)]
        batch = make_batch(names * 2, ["a", "a", "a", "b", "b", "b"], random_vectors(6), ["{}"] * 6)
        put_all(store, batch)
        for row in range(3):
            assert_holds(store, batch.take(pa.array([row, row + 3])))

    def test_an_empty_batch_writes_nothing(self, store: VectorStore) -> None:
        assert store.upsert(records("n", [])) == WriteResult(0)
