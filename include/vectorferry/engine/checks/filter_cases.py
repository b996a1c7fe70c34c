"""Filter cases for the declared fields, made from staged values: every operator, missing keys, lists, other types."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vectorferry.core.filters import Filter, parse_filter, to_json
from vectorferry.core.model import FieldType
from vectorferry.core.records import canonical_json

_MOST_VALUES = 5_000
_Raw = dict[str, Any]


@dataclass
class FieldValues:
    """Values of one metadata key as they were staged: how often each scalar or list item occurs."""

    seen: Counter[tuple[type, Any]] = field(default_factory=Counter)

    def see(self, value: Any) -> None:
        """Count one value; items of a list are counted one by one."""
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, (str, bool, int, float)) and (len(self.seen) < _MOST_VALUES):
                self.seen[(bool if isinstance(item, bool) else type(item), item)] += 1

    def of(self, kind: type | tuple[type, ...]) -> list[Any]:
        """Distinct values of a type, the most frequent first."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        found = [(-count, repr(value), value) for (type_, value), count in self.seen.items() if type_ in kinds]
        return [value for _, _, value in sorted(found, key=lambda entry: entry[:2])]


def made_filters(fields: Mapping[str, FieldType], values: Mapping[str, FieldValues]) -> list[Filter]:
    """Filters for each declared field, each once."""
    raw = [made for name, kind in fields.items() for made in _for_field(name, kind, values.get(name, FieldValues()))]
    raw += _combined(raw)
    unique = {canonical_json(one): one for one in raw}
    return [parse_filter(one) for one in unique.values()]


def _for_field(name: str, kind: FieldType, values: FieldValues) -> Iterator[_Raw]:
    yield {name: {"$exists": True}}
    yield {name: {"$exists": False}}
    if kind.item not in EQUATED:
        return
    own = values.of(_PYTHON[kind.item])
    if own:
        yield from _equalities(name, own)
    if kind in RANGED and own:
        yield from _ranges(name, sorted(own))
    yield from _other_types(name, kind, values, own)


RANGED = frozenset({FieldType.NUMBER, FieldType.INTEGER})
"""Types that ranges look at: the language compares numbers only."""
_PYTHON: Mapping[FieldType, type | tuple[type, ...]] = {
    FieldType.STRING: str,
    FieldType.NUMBER: (int, float),
    FieldType.INTEGER: (int, float),
    FieldType.BOOLEAN: bool,
    FieldType.DATE: str,
    FieldType.UUID: str,
}
EQUATED = frozenset(_PYTHON)
"""Types, and those of items, whose values equality looks at. Text is for keyword search; objects equal nothing in the language."""


def _equalities(name: str, own: Sequence[Any]) -> Iterator[_Raw]:
    common, rare = own[0], own[-1]
    yield {name: {"$eq": common}}
    yield {name: {"$ne": common}}  # matches records that lack the key, too
    yield {name: {"$in": list(dict.fromkeys([common, rare]))}}
    yield {name: {"$nin": list(dict.fromkeys([common, rare]))}}
    if rare != common:
        yield {name: {"$eq": rare}}


def _ranges(name: str, ordered: Sequence[float]) -> Iterator[_Raw]:
    low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    yield {name: {"$gt": middle}}
    yield {name: {"$gte": middle}}
    yield {name: {"$lt": middle}}
    yield {name: {"$lte": middle}}
    yield {name: {"$gte": low, "$lt": high}}


def _other_types(name: str, kind: FieldType, values: FieldValues, own: Sequence[Any]) -> Iterator[_Raw]:
    """Values of another type than declared: those that were staged, and the declared ones spelt as another type."""
    for other in (str, bool, (int, float)):
        foreign = values.of(other) if other != _PYTHON[kind.item] else []
        if foreign:
            yield {name: {"$eq": foreign[0]}}
    if own and not kind.is_list:
        yield {name: {"$eq": _respelt(own[0])}}


def _respelt(value: Any) -> Any:
    if isinstance(value, str):
        return 1
    return canonical_json({"v": value})[5:-1]


def _combined(raw: Sequence[_Raw]) -> Iterator[_Raw]:
    """Pairs of filters on different fields, or on one where there is only one, under $and and $or."""
    equal = [one for one in raw if any("$eq" in operators for operators in one.values())]
    first = equal[0] if equal else None
    if first is None:
        return
    others = [one for one in raw if one.keys() != first.keys()] or [one for one in raw if one != first]
    for other in others[:2]:
        yield {"$and": [first, other]}
        yield {"$or": [first, other]}


def spelt(where: Filter) -> str:
    """The filter as canonical JSON."""
    return canonical_json(to_json(where))
