"""The filter language: what it accepts, what it refuses by name, and what it means."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import (
    COMPARISONS,
    OPERATORS,
    Condition,
    Group,
    fields_of,
    matches,
    operators_of,
    parse_filter,
    to_json,
)

SCALARS = st.text(max_size=4) | st.integers(-3, 3) | st.floats(-2, 2) | st.booleans()
VALUES = SCALARS | st.none() | st.lists(SCALARS, max_size=3) | st.lists(st.lists(SCALARS, max_size=2), max_size=2)
FIELDS = st.sampled_from(["a", "b", "c"])
METADATA = st.dictionaries(FIELDS, VALUES, max_size=3)
NUMBERS = st.integers(-3, 3) | st.floats(-2, 2)


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(SCALARS, min_size=1, max_size=3)
    parts = [
        (st.sampled_from(["$eq", "$ne"]), SCALARS),
        (st.sampled_from(["$in", "$nin"]), several),
        (st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS),
        (st.just("$exists"), st.booleans()),
    ]
    bodies = st.one_of([st.dictionaries(operator, value, min_size=1, max_size=2) for operator, value in parts])
    return st.dictionaries(FIELDS, bodies | SCALARS, min_size=1, max_size=2)


FILTERS = st.recursive(
    conditions(),
    lambda inner: st.builds(
        lambda word, items: {word: items}, st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=5,
)


@given(FILTERS, METADATA)
def test_a_filter_written_and_parsed_again_means_the_same(raw: dict[str, Any], metadata: dict[str, Any]):
    parsed = parse_filter(raw)
    again = parse_filter(to_json(parsed))
    assert again == parsed
    assert matches(again, metadata) is matches(parsed, metadata)
    assert operators_of(parsed) <= OPERATORS
    assert fields_of(parsed) <= {"a", "b", "c"}


@given(FIELDS, SCALARS, METADATA)
def test_ne_is_the_opposite_of_eq(field: str, value: Any, metadata: dict[str, Any]):
    assert matches(Condition(field, "$ne", value), metadata) is not matches(Condition(field, "$eq", value), metadata)


@given(FIELDS, st.lists(SCALARS, min_size=1, max_size=3), METADATA)
def test_in_is_any_eq_and_nin_its_opposite(field: str, values: list[Any], metadata: dict[str, Any]):
    any_equal = matches(Group("$or", tuple(Condition(field, "$eq", value) for value in values)), metadata)
    assert matches(Condition(field, "$in", tuple(values)), metadata) is any_equal
    assert matches(Condition(field, "$nin", tuple(values)), metadata) is not any_equal


@given(FIELDS, NUMBERS, METADATA)
def test_ranges_split_the_numbers(field: str, bound: float, metadata: dict[str, Any]):
    found = {operator: matches(Condition(field, operator, bound), metadata) for operator in COMPARISONS}
    value = metadata.get(field)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        assert found["$gt"] is not found["$lte"] and found["$lt"] is not found["$gte"]
        assert found["$eq"] is (found["$lte"] and found["$gte"])
    else:
        assert not any(found[operator] for operator in ("$gt", "$gte", "$lt", "$lte"))


@pytest.mark.parametrize(
    ("raw", "metadata", "expected"),
    [
        ({"a": "x"}, {"a": "x"}, True),
        ({"a": "x"}, {"a": "X"}, False),
        ({"a": "x"}, {"a": ["w", "x"]}, True),
        ({"a": "x"}, {"a": [["x"]]}, False),
        ({"a": "x"}, {}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": [True]}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": {"$ne": "x"}}, {}, True),
        ({"a": {"$ne": "x"}}, {"a": None}, True),
        ({"a": {"$ne": "x"}}, {"a": ["x", "y"]}, False),
        ({"a": {"$nin": ["x"]}}, {}, True),
        ({"a": {"$gt": 1}}, {"a": "2"}, False),
        ({"a": {"$gt": 1}}, {"a": [2]}, False),
        ({"a": {"$gte": 1, "$lt": 2}}, {"a": 1.5}, True),
        ({"a": {"$exists": False}}, {}, True),
        ({"a": {"$exists": True}}, {"a": None}, False),
        ({"a": {"$exists": True}}, {"a": []}, True),
        ({"a": "x", "b": 1}, {"a": "x"}, False),
        ({"$or": [{"a": "x"}, {"b": 1}]}, {"b": 1}, True),
    ],
)
def test_what_a_filter_means(raw: dict[str, Any], metadata: dict[str, Any], expected: bool):
    assert matches(parse_filter(raw), metadata) is expected


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({}, "non-empty"),
        ([], "non-empty"),
        ({"a": {}}, "'a'"),
        ({"a": {"$regex": "x"}}, r"\$regex"),
        ({"$not": {"a": 1}}, r"\$not"),
        ({"$and": []}, r"\$and"),
        ({"$or": {"a": 1}}, r"\$or"),
        ({"$and": [{"a": {"$near": 1}}]}, r"\$near"),
        ({"a": None}, "NoneType"),
        ({"a": [1]}, "list"),
        ({"a": {"$in": "x"}}, r"\$in"),
        ({"a": {"$in": []}}, r"\$in"),
        ({"a": {"$in": [None]}}, r"\$in"),
        ({"a": {"$gt": "x"}}, r"\$gt"),
        ({"a": {"$lte": True}}, r"\$lte"),
        ({"a": {"$exists": 1}}, r"\$exists"),
    ],
)
def test_what_is_not_a_filter_is_refused_by_name(raw: Any, named: str):
    with pytest.raises(FilterError, match=named):
        parse_filter(raw)
