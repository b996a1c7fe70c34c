"""Change tokens never stand for two contents of a namespace, where the store gives any."""

from collections.abc import Callable, Mapping

import pytest

from vectorferry.core.errors import NotFound
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.core.records import canonical_json
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import put_all
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, new_name, random_vectors, records


def _merge_metadata(store: VectorStore, namespace: str) -> None:
    if not store.capabilities.merges_metadata:
        pytest.skip("metadata is not merged, as declared")
    store.update(namespace, "a", metadata=canonical_json({"k": 2}))


def _replace_id(store: VectorStore, namespace: str) -> None:
    store.delete(namespace, ["b"])
    put_all(store, records(namespace, ["c"]))


_CHANGES: Mapping[str, Callable[[VectorStore, str], object]] = {
    "another id": lambda store, name: put_all(store, records(name, ["c"])),
    "another vector": lambda store, name: put_all(store, records(name, ["a"], random_vectors(1, seed=9))),
    "other metadata": lambda store, name: put_all(store, records(name, ["a"], metadata=[{"k": 2}])),
    "an updated vector": lambda store, name: store.update(name, "a", vector=random_vectors(1, seed=9)[0]),
    "updated metadata": _merge_metadata,
    "a deleted id": lambda store, name: store.delete(name, ["b"]),
    "no id left": lambda store, name: store.delete(name, ["a", "b"]),
    "other ids": _replace_id,
    "swapped vectors": lambda store, name: put_all(store, records(name, ["b", "a"])),
}


class ChangeTokenContract(StoreFixtures):
    """`change_token`."""

    @pytest.fixture
    def telling(self, store: VectorStore) -> VectorStore:
        """The shared store, if it gives change tokens."""
        if store.change_token("nothing") is None:
            assert store.change_token("") is None
            pytest.skip("the database does not tell what changed")
        return store

    @pytest.mark.parametrize("change", _CHANGES.values(), ids=list(_CHANGES))
    def test_each_change_changes_the_token(
        self, telling: VectorStore, change: Callable[[VectorStore, str], object]
    ) -> None:
        namespace, other = new_name(), new_name()
        tokens = [telling.change_token(namespace)]
        put_all(telling, records(namespace, ["a", "b"], metadata=[{"k": 1}, {}]))
        tokens.append(telling.change_token(namespace))
        put_all(telling, records(other, ["a", "b"]))
        assert telling.change_token(namespace) == tokens[-1]
        change(telling, namespace)
        assert telling.change_token(namespace) != tokens[-1] != tokens[0]
        assert telling.change_token(namespace) == telling.change_token(namespace)

    def test_what_was_deleted_and_put_again_is_a_change(self, telling: VectorStore) -> None:
        namespace = new_name()
        seen: set[str | None] = set()
        for _ in range(3):
            put_all(telling, records(namespace, ["a"]))
            seen.add(telling.change_token(namespace))
            telling.delete(namespace, ["a"])
        assert len(seen) == 3

    def test_a_collection_made_anew_has_other_tokens(self, make_store: MakeStore, telling: VectorStore) -> None:
        del telling
        store = make_store()
        definition = CollectionDefinition(DIMENSION, Metric.COSINE)
        seen: set[str | None] = set()
        for _ in range(2):
            put_all(store, records("n", ["a"]))
            seen |= {store.change_token("n"), store.change_token("empty")}
            store.drop()
            with pytest.raises(NotFound):
                store.change_token("n")
            store.create(definition)
        assert len(seen) == 4
