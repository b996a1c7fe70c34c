"""Expectations: what is wrong with one is found on an empty table, and none that fails ends in anything but a verdict."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.building import build, records
from vectorferry.core.model import Verdict
from vectorferry.engine.checks.expectations import check as expectations
from vectorferry.engine.checks.expectations.check import Suite, judge
from vectorferry.engine.checks.expectations.faults import expectation_faults
from vectorferry.engine.checks.expectations.given import Expected, Given
from vectorferry.spec.loader import parse_spec
from vectorferry.spec.migration import MigrationSpec

SPEC = """\
migration: docs
source: {connection: a, collection: x}
target: {connection: b, collection: y}
staging: {url: /tmp/staging}
writers: none
"""
BETWEEN = "expect_column_values_to_be_between"
COLUMN = {"column": "metadata.n"}


def spec(*wanted: tuple[str, dict[str, Any]]) -> MigrationSpec:
    plain = parse_spec(SPEC, "s.yaml").model_dump(mode="json", exclude_defaults=True)
    each = [{"type": kind, "kwargs": kwargs} for kind, kwargs in wanted]
    return MigrationSpec.model_validate(plain | {"checks": {"expectations": each}})


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        (
            "expect_column_value_to_be_between",
            {**COLUMN, "min_value": 0},
            "0.type: expect_column_value_to_be_between is no expectation (did you mean 'expect_column_values_to_be_between'?)",
        ),
        ("expect_nothing_of_it", {}, "0.type: expect_nothing_of_it is no expectation"),
        (BETWEEN, COLUMN, f"0.kwargs: {BETWEEN}: min_value and max_value cannot both be None"),
        (BETWEEN, {"min_value": 0}, f"0.kwargs: {BETWEEN} needs the argument column (add `column:`)"),
        (
            BETWEEN,
            {**COLUMN, "min_val": 0},
            f"0.kwargs.min_val: is no argument of {BETWEEN} (did you mean 'min_value'?)",
        ),
        (BETWEEN, {**COLUMN, "min_value": "low"}, f"0.kwargs.min_value: is not what {BETWEEN} takes"),
        (BETWEEN, {**COLUMN, "min_value": 5, "max_value": 1}, "cannot run: min_value cannot be greater than max_value"),
        (
            BETWEEN,
            {"column": "n", "min_value": 0},
            "0.kwargs: there is no column 'n' (known are namespace, id and metadata.<key>)",
        ),
        (BETWEEN, {**COLUMN, "min_value": 0, "meta": {}}, "0.kwargs.meta: is no argument"),
        (
            "expect_column_values_to_not_be_null",
            {**COLUMN, "mostly": 2},
            "0.kwargs.mostly: is not what expect_column_values_to_not_be_null takes: ensure this value is less than or equal to 1.0",
        ),
        (
            "expect_column_values_to_match_regex",
            {**COLUMN, "regex": "("},
            "0.kwargs.regex: '(' is no regular expression",
        ),
        ("expect_column_values_to_match_regex_list", {**COLUMN, "regex_list": ["("]}, "'(' is no regular expression"),
        ("expect_column_pair_values_to_be_equal", {"column_A": "id"}, "needs the argument column_B"),
        ("expect_compound_columns_to_be_unique", {"column_list": 7}, "0.kwargs.column_list: is not what"),
        (BETWEEN, {**COLUMN, "min_value": {"$PARAMETER": "low"}}, "0.kwargs: expect_column_values_to_be_between"),
    ],
)
def test_a_slip_is_named_with_its_place(kind: str, kwargs: dict[str, Any], said: str) -> None:
    found = [str(fault) for fault in expectation_faults(spec((kind, kwargs)))]
    assert len(found) == 1
    assert said in found[0]
    assert found[0].startswith("checks.expectations.0.")


def test_every_fault_is_found_at_once_and_what_is_right_is_left_alone() -> None:
    wanted = spec(
        (BETWEEN, {**COLUMN, "min_value": 0, "max_value": 1, "mostly": 0.9}),
        ("expect_column_mean_to_be_between", {**COLUMN, "min_value": 0}),
        ("expect_column_values_to_be_in_set", {"column": "namespace", "value_set": 5}),
        ("expect_column_max_to_be_between", {**COLUMN, "max_value": 9, "strict": True}),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
    )
    assert [fault.place[2] for fault in expectation_faults(wanted)] == [2, 3]


@pytest.fixture
def metadata_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tables that only a real export and a journal have."""
    for name in ("_partitions", "_verdicts"):
        empty = Suite(name.strip("_"), expectations.pd.DataFrame(), ())
        monkeypatch.setattr(expectations, name, lambda *_, empty=empty: empty)


def checked(folder: Path, kwargs: dict[str, Any]) -> Verdict:
    made = build(folder, [records("n", 30)])
    staged, session = made.session.staged(made.plan), made.session
    given = Given(session.migration, session.run_id, made.plan, staged, (), [Expected(BETWEEN, kwargs)])
    return judge(given, session.report)


@pytest.mark.parametrize("kwargs", [{}, {"min_val": 3}, {"column": ["a"]}])
def test_what_great_expectations_raises_is_a_failed_verdict(
    tmp_path: Path, kwargs: dict[str, Any], metadata_only: None
) -> None:
    verdict = checked(tmp_path, kwargs)
    assert not verdict.passed
    assert verdict.reason.startswith("Great Expectations could not run (ValidationError): ")


def test_an_expectation_that_raises_on_the_data_is_not_met(tmp_path: Path, metadata_only: None) -> None:
    verdict = checked(tmp_path, {"column": "namespace", "min_value": 3})
    assert verdict.total_differences == 1
    assert "could not be judged on these values" in str(verdict.differences[0])


def test_nothing_is_imported_where_nothing_is_expected() -> None:
    code = (
        "import sys; from vectorferry.engine import pipeline; from vectorferry.spec.loader import parse_spec; "
        f"assert pipeline.expectation_faults(parse_spec({SPEC!r}, 's')) == (); "
        "assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
