"""Expectations: what fails is named, and no value of the data gets into the pages."""

from pathlib import Path

import pandas as pd

from vectorferry.engine.checks.expectations.check import Suite, _unseen, _validate
from vectorferry.engine.checks.expectations.given import Expected

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
    results = _validate([Suite("metadata", table, expected, private=True)], tmp_path, "run")
    assert [passed for *_, passed in results] == [False, False]
    made = pages(tmp_path)
    assert "expect_column_values_to_match_regex" in made
    assert not any(address in made for address in ADDRESSES)


def test_an_expectation_on_a_key_that_no_record_has_looked_at_nothing() -> None:
    table = pd.DataFrame({"metadata.lines": [1, None], "metadata.linse": [None, None]})
    within = {"min_value": 0, "max_value": 9}
    between = [
        Expected("expect_column_values_to_be_between", {"column": f"metadata.{key}"} | within)
        for key in ("lines", "linse")
    ]
    absent = Expected("expect_column_values_to_be_null", {"column": "metadata.linse"})
    found = list(_unseen([Suite("metadata", table, (*between, absent), private=True)]))
    assert found == [("expect_column_values_to_be_between", "metadata.linse")]
