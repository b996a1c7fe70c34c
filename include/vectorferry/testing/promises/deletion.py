"""Deletions by id are idempotent and take any number of ids."""

from vectorferry.core.model import KeyRange
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_same, eventually, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import ids_of, new_name, random_vectors, records


class DeletionContract(StoreFixtures):
    """`delete`."""

    def test_delete_is_idempotent(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b", "c"]))
        store.delete(namespace, ["a", "missing", "c"])
        store.delete(namespace, ["a", "c"])
        store.delete(namespace, [])
        eventually(store, lambda: assert_same(ids_of(store.fetch(namespace, ["a", "b", "c"])), ["b"]))
        eventually(store, lambda: assert_same(store.count(namespace), 1))

    def test_more_than_ten_thousand_rows_are_deleted(self, store: VectorStore) -> None:
        namespace, rows = new_name(), 10_050
        ids = [f"d{row:05}" for row in range(rows)]
        put_all(store, records(namespace, ids, random_vectors(rows)))
        store.delete(namespace, ids[:-3])
        eventually(store, lambda: assert_same(store.count(namespace), 3))
        assert sorted(id_ for page in store.list_ids(KeyRange(namespace)) for id_ in page) == ids[-3:]
