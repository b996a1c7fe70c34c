"""What a target that filters by declared fields cannot answer is named before anything is moved."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from vectorferry.core.filters import parse_filter
from vectorferry.core.model import FieldType
from vectorferry.engine.checks.filter_support import filter_problems, mapped_filter_problems
from vectorferry.spec.loader import parse_spec
from vectorferry.stores.memory import MEMORY

DECLARED = replace(MEMORY, filters_any_field=False, typed_fields=True)
FIELDS = {str(kind): kind for kind in FieldType}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"string": "a"}, []),
        ({"integer": {"$gt": 1}}, []),
        ({"numbers": 1}, []),
        ({"dates": {"$in": ["2024-01-01T00:00:00Z"]}}, []),
        ({"text": {"$exists": True}}, []),
        ({"object": {"$exists": True}}, []),
        ({"text": "a"}, ["does not support $eq on 'text', which is declared as text: declare it as string"]),
        (
            {"texts": {"$in": ["a"]}},
            ["does not support $in on 'texts', which is declared as texts: declare it as strings"],
        ),
        ({"geo": {"$exists": True}}, ["does not support $exists on 'geo', which is declared as geo"]),
        ({"object": {"$ne": 1}}, ["does not support $ne on 'object', which is declared as object"]),
        ({"integers": {"$gt": 1}}, ["does not support $gt on 'integers', which is declared as integers"]),
        ({"date": {"$lt": 1}}, ["does not support $lt on 'date', which is declared as date"]),
        ({"other": 1}, ["can filter by declared fields only: declare 'other' under `fields`"]),
    ],
    ids=str,
)
def test_problems(raw: Mapping[str, Any], said: list[str]) -> None:
    assert list(filter_problems(parse_filter(raw), FIELDS, DECLARED)) == said
    assert list(filter_problems(parse_filter(raw), FIELDS, MEMORY)) == []


def test_a_field_that_is_not_filterable_is_named() -> None:
    spec = parse_spec(
        """
migration: docs
source: {connection: a, collection: x}
target: {connection: b, collection: y}
staging: {url: staging}
writers: none
fields: {year: {type: number, filterable: false}}
""",
        "s.yaml",
    )
    where = parse_filter({"year": 1})
    said = "cannot filter by 'year', which is declared with `filterable: false`"
    assert list(mapped_filter_problems(where, spec, DECLARED)) == [said]
    assert list(mapped_filter_problems(where, spec, MEMORY)) == []
