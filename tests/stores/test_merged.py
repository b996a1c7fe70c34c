"""The wrapper of a target with all namespaces in one: each is shown by itself, and no record takes another one's place."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.filters import parse_filter
from vectorferry.core.mapping import Merge, Names, RecordMapping
from vectorferry.core.model import RESERVED_NAMESPACE, CollectionDefinition, FieldType, KeyOrder, KeyRange, Metric
from vectorferry.core.records import keys_of, make_batch
from vectorferry.stores.base import VectorStore
from vectorferry.stores.mapped import key_in
from vectorferry.stores.memory import MEMORY, MemoryStore
from vectorferry.stores.merged import MergedStore
from vectorferry.testing.samples import new_name

MERGE = Merge("all", "space")
MAPPING = RecordMapping(Names({"k": "kind"}), merge=MERGE)


def batch(*keys: tuple[str, str], text: str = '{"k":1}') -> pa.RecordBatch:
    names, ids = [name for name, _ in keys], [id_ for _, id_ in keys]
    return make_batch(names, ids, np.ones((len(keys), 2), np.float32), [text] * len(keys))


def opened(order: KeyOrder = KeyOrder.ID) -> MergedStore:
    native = MemoryStore(new_name("merged"), "c", capabilities=replace(MEMORY, key_order=order))
    native.create(CollectionDefinition(2, Metric.DOT, MAPPING.fields_to_target({"k": FieldType.NUMBER})))
    return MergedStore(native, MAPPING, MERGE)


@pytest.fixture
def merged() -> MergedStore:
    return opened()


def held(store: VectorStore, namespace: str) -> list[tuple[str, str]]:
    return [key for part in store.scan(KeyRange(namespace)) for key in keys_of(part)]


def test_each_namespace_is_shown_by_itself(merged):
    keys = [("a", "1"), ("b", "2"), ("", "3"), ("a", "4")]
    assert merged.upsert(batch(*keys)).acknowledged == 4
    assert merged.whole.describe().namespaces == {"all": 4}
    assert merged.describe().namespaces == {"a": 2, "b": 1, "": 1}
    assert merged.describe().fields == {"k": FieldType.NUMBER}
    assert (merged.count("a"), merged.count("c"), merged.count()) == (2, 0, 4)
    assert held(merged, "a") == [("a", "1"), ("a", "4")]
    assert merged.fetch("b", ["1", "2"]).column("id").to_pylist() == ["2"]
    assert [id_ for page in merged.list_ids(KeyRange("")) for id_ in page] == ["3"]
    assert {name: each.rows for name, each in merged.inventory(["a", "b", "c"], most=9).held.items()} == {
        "a": 2,
        "b": 1,
        "c": 0,
    }
    assert merged.matching("a", parse_filter({"k": 1}), 9) == {"1", "4"}
    assert merged.search("b", np.ones((1, 2), np.float32), 9).ids == (("2",),)


def test_a_record_is_deleted_and_changed_as_its_own_namespaces_only(merged):
    merged.upsert(batch(("a", "1")))
    merged.delete("b", ["1", "2"])
    merged.update("b", "1", metadata='{"k":2}')
    assert merged.fetch("a", ["1"]).column("metadata").to_pylist() == ['{"k":1}']
    # Found in the wrong namespace, it is put into its own, and is gone from the other one.
    merged.upsert(batch(("b", "1")))
    merged.delete("a", ["1"])
    assert (held(merged, "a"), held(merged, "b")) == ([], [("b", "1")])


def test_two_records_of_a_batch_that_would_be_one_are_rejected(merged):
    for found in (merged.rejections, lambda rows: merged.upsert(rows).rejected):
        [twice] = found(batch(("c", "7"), ("d", "7"), ("d", "8")))
        assert (twice.row, twice.namespace, twice.id) == (1, "d", "7")
        assert (
            twice.reason == "mapping.namespaces: 'c' has a record of the same id, and both are to lie in one namespace"
        )
    assert held(merged, "d") == [("d", "8")]


def test_what_others_put_elsewhere_is_shown_and_can_be_deleted(merged):
    merged.upsert(batch(("a", "1")))
    merged.whole.upsert(batch(("all", "2"), ("other", "3"), text="{}"))
    assert merged.describe().namespaces == {"a": 1, "(target) all": 1, "(target) other": 1}
    assert merged.inventory(["a"], most=9).unread == ()
    for name, id_ in (("(target) all", "2"), ("(target) other", "3")):
        assert held(merged, name) == [(name, id_)]
        merged.delete(name, [id_])
    assert merged.whole.describe().namespaces == {"all": 1}


class Lossy(MemoryStore):
    """Leaves out a record of each batch that it reads."""

    def scan(self, span: KeyRange, **how: Any) -> Iterator[pa.RecordBatch]:
        return (part.slice(1) for part in super().scan(span, **how))


def test_a_reader_that_leaves_something_out_is_found_by_the_counts_of_the_database():
    native = Lossy(new_name("lossy"), "c")
    native.create(CollectionDefinition(2, Metric.DOT))
    merged = MergedStore(native, MAPPING, MERGE)
    merged.upsert(batch(("a", "1"), ("b", "2")))
    assert merged.inventory(["b"], most=9).unread == (
        "2 records are counted in namespace 'all', and 1 could be read there",
    )


def test_keyword_search_finds_the_records_of_one_namespace_among_many_others():
    merged = MergedStore(MemoryStore(new_name("words"), "c"), MAPPING, MERGE)
    merged.create(CollectionDefinition(2, Metric.DOT, {"k": FieldType.TEXT}))
    others = [("b", f"b{n:03}") for n in range(50)]
    merged.upsert(batch(*others, ("c", "z1"), ("c", "z2"), text='{"k":"fox"}'))
    assert merged.keyword("c", "k", "fox", 2) == ("z1", "z2")
    assert merged.keyword("c", "k", "fox", 1) == ("z1",)
    assert len(merged.keyword("b", "k", "fox", 7)) == 7
    assert merged.keyword("a", "k", "fox", 7) == ()
    assert merged.whole.keyword("all", "kind", "fox", 1) == ("b000",)


def test_a_probe_lies_where_probes_lie(merged):
    merged.upsert(batch((RESERVED_NAMESPACE, "p"), text="{}"))
    assert merged.whole.count(RESERVED_NAMESPACE) == merged.count(RESERVED_NAMESPACE) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "all", ""]), st.integers(0, 30).map(str)), unique_by=lambda key: key[1]
    ),
    st.sampled_from([KeyOrder.ID, KeyOrder.UUID]),
    st.integers(0, 30),
)
def test_reading_goes_on_after_any_record(keys, order, at):
    store = opened(order)
    if keys:
        assert not store.upsert(batch(*keys)).rejected
    for name in ("a", "b", "all", ""):
        found = held(store, name)
        assert sorted(found) == sorted(key for key in keys if key[0] == name)
        if at < len(found):
            rest = store.scan(KeyRange(name, key_in(store, *found[at])))
            assert [key for part in rest for key in keys_of(part)] == found[at:]
