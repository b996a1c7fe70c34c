"""Keys order as the databases order what they stand for, and come back from their text."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.keys import (
    key_of,
    number_of,
    number_of_key,
    parts_id,
    parts_of,
    parts_of_key,
    point_key,
    point_of_key,
)
from vectorferry.core.model import KeyOrder
from vectorferry.core.names import record_uuid

NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.text(st.sampled_from("\x01\x02\x03aé\U0001f680 ~0"), max_size=5)
PAIRS = st.tuples(TEXTS, NUMBERS, TEXTS)


@given(st.lists(NUMBERS))
def test_numbers_keep_their_order_as_keys(numbers: list[int]) -> None:
    keys = sorted((key_of(KeyOrder.NUMBER, "n", str(number)) for number in numbers), key=str.encode)
    assert [number_of_key(key) for key in keys] == sorted(numbers)


@given(st.lists(PAIRS))
def test_parts_keep_their_order_as_keys(pairs: list[tuple[str, int, str]]) -> None:
    keys = sorted((key_of(KeyOrder.PARTS, "n", parts_id(pair)) for pair in pairs), key=str.encode)
    expected = sorted(pairs, key=lambda pair: (pair[0].encode(), pair[1], pair[2].encode()))
    assert [parts_of_key(key, (False, True, False)) for key in keys] == expected
    assert [parts_of(parts_id(pair)) for pair in pairs] == pairs


@pytest.mark.parametrize("text", ["", "+1", "01", "-0", "1.0", "١", " 1", "9223372036854775808", "abc"])
def test_what_is_no_number_has_no_number_s_key(text: str) -> None:
    assert number_of(text) is None
    assert number_of_key(key_of(KeyOrder.NUMBER, "n", text)) is None


@pytest.mark.parametrize(
    "text",
    ["", "a", "1", "{}", '["a", 1]', "[1.0]", "[true]", "[null]", "[[1]]", "[9223372036854775808]", '["\\u0061"]'],
)
def test_what_is_no_list_of_parts_has_no_list_s_key(text: str) -> None:
    assert parts_of(text) is None
    assert parts_of_key(key_of(KeyOrder.PARTS, "n", text + "\x01\x01"), (False,)) is None


@pytest.mark.parametrize("key", ["", "1" * 19, "9" * 20, "~1", "0" * 20 + "\0"])
def test_a_text_between_keys_is_no_key(key: str) -> None:
    assert number_of_key(key) is None
    assert parts_of_key(key, (True,)) is None


@given(st.lists(st.integers(0, (1 << 64) - 1), unique=True), st.lists(st.uuids(), unique=True))
def test_points_are_ordered_as_numbers_and_then_uuids(numbers: list[int], uuids: list[UUID]) -> None:
    ids = [*map(str, sorted(numbers)), *sorted(map(str, uuids))]
    keys = [key_of(KeyOrder.POINT, "n", id_) for id_ in ids]
    assert keys == sorted(keys, key=str.encode)
    assert [point_of_key(key) for key in keys] == ids
    assert [key_of(KeyOrder.POINT_OR_UUID, "", id_) for id_ in ids] == keys


@pytest.mark.parametrize(
    "id_", ["01", "-1", "+1", "1.0", str(1 << 64), "\u0661", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "", "#1"]
)
def test_what_no_point_can_be_called_has_a_key_that_no_point_has(id_: str) -> None:
    assert point_key(id_) is None
    assert key_of(KeyOrder.POINT, "", id_) < key_of(KeyOrder.POINT, "", "0")
    assert key_of(KeyOrder.POINT_OR_UUID, "", id_) == str(record_uuid("", id_))


def test_in_a_namespace_every_point_is_a_uuid_made_of_it() -> None:
    for id_ in ("7", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "x"):
        assert key_of(KeyOrder.POINT_OR_UUID, "n", id_) == str(record_uuid("n", id_))
