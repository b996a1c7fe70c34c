"""A source as a migration reads it: what stays behind is in no record, is counted, and nothing writes over it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import FilterError, Refused
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import CollectionDefinition, FieldType, KeyRange, Metric
from vectorferry.core.records import canonical_json, make_batch, parse_json
from vectorferry.stores.as_moved import AsMoved, StaysBehind, counting_anew, left_behind
from vectorferry.stores.memory import MemoryStore
from vectorferry.testing.samples import new_name

KEYS = st.sampled_from(["a", "b", "c", ""])


def filled(rows: list[dict]) -> MemoryStore:
    store = MemoryStore(new_name("source"), "c")
    store.create(CollectionDefinition(2, Metric.DOT, {"a": FieldType.NUMBER, "c": FieldType.NUMBER}))
    if rows:
        ids, texts = [f"i{n}" for n in range(len(rows))], [canonical_json(row) for row in rows]
        store.upsert(make_batch("n", ids, np.ones((len(rows), 2), np.float32), texts))
    return store


@given(st.lists(st.dictionaries(KEYS, st.integers(0, 9)), max_size=6), st.frozensets(KEYS, min_size=1))
def test_each_value_is_in_what_is_read_or_counted_as_left(rows, keys):
    store = AsMoved(filled(rows), StaysBehind(keys=keys))
    read = [parse_json(text) for batch in store.scan(KeyRange("n")) for text in batch.column("metadata").to_pylist()]
    assert read == [{key: value for key, value in row.items() if key not in keys} for row in rows]
    counts = Counter(key for row in rows for key in row if key in keys)
    assert store.left.keys == {key: counts[key] for key in sorted(keys)}


def test_what_is_left_is_counted_anew_by_whoever_wants_to_know():
    store = AsMoved(filled([{"a": 1}, {"b": 1}]), StaysBehind(keys=frozenset({"a"})))
    store.fetch("n", ["i0", "i1"])
    again = counting_anew(store)
    assert left_behind(again).keys == {"a": 0}
    again.fetch("n", ["i0"])
    assert (left_behind(store).keys, left_behind(again).keys) == ({"a": 1}, {"a": 1})
    assert left_behind(store.whole) is None


def test_nothing_is_written_over_a_record_that_has_more():
    store = AsMoved(filled([{"a": 1, "b": 2}]), StaysBehind(keys=frozenset({"a"})))
    read = store.fetch("n", ["i0"])
    assert read.column("metadata").to_pylist() == ['{"b":2}']
    [rejected] = store.upsert(read).rejected
    assert rejected.reason.startswith("metadata (`mapping.drop`: a) was left behind")
    with pytest.raises(Refused, match="left behind"):
        store.update("n", "i0", metadata="{}")
    assert parse_json(store.whole.fetch("n", ["i0"]).column("metadata")[0].as_py()) == {"a": 1, "b": 2}


def test_nobody_filters_by_what_stays_behind():
    store = AsMoved(filled([{"a": 1}]), StaysBehind(keys=frozenset({"a"})))
    assert store.describe().fields == {"c": FieldType.NUMBER}
    for ask in (
        lambda where: store.matching("n", where, 10),
        lambda where: store.search("n", np.ones((1, 2), np.float32), 1, where=where),
    ):
        with pytest.raises(FilterError, match="'a' stays behind"):
            ask(parse_filter({"$or": [{"c": 1}, {"a": 1}]}))


def test_a_change_token_vouches_for_what_is_moved_only():
    store = filled([{"a": 1}])
    some, more = (AsMoved(store, StaysBehind(keys=frozenset(keys))) for keys in ("a", "ab"))
    assert len({each.change_token("n") for each in (store, some, more)}) == 3
