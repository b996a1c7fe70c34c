"""Metadata that others wrote: any text becomes canonical JSON of the same value, or is refused by name."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import RecordError
from vectorferry.core.records import canonical_json
from vectorferry.core.stored_json import as_canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("{}", "{}"),
        (' {"b": 1,\n"a": [ ]}', '{"a":[],"b":1}'),
        ('{"a":1.0}', '{"a":1}'),
        ('{"a":-0.0,"b":2.50,"c":1E2}', '{"a":0,"b":2.5,"c":100}'),
        ('{"a":18446744073709551615}', '{"a":18446744073709551615}'),
        ('{"\\u00fc":"\\ud83d\\ude00\\u0000\\/"}', '{"ü":"😀\\u0000/"}'),
        ('{"v":"1.0"}', '{"v":"1.0"}'),
        ('{"a":null,"b":{"c":[true,"x"]}}', '{"a":null,"b":{"c":[true,"x"]}}'),
    ],
)
def test_the_same_value_in_canonical_form(text: str, canonical: str) -> None:
    assert as_canonical(text, "here") == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1e400}', "does not hold the number 1e400"),
        ('{"a":1e-400}', "does not hold the number 1e-400"),
        ('{"a":0.1000000000000000055511151231257827}', "does not hold the number 0.1000000000000000055"),
        ('{"a":123456789012345678901234567890}', "64 bits do not hold"),
        (f'{{"a":{"9" * 5000}}}', "64 bits do not hold"),
        ('{"a":18446744073709551616}', "64 bits do not hold"),
        ('{"a":1,"a":2}', "the key 'a' is there twice"),
        ('{"x":[{"a":1,"a":1}]}', "the key 'a' is there twice"),
        ('{"a":NaN}', "NaN is no JSON"),
        ('{"a":"\\ud800"}', "surrogates"),
        ("[1]", "no JSON object but"),
        ("null", "no JSON object but"),
        ("", "Expecting value"),
        ('{"a":', "Expecting value"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_no_record_can_carry_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(
        RecordError, match="pgvector docs, namespace a, id 7: the stored metadata cannot be carried"
    ) as caught:
        as_canonical(text, "pgvector docs, namespace a, id 7")
    assert reason in str(caught.value)
    assert "mend or delete the record" in str(caught.value)


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(st.lists(NUMBERS, max_size=4))
def test_a_number_is_the_same_or_refused(numbers: list[str]) -> None:
    text = f'{{"n": [{", ".join(numbers)}]}}'
    try:
        canonical = as_canonical(text, "here")
    except RecordError:
        return
    read = json.loads(canonical, parse_float=Decimal, parse_int=Decimal)["n"]
    assert read == [Decimal(each) for each in numbers]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=4), st.sampled_from((None, 2))
)
def test_what_python_writes_is_read_as_it_is(value: dict[str, object], indent: int | None) -> None:
    try:
        expected = canonical_json(value)
    except RecordError:
        return
    assert as_canonical(json.dumps(value, indent=indent), "here") == expected
