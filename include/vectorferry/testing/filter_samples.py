"""Samples for filters: records, filters over them, and what the reference evaluation selects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Filter, matches, parse_filter
from vectorferry.stores.base import VectorStore
from vectorferry.testing.assertions import assert_holds, put_all, wait_for_index
from vectorferry.testing.samples import new_name, random_vectors, records

FILTER_ROWS: Sequence[Mapping[str, Any]] = (
    {"genre": "drama", "year": 1999, "good": True, "tags": ["a", "b"]},
    {"genre": "comedy", "year": 2004, "good": False, "tags": ["b"]},
    {"genre": "Drama", "year": 2004.5, "tags": []},
    {"genre": "drama with spaces", "year": -1, "good": True},
    {"genre": "", "year": 0, "good": False, "tags": ["drama"]},
    {"year": 2020, "tags": ["a"]},
    {"genre": "the"},
    {"genre": "ünï", "tags": ["ünï", "the"]},
    {},
    {"genre": 1999, "year": "1999", "good": "true", "tags": "a"},
    {"genre": ["drama"], "year": True, "good": 1},
    {"genre": True, "year": ["1999"], "good": 0, "tags": 1},
)
_POOLS: Mapping[str, Sequence[Any]] = {
    "genre": ["drama", "comedy", "Drama", "drama with", "", "the", "ünï"],
    "year": [1999, 2004, 2004.5, 0, -1, 1e6],
    "good": [True, False],
    "tags": ["a", "b", "the", "drama", "c"],
}


def _conditions(field: str, pool: Sequence[Any], operators: frozenset[str]) -> st.SearchStrategy[dict[str, Any]]:
    one = st.sampled_from(pool)
    several = st.lists(one, min_size=1, max_size=3)
    known = ["$eq", "$ne", "$in", "$nin", "$exists", *(("$gt", "$gte", "$lt", "$lte") if field == "year" else ())]
    operands = {"$in": several, "$nin": several, "$exists": st.booleans()}
    usable = [operator for operator in known if operator in operators]
    return st.one_of([_condition(field, operator, operands.get(operator, one)) for operator in usable])


def _condition(field: str, operator: str, operand: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return operand.map(lambda value: {field: {operator: value}})


def filters_for(operators: frozenset[str], *, mixed: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Filters in the language's JSON; unless `mixed`, every value has the type that its field is declared with."""
    any_value = [value for pool in _POOLS.values() for value in pool]
    leaves = st.one_of([_conditions(name, any_value if mixed else pool, operators) for name, pool in _POOLS.items()])
    if mixed:
        leaves = leaves.filter(_is_valid)
    groups = [name for name in ("$and", "$or") if name in operators]
    if not groups:
        return leaves
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda name, items: {name: items}, st.sampled_from(groups), st.lists(inner, min_size=1, max_size=3)
        ),
        max_leaves=4,
    )


def _is_valid(raw: Mapping[str, Any]) -> bool:
    try:
        parse_filter(raw)
    except FilterError:
        return False
    return True


@dataclass(frozen=True)
class FilterData:
    """A namespace filled with rows, and what the reference says of them."""

    store: VectorStore
    namespace: str
    rows: Mapping[str, Mapping[str, Any]]

    def expected(self, where: Filter) -> set[str]:
        """Ids that pass the reference evaluation of the filter."""
        return {id_ for id_, metadata in self.rows.items() if matches(where, metadata)}

    def matching(self, where: Filter) -> set[str]:
        """Ids that the store lists for the filter."""
        return set(self.store.matching(self.namespace, where, 1000))

    def searched(self, where: Filter) -> set[str]:
        """Ids that a filtered search for as many neighbours as there are rows finds."""
        found = self.store.search(self.namespace, random_vectors(1, seed=5), len(self.rows), where=where)
        assert len(found.ids[0]) == len(set(found.ids[0]))
        return set(found.ids[0])

    def check(self, raw: Mapping[str, Any]) -> None:
        """Both listing and search return what the reference expects of a filter in JSON."""
        where = parse_filter(raw)
        expected = self.expected(where)
        assert self.matching(where) == expected, raw
        assert self.searched(where) == expected, raw


def fill_filter_data(store: VectorStore, rows: Sequence[Mapping[str, Any]]) -> FilterData:
    """A new namespace with a record for each of the given metadata, once search sees them all."""
    namespace = new_name()
    named = {f"r{number}": metadata for number, metadata in enumerate(rows)}
    batch = records(namespace, list(named), random_vectors(len(named), seed=3), list(named.values()))
    put_all(store, batch)
    assert_holds(store, batch)
    wait_for_index(store, namespace, len(named))
    return FilterData(store, namespace, named)
