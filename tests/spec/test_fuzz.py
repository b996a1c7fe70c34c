"""Fuzzed specs: whatever a file holds, it is a SpecError with a line that exists, or a spec within its stated bounds."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spec.fuzzing import BOUNDED, PLACES, TEXTS, assert_sensible, changed, judge, mangled
from vectorferry.core.errors import SpecError
from vectorferry.spec.loader import load_spec


@BOUNDED
@given(mangled())
def test_no_text_is_too_odd(text: str) -> None:
    judge(text)


@BOUNDED
@given(st.binary(max_size=8), st.integers(0, 400), st.sampled_from(TEXTS))
def test_no_bytes_are_too_odd(tmp_path_factory: pytest.TempPathFactory, piece: bytes, at: int, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    raw = text.encode()
    file.write_bytes(raw[:at] + piece + raw[at:])
    try:
        assert_sensible(load_spec(file))
    except SpecError as error:
        assert all(1 <= p.line <= (raw + piece).count(b"\n") + 2 for p in error.problems)


@BOUNDED
@given(changed())
def test_no_value_is_too_odd(made: tuple[dict[str, Any], tuple[str | int, ...]]) -> None:
    judge(yaml.safe_dump(made[0], allow_unicode=True, sort_keys=False))


@pytest.mark.parametrize(
    ("place", "schema"), PLACES, ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else ""
)
def test_every_number_has_two_bounds(place: tuple[str | int, ...], schema: dict[str, Any]) -> None:
    for each in [schema, *schema.get("anyOf", [])]:
        if each.get("type") in ("integer", "number") and place[-1] not in ("begin", "until"):
            assert {"minimum", "exclusiveMinimum"} & each.keys()
            assert "maximum" in each
