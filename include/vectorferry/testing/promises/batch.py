"""Batches over the limits of a request are cut inside the store."""

from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, assert_same, eventually, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import new_name, random_vectors, records


class BatchContract(StoreFixtures):
    """`upsert` of more than one request holds."""

    def test_batches_over_the_row_limit_are_cut(self, store: VectorStore) -> None:
        rows = store.capabilities.max_batch_rows + 5
        batch = records(new_name(), [f"i{row}" for row in range(rows)], random_vectors(rows))
        put_all(store, batch)
        eventually(store, lambda: assert_same(store.count(batch.column("namespace")[0].as_py()), rows))

    def test_batches_over_the_byte_limit_are_cut(self, store: VectorStore) -> None:
        limit = store.capabilities.max_batch_bytes
        size = min((store.capabilities.max_metadata_bytes or limit) - 64, limit // 10)
        rows = limit // size + 3
        batch = records(new_name(), [f"i{row}" for row in range(rows)], metadata=[{"text": "x" * size}] * rows)
        put_all(store, batch)
        assert_holds(store, batch)
