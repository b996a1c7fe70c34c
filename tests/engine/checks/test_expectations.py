"""Expectations: what fails is named, no value of the data gets into the pages, and some rows at a time say what all rows do."""

from pathlib import Path

import pandas as pd
import pytest

from engine.building import build, records
from vectorferry.engine.checks.expectations import metadata as rows_of
from vectorferry.engine.checks.expectations.check import Suite, _unseen, _validate
from vectorferry.engine.checks.expectations.given import Expected, Given
from vectorferry.engine.checks.expectations.library import imported
from vectorferry.engine.checks.expectations.metadata import Metadata

ADDRESSES = ["ann@example.org", "bob@example.org", "no address at all"]


def pages(folder: Path) -> str:
    return "\n".join(file.read_text() for file in folder.rglob("*.html")) + "\n".join(
        file.read_text() for file in folder.rglob("*.json")
    )


def test_no_value_of_the_metadata_gets_into_the_pages(tmp_path: Path) -> None:
    table = pd.DataFrame({"metadata.email": ADDRESSES})
    expected = (
        Expected("expect_column_values_to_match_regex", {"column": "metadata.email", "regex": "^x"}),
        Expected("expect_column_distinct_values_to_be_in_set", {"column": "metadata.email", "value_set": ["x"]}),
    )
    with imported() as gx:
        results = _validate(gx, [Suite("metadata", table, expected, private=True)], tmp_path, "run")
    assert [passed for *_, passed in results] == [False, False]
    made = pages(tmp_path)
    assert "expect_column_values_to_match_regex" in made
    assert not any(address in made for address in ADDRESSES)


def test_an_expectation_on_a_key_that_no_record_has_looked_at_nothing() -> None:
    within = {"min_value": 0, "max_value": 9}
    between = [
        Expected("expect_column_values_to_be_between", {"column": f"metadata.{key}"} | within)
        for key in ("lines", "linse")
    ]
    absent = Expected("expect_column_values_to_be_null", {"column": "metadata.linse"})
    found = list(_unseen((*between, absent), {"metadata.lines"}))
    assert found == [("expect_column_values_to_be_between", "metadata.linse")]


ON_LINES, ON_KIND = {"column": "metadata.lines"}, {"column": "metadata.kind"}
WANTED = [
    Expected("expect_column_values_to_be_between", ON_LINES | {"min_value": 0, "max_value": 6}),
    Expected("expect_column_values_to_be_between", ON_LINES | {"min_value": 1, "max_value": 6}),
    Expected("expect_column_values_to_be_between", ON_LINES | {"min_value": 1, "max_value": 6, "mostly": 0.8}),
    Expected("expect_column_values_to_not_be_null", ON_KIND | {"mostly": 0.9}),
    Expected("expect_column_values_to_not_be_null", ON_KIND | {"mostly": 0.95}),
    Expected("expect_column_values_to_be_null", ON_KIND | {"mostly": 0.1}),
    Expected("expect_column_values_to_match_regex", ON_KIND | {"regex": "^(class|function)$", "mostly": 0.6}),
    Expected("expect_column_values_to_match_regex", ON_KIND | {"regex": "^class$", "row_condition": "id < 'r0002'"}),
    Expected("expect_column_pair_values_to_be_equal", {"column_A": "id", "column_B": "metadata.kind"}),
    Expected("expect_select_column_values_to_be_unique_within_record", {"column_list": ["namespace", "id"]}),
    Expected("expect_column_values_to_be_unique", {"column": "id"}),
    Expected("expect_column_values_to_be_unique", ON_KIND),
    Expected("expect_compound_columns_to_be_unique", {"column_list": ["namespace", "id"]}),
    Expected("expect_column_values_to_be_of_type", ON_LINES | {"type_": "float64"}),
    Expected("expect_column_mean_to_be_between", ON_LINES | {"min_value": 2, "max_value": 4}),
    Expected("expect_column_mean_to_be_between", ON_LINES | {"min_value": 4}),
    Expected("expect_column_max_to_be_between", ON_LINES | {"max_value": 6}),
    Expected("expect_column_sum_to_be_between", ON_LINES | {"max_value": 10}),
    Expected("expect_column_distinct_values_to_equal_set", ON_KIND | {"value_set": ["class", "function", "größe"]}),
    Expected("expect_table_row_count_to_equal", {"value": 90}),
    Expected(
        "expect_table_columns_to_match_set", {"column_set": ["namespace", "id", "metadata.kind", "metadata.lines"]}
    ),
    Expected("expect_column_values_to_be_between", {"column": "metadata.kind", "min_value": 3}),
]


def test_some_rows_at_a_time_are_judged_as_a_table_of_all_rows_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(tmp_path, [records("m", 40), records("n", 50)], partition_rows=30)
    given = Given("m", "r", made.plan, made.staged, (), WANTED)
    monkeypatch.setattr(rows_of, "_FRAME_ROWS", 7)
    with imported() as gx:
        by_and_by = Metadata(given)
        by_and_by.read(gx, made.session.report)
        suite = Suite("metadata", by_and_by.table(), tuple(WANTED), private=True, by_row=by_and_by.by_row)
        found = _validate(gx, [suite], tmp_path / "by_and_by", "run")
        rows = [row for partition in made.plan.partitions for row in by_and_by._rows(partition, made.session.report)]
        table = pd.DataFrame(rows, columns=by_and_by.columns)
        at_once = _validate(gx, [Suite("metadata", table, tuple(WANTED), private=True)], tmp_path / "at_once", "run")
    assert sorted(found) == sorted(at_once)
    assert len(found) == len(WANTED)
    assert 8 <= sum(passed for *_, passed in found) <= 14, "some hold, and some do not"
    assert len(by_and_by.by_row) == 11
    assert by_and_by.seen == set(table.columns)
