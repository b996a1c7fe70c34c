"""Mappings: what is carried comes back as it was, and nothing that other hands wrote in the target looks like it."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import matches, parse_filter
from vectorferry.core.mapping import CASTS, OUTSIDE, Merge, Names, RecordMapping, closed, exchanged, is_date
from vectorferry.core.model import (
    RESERVED_NAMESPACE,
    CollectionDefinition,
    CollectionInfo,
    Difference,
    DifferenceKind,
    FieldType,
    Metric,
    VectorKind,
    VectorSpec,
)
from vectorferry.core.records import canonical_json, fingerprints, make_batch, parse_json
from vectorferry.core.vector_columns import VectorColumn, array_of

NAMES = st.sampled_from(["a", "b", "c", "d", "e", ""])
TEXTS = st.sampled_from(["1", "1.5", "01", "true", "x", "", "-0", "1e3", "1e22", "2024-05-01T10:00:00Z"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = TEXTS | NUMBERS | st.booleans()
VALUES = SCALARS | st.none() | st.lists(SCALARS | st.none() | st.lists(SCALARS, max_size=2), max_size=3)
KEYS = NAMES | st.sampled_from(["own id", "own namespace"])
SPACES = NAMES | st.sampled_from([RESERVED_NAMESPACE, f"{OUTSIDE}a", OUTSIDE])
OWN = st.sampled_from(["i0", "a", RESERVED_NAMESPACE, f"{OUTSIDE}a"])
RECORDS = st.lists(st.tuples(SPACES, st.dictionaries(KEYS, VALUES | OWN, max_size=4)), min_size=1, max_size=4)


@st.composite
def renames(draw: st.DrawFn) -> dict[str, str]:
    olds = draw(st.lists(NAMES, unique=True, max_size=4))
    news = draw(st.lists(NAMES, unique=True, min_size=len(olds), max_size=len(olds)))
    return {old: new for old, new in zip(olds, news, strict=True) if old != new}


@st.composite
def mappings(draw: st.DrawFn) -> RecordMapping:
    casts = draw(st.dictionaries(NAMES, st.sampled_from(sorted(CASTS)), max_size=2))
    merge = draw(st.none() | st.builds(Merge, NAMES, st.just("own namespace")))
    spaces = Names({} if merge else draw(renames()))
    return RecordMapping(Names(draw(renames())), casts, spaces, draw(st.sampled_from([None, "own id"])), merge)


def batch_of(rows: list[tuple[str, dict[str, Any]]]) -> pa.RecordBatch:
    names, ids = [name for name, _ in rows], [f"i{n}" for n in range(len(rows))]
    return make_batch(names, ids, np.ones((len(rows), 2), np.float32), [canonical_json(values) for _, values in rows])


def one(**values: Any) -> pa.RecordBatch:
    return batch_of([("n", values)])


def there(mapping: RecordMapping, **values: Any) -> dict[str, Any]:
    return parse_json(mapping.to_target(one(**values)).column("metadata")[0].as_py())


@given(mappings(), RECORDS)
def test_what_is_carried_comes_back_as_it_was(mapping, rows):
    batch = batch_of(rows)
    unfit = {row for row, _ in mapping.unfit(batch)}
    batch = batch.take(pa.array([row for row in range(len(batch)) if row not in unfit], pa.int64()))
    assert mapping.to_source(mapping.to_target(batch)).equals(batch)


@given(mappings(), RECORDS, RECORDS)
def test_what_other_hands_write_in_the_target_looks_like_no_record_but_its_own(mapping, rows, others):
    ours, theirs = batch_of(rows[:1]), batch_of(others[:1])
    assume(not list(mapping.unfit(ours)))
    same = mapping.to_source(theirs).equals(ours)
    assert same == theirs.equals(mapping.to_target(ours))


@given(mappings(), RECORDS, st.sampled_from(["$eq", "$ne", "$exists", "$in", "$gt"]), NAMES, SCALARS)
def test_a_filter_finds_the_same_records_on_both_sides(mapping, rows, operator, key, value):
    operand: Any = {"$exists": True, "$in": [value]}.get(operator, value)
    try:
        where = parse_filter({key or "k": {operator: operand}})
        translated = mapping.filter_to_target(where)
    except FilterError:
        return
    batch = batch_of(rows)
    unfit = {row for row, _ in mapping.unfit(batch)}
    carried = mapping.to_target(batch)
    for row in set(range(len(batch))) - unfit:
        here, beyond = (parse_json(side.column("metadata")[row].as_py()) for side in (batch, carried))
        assert matches(where, here) == matches(translated, beyond)


@given(st.sampled_from(sorted(CASTS)), VALUES)
def test_a_cast_is_its_own_inverse(to, value):
    value = parse_json(canonical_json({"v": value}))["v"]
    assert exchanged(to, exchanged(to, value)) == value


@given(renames())
def test_a_renaming_is_a_bijection(rename):
    whole = closed(rename)
    assert sorted(whole) == sorted(whole.values())
    assert whole.items() >= rename.items()


def test_keys_are_renamed_and_values_cast():
    mapping = RecordMapping(Names({"titel": "title"}), {"jahr": FieldType.STRING, "teile": FieldType.INTEGER})
    assert there(mapping, titel="Hase", jahr=1999, teile="3", rest=[1]) == {
        "title": "Hase",
        "jahr": "1999",
        "teile": 3,
        "rest": [1],
    }


@pytest.mark.parametrize(
    ("to", "value", "reason"),
    [
        (FieldType.STRING, "5", "would come back as one"),
        (FieldType.STRING, ["a", "true"], "'list'|no exact form|would come back"),
        (FieldType.STRING, {"a": 1}, "an? .*object"),
        (FieldType.INTEGER, "05", "text"),
        (FieldType.INTEGER, "1.5", "text"),
        (FieldType.INTEGER, "18446744073709551615", "text"),
        (FieldType.NUMBER, "viel", "text"),
        (FieldType.NUMBER, "", "text"),
        (FieldType.BOOLEAN, "yes", "text"),
        (FieldType.DATE, "2024-05-01", "text"),
        (FieldType.DATE, "2024-02-30T10:00:00Z", "text"),
        (FieldType.DATE, 1714557600, "number"),
        (FieldType.STRINGS, 5, "number"),
    ],
)
def test_a_value_without_an_exact_form_is_named_by_its_key(to, value, reason):
    [(row, told)] = RecordMapping(casts={"k": to}).unfit(one(k=value))
    assert row == 0
    assert told.startswith(f"mapping.cast: 'k' is to be {to}")
    assert re.search(reason, told)


def test_a_null_or_missing_value_is_cast_to_nothing():
    mapping = RecordMapping(casts={"k": FieldType.INTEGER})
    assert not list(mapping.unfit(one(k=None, other="x")))
    assert there(mapping, k=None) == {"k": None}


def test_a_name_that_a_record_has_already_is_refused():
    [(row, told)] = RecordMapping(Names({"titel": "title"})).unfit(batch_of([("n", {"titel": 1}), ("n", {"title": 2})]))
    assert row == 1
    assert told == "mapping.rename: 'titel' is to become 'title', which the record has, too"


def test_names_may_change_places():
    mapping = RecordMapping(Names({"a": "b", "b": "a"}))
    assert not list(mapping.unfit(one(a=1, b=2)))
    assert there(mapping, a=1, b=2) == {"a": 2, "b": 1}


def test_an_id_is_kept_in_a_key_too_and_another_one_there_is_shown():
    mapping = RecordMapping(id_key="source_id")
    carried = mapping.to_target(one(k=1))
    assert parse_json(carried.column("metadata")[0].as_py()) == {"k": 1, "source_id": "i0"}
    for text in ('{"k":1}', '{"k":1,"source_id":"other"}'):
        changed = carried.set_column(4, carried.schema.field(4), pa.array([text]))
        assert not mapping.to_source(changed).equals(one(k=1))
    assert "'source_id' is to keep the record's id" in next(mapping.unfit(one(source_id=1)))[1]


def test_the_reserved_namespace_keeps_its_name():
    mapping = RecordMapping(namespaces=Names({"a": RESERVED_NAMESPACE}))
    probe = batch_of([(RESERVED_NAMESPACE, {})])
    assert mapping.to_target(probe).equals(probe)


def test_a_range_over_cast_values_is_refused_by_name():
    mapping = RecordMapping(casts={"year": FieldType.STRING})
    with pytest.raises(FilterError, match=r"'year'.*mapping\.cast"):
        mapping.filter_to_target(parse_filter({"$and": [{"year": {"$gt": 5}}]}))


def test_fields_and_differences_have_both_names():
    mapping = RecordMapping(Names({"titel": "title"}), {"jahr": FieldType.STRING}, id_key="own")
    declared = mapping.fields_to_target({"titel": FieldType.STRING})
    assert declared == {"own": FieldType.STRING, "title": FieldType.STRING, "jahr": FieldType.STRING}
    assert mapping.by_source(declared) == {"titel": FieldType.STRING, "jahr": FieldType.STRING}
    [shown] = mapping.shown([Difference(DifferenceKind.METADATA, "n", "i", "titel")])
    assert shown.field == "titel -> title"


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T10:00:00Z",
        "2024-05-01T10:00:00.123456789+05:30",
        "2016-12-31T23:59:60Z",
        "0001-01-01T00:00:00-23:59",
    ],
)
def test_dates_with_a_zone_are_dates(text):
    assert is_date(text)


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01",
        "2024-05-01T10:00:00",
        "2024-13-01T10:00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T10:00:00+24:00",
        "x",
    ],
)
def test_other_texts_are_no_dates(text):
    assert not is_date(text)


def test_namespaces_are_merged_under_a_key_and_nothing_else_is_taken_for_one():
    mapping = RecordMapping(merge=Merge("all", "kept in"))
    batch = batch_of([("a", {"k": 1}), ("", {})])
    carried = mapping.to_target(batch)
    assert carried.column("namespace").to_pylist() == ["all", "all"]
    assert carried.column("metadata").to_pylist() == ['{"k":1,"kept in":"a"}', '{"kept in":""}']
    theirs = batch_of([("all", {}), ("all", {"kept in": 1}), ("elsewhere", {"kept in": "a"})])
    shown = mapping.to_source(theirs)
    assert shown.column("namespace").to_pylist() == ["(target) all", "(target) all", "(target) elsewhere"]
    assert mapping.to_target(shown).column("namespace").equals(theirs.column("namespace"))
    assert "'kept in' is to keep the record's namespace" in next(mapping.unfit(batch_of([("a", {"kept in": "b"})])))[1]
    assert "(target) " in next(mapping.unfit(batch_of([("(target) a", {})])))[1]


# Vectors

VECTORS = st.sampled_from(["", "a", "b", "c"])


@st.composite
def vector_renames(draw: st.DrawFn) -> Names:
    olds = draw(st.lists(VECTORS, unique=True, max_size=3))
    news = draw(st.lists(VECTORS, unique=True, min_size=len(olds), max_size=len(olds)))
    return Names({old: new for old, new in zip(olds, news, strict=True) if old != new})


@st.composite
def with_vectors(draw: st.DrawFn, rows: int = 3) -> pa.RecordBatch:
    """Records with some vectors, each of a kind of its own; each record has or lacks each."""
    kinds = draw(st.dictionaries(VECTORS, st.sampled_from(VectorKind), max_size=3))
    has = {name: draw(st.lists(st.booleans(), min_size=rows, max_size=rows)) for name in kinds}
    named = {
        VectorColumn(kind, name).column: array_of(kind, [SAMPLES[kind] if there else None for there in has[name]], 2)
        for name, kind in kinds.items()
        if name
    }
    dense = np.ones((rows, 2), np.float32) if "" in kinds else None
    missing = None if dense is None else ~np.array(has[""])
    ids = [f"i{n}" for n in range(rows)]
    return make_batch("n", ids, dense, ["{}"] * rows, [SAMPLES[VectorKind.SPARSE]] * rows, missing=missing, named=named)


SAMPLES: dict[VectorKind, Any] = {
    VectorKind.DENSE: [1.0, 2.0],
    VectorKind.MULTI: [[1.0, 2.0], [3.0, 4.0]],
    VectorKind.SPARSE: {"indices": [3], "values": [0.5]},
}


@given(vector_renames(), with_vectors())
def test_vectors_come_back_under_their_own_names(vectors, batch):
    mapping = RecordMapping(vectors=vectors)
    unfit = {row for row, _ in mapping.unfit(batch)}
    batch = batch.take(pa.array([row for row in range(len(batch)) if row not in unfit], pa.int64()))
    carried = mapping.to_target(batch)
    assert mapping.to_source(carried).equals(batch)
    assert carried.schema.names[5:] == sorted(carried.schema.names[5:])
    assert carried.column("sparse").equals(batch.column("sparse"))


@given(vector_renames(), with_vectors(), with_vectors())
def test_a_vector_under_another_name_is_another_vector(vectors, ours, theirs):
    mapping = RecordMapping(vectors=vectors)
    assume(not list(mapping.unfit(ours)))
    same = fingerprints(mapping.to_source(theirs)) == fingerprints(ours)
    assert same == (fingerprints(theirs) == fingerprints(mapping.to_target(ours)))


def test_a_vector_without_a_name_gets_one():
    mapping = RecordMapping(vectors=Names({"": "content"}))
    carried = mapping.to_target(one(k=1))
    assert carried.schema.names == ["namespace", "id", "vector", "sparse", "metadata", "vector:content"]
    assert carried.column("vector").null_count == 1
    definition = CollectionDefinition(2, Metric.DOT, index={"ef": 7})
    there = mapping.definition_to_target(definition)
    assert (there.dimension, there.index) == (None, {})
    assert there.named == {"content": VectorSpec("content", VectorKind.DENSE, 2, Metric.DOT, {"ef": 7})}
    info = CollectionInfo("c", None, Metric.COSINE, {}, named=there.named)
    back = mapping.info_to_source(info)
    assert (back.dimension, back.metric, back.index, back.named) == (2, Metric.DOT, {"ef": 7}, {})
    [shown] = mapping.shown([Difference(DifferenceKind.VECTOR, "n", "i", "vector")])
    assert shown.field == "vector -> vector:content"


def test_a_vector_that_a_record_has_already_is_refused():
    mapping = RecordMapping(vectors=Names({"": "content"}))
    named = {"multi:content": array_of(VectorKind.MULTI, [None, [[1.0, 2.0]]], 2)}
    batch = make_batch("n", ["a", "b"], np.ones((2, 2), np.float32), ["{}"] * 2, named=named)
    [(row, told)] = mapping.unfit(batch)
    assert (row, told) == (1, "mapping.vectors: '' is to become 'content', which the record has, too")
