"""The filter language, which is Pinecone's: parsed once here, compiled or refused by each store, evaluated as the reference.

A key that a record lacks: `$exists: false`, `$ne` and `$nin` match it, nothing else does. A list of strings equals a string
that it contains. Values of different types are never equal; ranges compare numbers only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vectorferry.core.errors import FilterError

Scalar = str | float | bool

COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
MEMBERSHIPS = ("$in", "$nin")
OPERATORS = frozenset({*COMPARISONS, *MEMBERSHIPS, "$exists", "$and", "$or"})
_MAX_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one metadata key; `value` is a scalar, a tuple of scalars ($in, $nin) or a bool ($exists)."""

    field: str
    operator: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """`$and` or `$or` over filters."""

    operator: str
    children: tuple["Filter", ...]


Filter = Condition | Group


def parse_filter(raw: Mapping[str, Any]) -> Filter:
    """The filter that a JSON object spells; raises FilterError naming the operator and the key."""
    if not isinstance(raw, Mapping) or not raw:
        raise FilterError("a filter must be a non-empty object, as in {'genre': {'$eq': 'drama'}}")
    children = tuple(child for key, value in raw.items() for child in _parse_entry(key, value))
    return children[0] if len(children) == 1 else Group("$and", children)


def _parse_entry(key: str, value: Any) -> tuple[Filter, ...]:
    if key in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            raise FilterError(f"{key} takes a non-empty list of filters")
        return (Group(key, tuple(parse_filter(item) for item in value)),)
    if key.startswith("$"):
        raise FilterError(f"operator {key} is unknown here; at the top only $and and $or are allowed")
    if not isinstance(value, Mapping):
        return (Condition(key, "$eq", _scalar(key, "$eq", value)),)
    if not value:
        raise FilterError(f"key {key!r} has no operator")
    return tuple(_parse_condition(key, operator, operand) for operator, operand in value.items())


def _parse_condition(key: str, operator: str, operand: Any) -> Condition:
    if operator in MEMBERSHIPS:
        if not isinstance(operand, list) or not 0 < len(operand) <= _MAX_VALUES:
            raise FilterError(f"{operator} on {key!r} takes a list of 1 to {_MAX_VALUES} values")
        return Condition(key, operator, tuple(_scalar(key, operator, item) for item in operand))
    if operator == "$exists":
        if not isinstance(operand, bool):
            raise FilterError(f"$exists on {key!r} takes true or false")
        return Condition(key, operator, operand)
    if operator not in COMPARISONS:
        raise FilterError(f"operator {operator} on {key!r} is unknown; known are {', '.join(sorted(OPERATORS))}")
    value = _scalar(key, operator, operand)
    if operator not in ("$eq", "$ne") and (isinstance(value, (str, bool))):
        raise FilterError(f"{operator} on {key!r} takes a number, not {value!r}")
    return Condition(key, operator, value)


def _scalar(key: str, operator: str, value: Any) -> Scalar:
    if isinstance(value, (str, bool, int, float)):
        return value
    raise FilterError(f"{operator} on {key!r} takes a string, number or boolean, not {type(value).__name__}")


def to_json(parsed: Filter) -> dict[str, Any]:
    """The filter as Pinecone's JSON."""
    if isinstance(parsed, Group):
        return {parsed.operator: [to_json(child) for child in parsed.children]}
    value = list(parsed.value) if isinstance(parsed.value, tuple) else parsed.value
    return {parsed.field: {parsed.operator: value}}


def fields_of(parsed: Filter) -> frozenset[str]:
    """Metadata keys that the filter looks at."""
    if isinstance(parsed, Condition):
        return frozenset({parsed.field})
    return frozenset().union(*(fields_of(child) for child in parsed.children))


def operators_of(parsed: Filter) -> frozenset[str]:
    """Operators that the filter uses."""
    if isinstance(parsed, Condition):
        return frozenset({parsed.operator})
    return frozenset({parsed.operator}).union(*(operators_of(child) for child in parsed.children))


def matches(parsed: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether a record with this metadata passes: the reference that stores are tested against."""
    if isinstance(parsed, Group):
        results = (matches(child, metadata) for child in parsed.children)
        return all(results) if parsed.operator == "$and" else any(results)
    return _TESTS[parsed.operator](metadata.get(parsed.field), parsed.value)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return any(not isinstance(item, list) and _same(item, wanted) for item in value)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return (type(value) is type(wanted) and value == wanted) or (_number(value) and _number(wanted) and value == wanted)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, wanted: value is not None and _same(value, wanted),
    "$ne": lambda value, wanted: value is None or not _same(value, wanted),
    "$in": lambda value, wanted: value is not None and any(_same(value, w) for w in wanted),
    "$nin": lambda value, wanted: value is None or not any(_same(value, w) for w in wanted),
    "$gt": lambda value, wanted: _number(value) and value > wanted,
    "$gte": lambda value, wanted: _number(value) and value >= wanted,
    "$lt": lambda value, wanted: _number(value) and value < wanted,
    "$lte": lambda value, wanted: _number(value) and value <= wanted,
    "$exists": lambda value, wanted: (value is not None) is wanted,
}
