"""Collections are created, described and dropped as the protocol says."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from vectorferry.core.errors import AlreadyExists, NotFound, Refused, Unsupported
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_same, eventually, put_all
from vectorferry.testing.fixtures import MakeStore, StoreFixtures
from vectorferry.testing.samples import DIMENSION, FIELDS, new_name, random_vectors, records


def assert_refused_as_told(store: VectorStore, definition: CollectionDefinition) -> None:
    """What `obstacles` tells is why `create` refuses, and nothing was made."""
    told = store.obstacles(definition)
    assert told
    with pytest.raises((Refused, Unsupported)) as refused:
        store.create(definition)
    assert all(reason in str(refused.value) for reason in told)
    with pytest.raises(NotFound):
        store.describe()


class CollectionContract(StoreFixtures):
    """`create`, `describe`, `drop`, `count`, markers and aliases."""

    def test_a_marker_is_kept_beside_the_collection_and_goes_with_it(self, make_store: MakeStore) -> None:
        store = make_store()
        if not store.capabilities.markers:
            with pytest.raises(Unsupported):
                store.marker("m")
            with pytest.raises(Unsupported):
                store.keep_marker("m", "1")
            return
        before, text = store.describe(), "0b8f7c36-7b8f-4b56-9d0c-1f2e3d4c5b6a 12 9000000000000000000 " + "x" * 50
        assert store.marker("m") is None
        for name, kept in (("m", "1"), ("other-m_2", text), ("m", text)):
            store.keep_marker(name, kept)
        assert (store.marker("m"), store.marker("other-m_2"), store.marker("other")) == (text, text, None)
        assert store.describe() == before
        assert store.count() == 0
        store.keep_marker("m", None)
        store.keep_marker("m", None)
        assert (store.marker("m"), store.marker("other-m_2")) == (None, text)
        store.drop()
        assert store.marker("other-m_2") is None
        with pytest.raises(NotFound):
            store.keep_marker("m", text)
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE))
        assert store.marker("other-m_2") is None

    def test_describes_what_was_created(self, make_store: MakeStore) -> None:
        store = make_store(
            metric=Metric.EUCLIDEAN if Metric.EUCLIDEAN in make_store().capabilities.metrics else Metric.COSINE
        )
        info = store.describe()
        assert (info.dimension, info.rows, dict(info.namespaces)) == (DIMENSION, 0, {})
        assert info.metric in store.capabilities.metrics
        assert store.capabilities.product in store.name

    def test_namespaces_without_records_are_kept_or_said_not_to_be(self, store: VectorStore) -> None:
        lonely, later = new_name("lonely"), new_name("later")
        left = {*store.make_namespaces([lonely, later])}

        def assert_there(empty: set[str], filled: dict[str, int]) -> None:
            assert {*store.empty_namespaces()} & {lonely, later} == empty - left
            counts = store.describe().namespaces
            assert {name: counts[name] for name in (lonely, later) if name in counts} == filled

        eventually(store, lambda: assert_there({lonely, later}, {}))
        assert {*store.make_namespaces([lonely, later])} == left
        put_all(store, records(later, ["a"]))
        assert {*store.make_namespaces([lonely, later])} == left
        eventually(store, lambda: assert_there({lonely}, {later: 1}))

    def test_keeps_the_declared_fields(self, store: VectorStore) -> None:
        fields = store.describe().fields  # and those that records brought along, where a store makes fields of them
        assert FIELDS.items() <= fields.items() if fields else not store.capabilities.typed_fields

    def test_what_it_tells_of_a_collection_makes_the_same_again(
        self, store: VectorStore, make_store: MakeStore
    ) -> None:
        told, again = store.describe(), make_store(create=False)
        assert told.dimension is not None
        again.create(
            CollectionDefinition(told.dimension, told.metric, told.fields, told.index, field_options=told.field_options)
        )
        assert replace(again.describe(), name=told.name, namespaces=told.namespaces) == told

    def test_a_collection_that_is_there_is_not_created_again(self, store: VectorStore) -> None:
        with pytest.raises(AlreadyExists):
            store.create(CollectionDefinition(DIMENSION, Metric.COSINE))

    def test_a_missing_collection_is_not_found(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        attempts: Sequence[Callable[[], object]] = (
            store.describe,
            store.count,
            lambda: store.fetch("n", ["a"]),
            lambda: store.upsert(records("n", ["a"])),
            lambda: list(store.list_ids(KeyRange("n"))),
            lambda: list(store.scan(KeyRange("n"))),
            lambda: store.search("n", random_vectors(1), 1),
        )
        for attempt in attempts:
            with pytest.raises(NotFound):
                attempt()

    def test_drop_is_idempotent(self, make_store: MakeStore) -> None:
        store = make_store()
        put_all(store, records("n", ["a"]))
        store.drop()
        store.drop()
        with pytest.raises(NotFound):
            store.describe()
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE))
        assert store.count() == 0

    def test_unknown_metrics_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        for metric in set(Metric) - store.capabilities.metrics:
            with pytest.raises(Unsupported, match=metric):
                store.create(CollectionDefinition(DIMENSION, metric))

    def test_too_many_dimensions_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        with pytest.raises((Refused, Unsupported)):
            store.create(CollectionDefinition(store.capabilities.max_dimension + 1, Metric.COSINE))

    def test_what_stands_in_the_way_is_told_and_refused_in_the_same_words(self, make_store: MakeStore) -> None:
        store = make_store(create=False)
        good = CollectionDefinition(DIMENSION, Metric.COSINE, FIELDS)
        bad = (
            replace(good, index={"no such setting": 1}),
            replace(good, dimension=store.capabilities.max_dimension + 1),
        )
        for definition in bad:
            assert_refused_as_told(store, definition)
        assert list(store.obstacles()) == list(store.obstacles(good)) == []
        store.create(good)
        assert list(store.obstacles(good)) == []

    def test_a_name_that_cannot_be_is_told_and_refused_in_the_same_words(self, misnamed_store: VectorStore) -> None:
        assert_refused_as_told(misnamed_store, CollectionDefinition(DIMENSION, Metric.COSINE))
        misnamed_store.close()

    def test_describe_counts_namespaces(self, make_store: MakeStore) -> None:
        store = make_store()
        for number, namespace in enumerate(("", "one", "with space"), 1):
            put_all(store, records(namespace, [f"i{row}" for row in range(number)]))
        expected = {"": 1, "one": 2, "with space": 3}
        eventually(store, lambda: assert_same(dict(store.describe().namespaces), expected))
        eventually(store, lambda: assert_same(store.count(), 6))
        store.delete("one", ["i0", "i1"])
        eventually(store, lambda: assert_same(store.count(), 4))
        eventually(store, lambda: assert_same(store.describe().namespaces.get("one", 0), 0))

    def test_an_alias_points_to_one_collection(self, make_store: MakeStore) -> None:
        first, second = make_store(), make_store()
        if not first.capabilities.aliases:
            with pytest.raises(Unsupported):
                first.point_alias(new_name("Alias"))
            with pytest.raises(Unsupported):
                first.alias_target(new_name("Alias"))
            with pytest.raises(Unsupported):
                first.refuse_alias(new_name("Alias"))
            return
        alias = new_name("Alias")
        first.refuse_alias(alias)
        with pytest.raises(Refused, match="is the name of"):
            first.refuse_alias(second.describe().name)
        assert first.alias_target(alias) is None
        first.point_alias(alias)
        target = second.alias_target(alias)
        second.point_alias(alias)
        assert first.alias_target(alias) not in (None, target)
