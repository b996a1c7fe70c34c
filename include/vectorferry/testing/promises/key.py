"""Ids and namespaces of every spelling are told apart, or refused."""

import pytest

from vectorferry.core.model import KeyRange, Neighbours
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, assert_kept_or_refused, assert_same, eventually, put_all
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import ids_of, new_name, random_vectors, records


class KeyContract(StoreFixtures):
    """The keys of records: (namespace, id)."""

    ODD_IDS = (
        "plain", "Plain", "with space", " edge ", "a/b", "a?b#c", "%2F", "..", "'quoted'", '"', "a,b", "back\\slash",
        "[x]", "{y}", "-1", "0", "null", "new\nline", "é", "e\u0301", "日本", "\U0001f680", "\x7f", "\x00nul", "tab\t",
    )  # fmt: skip

    def test_odd_ids_are_told_apart_or_refused(self, store: VectorStore) -> None:
        result = assert_kept_or_refused(store, records(new_name(), self.ODD_IDS))
        for item in result.rejected:
            assert item.id == "\x00nul" or (store.capabilities.ascii_ids and not item.id.isascii()), item

    def test_long_ids_survive_a_fetch_of_many(self, store: VectorStore) -> None:
        length = min(store.capabilities.max_id_bytes or 600, 600)
        ids = [f"{row:04}".rjust(length, "x") for row in range(300)]
        batch = records(new_name(), ids, random_vectors(300))
        put_all(store, batch)
        assert_holds(store, batch)

    def test_ids_that_are_too_long_are_refused(self, store: VectorStore) -> None:
        limit = store.capabilities.max_id_bytes
        if limit is None:
            pytest.skip("no limit is declared")
        result = assert_kept_or_refused(store, records(new_name(), ["x" * limit, "y" * (limit + 1), "z"]))
        assert [item.id[0] for item in result.rejected] == ["y"]

    def test_namespaces_are_kept_apart(self, make_store: MakeStore) -> None:
        store = make_store()
        names = [
            "",
            "plain",
            "Plain",
            "with.dot",
            "a/b",
            "a b",
            "a_b",
            "vf_x",
            "x" * 100,
            "default",
            "0",
            "ünï",
            "日本",
        ]
        names = [name for name in names if self._fits_namespace(store, name)]
        for number, name in enumerate(names):
            put_all(store, records(name, ["same"], random_vectors(1, seed=number), [{"number": number}]))
        for number, name in enumerate(names):
            assert_holds(store, records(name, ["same"], random_vectors(1, seed=number), [{"number": number}]))
            assert [list(page) for page in store.list_ids(KeyRange(name))] == [["same"]]
        eventually(store, lambda: assert_same(dict(store.describe().namespaces), dict.fromkeys(names, 1)))
        store.delete(names[0], ["same"])
        eventually(store, lambda: assert_same(len(store.fetch(names[0], ["same"])), 0))
        eventually(store, lambda: assert_same(len(store.fetch(names[1], ["same"])), 1))

    def _fits_namespace(self, store: VectorStore, name: str) -> bool:
        capabilities = store.capabilities
        short = len(name.encode()) <= (capabilities.max_namespace_bytes or 1 << 20)
        return short and (name.isascii() or not capabilities.ascii_namespaces)

    def test_an_unknown_namespace_is_empty(self, store: VectorStore) -> None:
        name = new_name("unknown")
        assert store.count(name) == 0
        assert list(store.list_ids(KeyRange(name))) in ([], [[]])
        assert ids_of(list(store.scan(KeyRange(name)))) == []
        assert len(store.fetch(name, ["a"])) == 0
        assert store.search(name, random_vectors(2), 3) == Neighbours(((), ()), ((), ()))
        assert [(span.start, span.end) for span in store.split(name, 10)] == [(None, None)]
        store.delete(name, ["a"])
