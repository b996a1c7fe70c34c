"""A key stands for one record; where the database itself holds nobody to that, a doubled one is told and never read."""

import pytest

from vectorferry.core.errors import RecordError
from vectorferry.core.model import KeyRange
from vectorferry.core.records import comparable_rows
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, assert_same, eventually, put, put_all
from vectorferry.testing.fixtures import PlantDuplicate, StoreFixtures
from vectorferry.testing.samples import ids_of, new_name, random_vectors, records


class UniqueKeyContract(StoreFixtures):
    """`unique_keys`."""

    @pytest.fixture
    def loose(self, store: VectorStore, request: pytest.FixtureRequest) -> tuple[VectorStore, str]:
        """The shared store, if its database may hold a key twice, and a namespace of it with a, b, c, of which b is there twice."""
        if store.capabilities.unique_keys:
            pytest.skip("keys are unique, as declared")
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b", "c"]))
        plant_duplicate: PlantDuplicate = request.getfixturevalue("plant_duplicate")
        plant_duplicate(store, namespace, "b")
        return store, namespace

    def test_a_key_that_is_put_again_stands_for_one_record(self, store: VectorStore) -> None:
        namespace = new_name()
        put_all(store, records(namespace, ["a", "b"]))
        second = records(namespace, ["b", "a"], random_vectors(2, seed=9))
        put_all(store, second)
        assert_holds(store, second)

        def once() -> None:
            listed = [id_ for page in store.list_ids(KeyRange(namespace)) for id_ in page]
            assert sorted(listed) == sorted(ids_of(list(store.scan(KeyRange(namespace))))) == ["a", "b"]
            assert store.inventory([namespace], most=10).rows == 2

        eventually(store, once)

    def test_a_doubled_key_is_told_by_its_name(self, loose: tuple[VectorStore, str]) -> None:
        store, namespace = loose
        eventually(store, lambda: _assert_told(store, namespace, "'b'"))

    @pytest.mark.parametrize("batch_rows", [1, 2, 1000])
    def test_a_scan_that_meets_a_doubled_key_ends_with_its_name(
        self, loose: tuple[VectorStore, str], batch_rows: int
    ) -> None:
        store, namespace = loose
        eventually(store, lambda: _assert_told(store, namespace, "'b'"))
        with pytest.raises(RecordError, match="b"):
            list(store.scan(KeyRange(namespace), batch_rows=batch_rows))

    def test_a_doubled_key_is_not_fetched_and_keeps_no_other_from_it(self, loose: tuple[VectorStore, str]) -> None:
        store, namespace = loose
        eventually(store, lambda: _assert_told(store, namespace, "'b'"))
        with pytest.raises(RecordError, match="b"):
            store.fetch(namespace, ["a", "b"])
        assert ids_of(store.fetch(namespace, ["a", "c"])) == ["a", "c"]

    def test_a_put_of_a_doubled_key_leaves_one_or_is_rejected(self, loose: tuple[VectorStore, str]) -> None:
        store, namespace = loose
        new = records(namespace, ["b"], random_vectors(1, seed=9))
        if put(store, new).rejected:
            _assert_told(store, namespace, "'b'")
        else:
            assert_holds(store, new)
            eventually(store, lambda: _assert_told(store, namespace, ""))

    def test_a_deletion_takes_all_that_have_the_key(self, loose: tuple[VectorStore, str]) -> None:
        store, namespace = loose
        store.delete(namespace, ["b"])
        eventually(store, lambda: _assert_told(store, namespace, ""))
        found = [row["id"] for batch in store.scan(KeyRange(namespace)) for row in comparable_rows(batch)]
        assert sorted(found) == ["a", "c"]
        eventually(store, lambda: assert_same(store.count(namespace), 2))


def _assert_told(store: VectorStore, namespace: str, words: str) -> None:
    """What the inventory says is unread has these words; nothing is, where there are none."""
    told = store.inventory([namespace], most=10_000).unread
    assert len(told) == bool(words) and words in "".join(told), told
