"""Updates change a part of a record in the database, and keep the rest."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from vectorferry.core.errors import NotFound, RecordError, Refused, Unsupported
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import MetadataKind
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_best_first, assert_holds, eventually, put_all, wait_for_index
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, new_name, random_vectors, records

BEFORE = {"genre": "x", "year": 1, "tags": ["a"], "other": "y"}


class UpdateContract(StoreFixtures):
    """`update`."""

    @pytest.fixture
    def merging(self, store: VectorStore) -> VectorStore:
        """The shared store, if it merges metadata."""
        if not store.capabilities.merges_metadata:
            pytest.skip("metadata is not merged, as declared")
        return store

    def test_an_update_of_the_vector_keeps_the_rest(self, store: VectorStore) -> None:
        namespace, sparse = new_name(), store.capabilities.sparse
        values = [{"indices": [1, 7], "values": [0.5, 2.0]}, None] if sparse else None
        put_all(store, records(namespace, ["a", "b"], metadata=[BEFORE, {}], sparse=values))
        new = np.vstack([random_vectors(1, seed=9), random_vectors(2)[1:]])
        for _ in range(2):
            store.update(namespace, "a", vector=new[0])
            assert_holds(store, records(namespace, ["a", "b"], new, [BEFORE, {}], values))

    def test_an_updated_vector_is_found(self, store: VectorStore) -> None:
        namespace, vectors = new_name(), np.eye(3, DIMENSION, dtype=np.float32)
        put_all(store, records(namespace, ["a", "b"], vectors[:2]))
        wait_for_index(store, namespace, 2)
        store.update(namespace, "a", vector=vectors[2])

        def found() -> None:
            nearest = store.search(namespace, vectors[2:], 2)
            assert nearest.ids[0][0] == "a"
            assert_best_first(nearest)

        eventually(store, found)

    @pytest.mark.parametrize(
        "patch",
        [
            {"year": 2},
            {"year": "now text", "new": 0.1, "ключ": True},
            {"genre": "", "tags": [], "other": "z"},
            {"year": 3.0, "tags": ["b", "a"], "genre": " x "},
        ],
    )
    def test_metadata_is_merged_key_by_key(self, merging: VectorStore, patch: Mapping[str, Any]) -> None:
        namespace = new_name()
        put_all(merging, records(namespace, ["a", "b"], metadata=[BEFORE, BEFORE]))
        for _ in range(2):
            merging.update(namespace, "a", metadata=canonical_json(patch))
            assert_holds(merging, records(namespace, ["a", "b"], metadata=[{**BEFORE, **patch}, BEFORE]))

    def test_a_null_is_a_value_like_any_other(self, merging: VectorStore) -> None:
        if MetadataKind.NULL not in merging.capabilities.metadata_kinds:
            pytest.skip("null is not held, as declared")
        namespace, patch = new_name(), {"other": None, "new": None}
        put_all(merging, records(namespace, ["a"], metadata=[BEFORE]))
        merging.update(namespace, "a", metadata=canonical_json(patch))
        assert_holds(merging, records(namespace, ["a"], metadata=[{**BEFORE, **patch}]))

    def test_vector_and_metadata_change_at_once(self, merging: VectorStore) -> None:
        namespace, vector = new_name(), random_vectors(1, seed=5)
        put_all(merging, records(namespace, ["a"], metadata=[BEFORE]))
        merging.update(namespace, "a", vector=vector[0], metadata='{"year":7}')
        assert_holds(merging, records(namespace, ["a"], vector, [{**BEFORE, "year": 7}]))

    def test_filters_see_merged_metadata(self, merging: VectorStore) -> None:
        namespace = new_name()
        put_all(merging, records(namespace, ["a", "b"], metadata=[BEFORE, BEFORE]))
        merging.update(namespace, "a", metadata='{"genre":"new"}')
        for genre, ids in (("new", {"a"}), ("x", {"b"})):
            where = parse_filter({"genre": genre})

            def matched(where: Any = where, ids: set[str] = ids) -> None:
                assert merging.matching(namespace, where, 10) == ids

            eventually(merging, matched)

    def test_updates_of_different_keys_at_once_lose_none(self, merging: VectorStore) -> None:
        namespace = new_name()
        put_all(merging, records(namespace, ["a"], metadata=[{"start": 1}]))

        def bump(key: int) -> None:
            for value in range(5):
                merging.update(namespace, "a", metadata=canonical_json({f"k{key}": value}))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bump, range(4)))
        assert_holds(merging, records(namespace, ["a"], metadata=[{"start": 1, **{f"k{n}": 4 for n in range(4)}}]))

    def test_an_update_of_what_is_not_there_makes_nothing(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a"]))
        store.update(namespace, "b", vector=random_vectors(1)[0])
        store.update(new_name(), "b", vector=random_vectors(1)[0])
        if store.capabilities.merges_metadata:
            store.update(namespace, "b", metadata='{"year":1}')
        assert_holds(store, records(namespace, ["a"]))
        assert len(store.fetch(namespace, ["b"])) == 0

    def test_an_update_of_nothing_changes_nothing(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a"], metadata=[BEFORE]))
        store.update(namespace, "a")
        assert_holds(store, records(namespace, ["a"], metadata=[BEFORE]))

    def test_what_cannot_be_held_is_refused_and_changes_nothing(self, store: VectorStore) -> None:
        namespace, capabilities = new_name(), store.capabilities
        put_all(store, records(namespace, ["a"], metadata=[BEFORE]))
        with pytest.raises(Refused):
            store.update(namespace, "a", vector=random_vectors(1, DIMENSION + 1)[0])
        with pytest.raises(RecordError):
            store.update(namespace, "a", vector=np.full(DIMENSION, np.nan, np.float32))
        if not capabilities.zero_vectors:
            with pytest.raises(Refused):
                store.update(namespace, "a", vector=np.zeros(DIMENSION, np.float32))
        if not capabilities.merges_metadata:
            with pytest.raises(Unsupported, match="write the whole record"):
                store.update(namespace, "a", metadata='{"year":1}')
        elif capabilities.max_metadata_bytes is not None:
            with pytest.raises(Refused):
                store.update(namespace, "a", metadata='{"n":null}')
            with pytest.raises(Refused):
                store.update(namespace, "a", metadata=canonical_json({"n": "x" * capabilities.max_metadata_bytes}))
        assert_holds(store, records(namespace, ["a"], metadata=[BEFORE]))
        assert parse_json(store.fetch(namespace, ["a"]).column("metadata")[0].as_py()) == BEFORE

    def test_an_update_in_a_missing_collection_is_not_found(self, make_store: MakeStore) -> None:
        with pytest.raises(NotFound):
            make_store(create=False).update("n", "a", vector=random_vectors(1)[0])
