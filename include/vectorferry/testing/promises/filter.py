"""Filters select what the reference evaluation selects, or are refused by name."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import OPERATORS, operators_of, parse_filter
from vectorferry.stores.base import VectorStore
from vectorferry.stores.bulk_reads import all_matching
from vectorferry.testing.filter_samples import FILTER_ROWS, FilterData, fill_filter_data, filters_for
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.samples import QUICK


class FilterContract(StoreFixtures):
    """`matching`, and `search` with a filter."""

    @pytest.fixture(scope="class")
    @classmethod
    def typed(cls, store: VectorStore) -> FilterData:
        """Rows whose declared fields are missing or have the declared type."""
        return fill_filter_data(store, FILTER_ROWS[:9])

    @pytest.fixture(scope="class")
    @classmethod
    def mixed(cls, store: VectorStore) -> FilterData:
        """Rows with several types under one key as well."""
        return fill_filter_data(store, FILTER_ROWS)

    @pytest.mark.parametrize(
        "raw",
        [
            {"genre": "drama"},
            {"genre": {"$eq": ""}},
            {"genre": {"$ne": "drama"}},
            {"genre": {"$in": ["drama", "ünï"]}},
            {"genre": {"$nin": ["drama", "comedy"]}},
            {"genre": "the"},
            {"year": 2004},
            {"year": {"$gt": 2004}},
            {"year": {"$gte": 2004, "$lt": 2020}},
            {"year": {"$lte": 0}},
            {"year": {"$ne": 1999}},
            {"good": True},
            {"good": {"$ne": True}},
            {"tags": "a"},
            {"tags": {"$ne": "a"}},
            {"tags": {"$in": ["a", "the"]}},
            {"tags": {"$nin": ["a", "b"]}},
            {"genre": {"$exists": True}},
            {"year": {"$exists": False}},
            {"$and": [{"genre": "drama"}, {"year": {"$lt": 2000}}]},
            {"$or": [{"genre": "comedy"}, {"good": True}]},
            {"$or": [{"tags": "a"}, {"$and": [{"genre": {"$exists": False}}, {"year": {"$exists": False}}]}]},
        ],
        ids=str,
    )
    def test_filters_agree_with_the_reference(self, typed: FilterData, raw: Mapping[str, Any]) -> None:
        missing = operators_of(parse_filter(raw)) - typed.store.capabilities.filter_operators
        if missing:
            self._assert_refused(typed, raw, missing)
        else:
            typed.check(raw)

    @pytest.mark.parametrize("operator", sorted(OPERATORS))
    def test_operators_that_are_not_declared_are_refused(self, typed: FilterData, operator: str) -> None:
        if operator in typed.store.capabilities.filter_operators:
            pytest.skip("declared")
        group = operator in ("$and", "$or")
        operand: Any = {"$in": [1], "$nin": [1], "$exists": True}.get(operator, 1)
        self._assert_refused(
            typed, {operator: [{"year": 1}, {"year": 2}]} if group else {"year": {operator: operand}}, {operator}
        )

    def _assert_refused(self, data: FilterData, raw: Mapping[str, Any], missing: "set[str] | frozenset[str]") -> None:
        where = parse_filter(raw)
        for attempt in (data.matching, data.searched):
            with pytest.raises(FilterError) as caught:
                attempt(where)
            assert any(operator in str(caught.value) for operator in missing)

    @QUICK
    @given(data=st.data())
    def test_any_filter_of_declared_types_agrees(self, typed: FilterData, data: st.DataObject) -> None:
        typed.check(data.draw(filters_for(typed.store.capabilities.filter_operators, mixed=False)))

    @QUICK
    @given(data=st.data())
    def test_any_filter_on_mixed_types_agrees_or_is_refused(self, mixed: FilterData, data: st.DataObject) -> None:
        raw = data.draw(filters_for(mixed.store.capabilities.filter_operators, mixed=True))
        try:
            mixed.check(raw)
        except FilterError as error:
            assert mixed.store.capabilities.typed_fields, f"{raw}: {error}"

    def test_undeclared_fields_are_filtered_or_refused(self, store: VectorStore) -> None:
        data = fill_filter_data(store, [{"undeclared": 1}, {"undeclared": "1"}, {"other.key \"'%": "x"}, {}])
        for raw in ({"undeclared": 1}, {"undeclared": {"$ne": "1"}}, {"other.key \"'%": "x"}):
            try:
                data.check(raw)
            except FilterError as error:
                assert not store.capabilities.filters_any_field
                assert repr(next(iter(raw))) in str(error)

    def test_all_that_match_are_listed_in_order(self, typed: FilterData) -> None:
        where = parse_filter({"year": {"$gt": 0}})
        if "$gt" in typed.store.capabilities.filter_operators:
            assert all_matching(typed.store, typed.namespace, where) == sorted(typed.expected(where))

    def test_matching_stops_at_its_limit(self, typed: FilterData) -> None:
        where = parse_filter({"year": {"$gt": 0}})
        found = typed.store.matching(typed.namespace, where, 2)
        assert len(found) == 2 and found <= typed.expected(where)
