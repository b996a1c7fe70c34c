"""Filters as Qdrant's conditions, with the meaning of Pinecone's filters, whatever payload indexes there are.

An index changes what a condition means: one of integers hides other numbers from ranges, one of dates all numbers, and one of UUIDs finds
their other spellings; texts that are UUIDs are not found by equality through an index of numbers. So text is matched in a way that no
index takes for UUIDs, numbers by ranges, and what an index would hide is refused.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import OPERATORS, Condition, Filter, Group
from vectorferry.core.model import FieldType
from vectorferry.core.records import canonical_json
from vectorferry.stores.qdrant import messages
from vectorferry.stores.qdrant.payloads import OVERFLOW, comes_back
from vectorferry.stores.qdrant.schema import Layout, path_of

FOREIGN_OPERATORS = OPERATORS - {"$exists"}
"""In a collection of others nothing tells an empty list from a key that is missing."""
_EXACT = 1 << 53
_STEPS, _ULPS = 3, 4
_NO_UUID = "\0 no UUID"
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "$eq": lambda value, wanted: value == wanted,
    "$gt": lambda value, wanted: value > wanted,
    "$gte": lambda value, wanted: value >= wanted,
    "$lt": lambda value, wanted: value < wanted,
    "$lte": lambda value, wanted: value <= wanted,
}
_BOUNDS = {"$gt": ("gt",), "$gte": ("gte",), "$lt": ("lt",), "$lte": ("lte",), "$eq": ("gte", "lte")}


def all_of(*conditions: Any) -> Any:
    """The condition that all of these hold."""
    return messages.Condition(filter=messages.Filter(must=conditions))


def any_of(*conditions: Any) -> Any:
    """The condition that one of these holds."""
    return messages.Condition(filter=messages.Filter(should=conditions))


def none_of(*conditions: Any) -> Any:
    """The condition that none of these holds."""
    return messages.Condition(filter=messages.Filter(must_not=conditions))


def is_empty(path: str) -> Any:
    """The condition that a payload key is missing, null or an empty list."""
    made = messages.Condition()
    made.is_empty.key = path
    return made


def is_text(path: str, texts: Sequence[str]) -> Any:
    """The condition that a payload key is one of these texts, or a list with one of them."""
    made = messages.Condition()
    made.field.key = path
    if len(texts) == 1 and not _is_like_uuid(texts[0]):
        made.field.match.keyword = texts[0]
    else:
        # With one that is no UUID among them no index takes them for UUIDs.
        made.field.match.keywords.strings.extend([*texts, _NO_UUID] if all(map(_is_like_uuid, texts)) else texts)
    return made


def _is_like_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def in_namespace(layout: Layout, namespace: str) -> list[Any]:
    """The conditions that a point is of a namespace; none where all are."""
    path = namespace_path(layout)
    if not path:
        return []
    if namespace:
        return [is_text(path, [namespace])]
    return [any_of(is_empty(path), is_text(path, [""]))]


def namespace_path(layout: Layout) -> str:
    """The path of the payload key that tells namespaces; empty where there is none."""
    return path_of(layout.namespace_field) if layout.own else layout.namespace_field


class Compiler:
    """Compiles filters for one collection; `declared` are the fields that the spec declares."""

    def __init__(self, layout: Layout, declared: Mapping[str, FieldType], store: str) -> None:
        self._layout, self._declared, self._store = layout, declared, store

    def __call__(self, where: Filter) -> Any:
        """One condition. Raises FilterError for what has no exact meaning here."""
        if isinstance(where, Group):
            return (all_of if where.operator == "$and" else any_of)(*map(self, where.children))
        operator, value = where.operator, where.value
        if operator in ("$ne", "$nin"):
            positive = Condition(where.field, "$eq" if operator == "$ne" else "$in", value)
            return none_of(self(positive))
        if operator == "$exists":
            there = self._exists(where.field)
            return there if value else none_of(there)
        if isinstance(value, tuple):
            return self._among(where.field, value)
        if isinstance(value, str):
            return is_text(self._path(where.field), [value])
        if isinstance(value, bool):
            made = messages.Condition()
            made.field.key, made.field.match.boolean = self._path(where.field), value
            return made
        return self._number(where.field, operator, value)

    def _path(self, field: str) -> str:
        layout = self._layout
        name = layout.payload_key(field)
        if name != field and not layout.own:
            raise FilterError(f"{self._store} cannot filter by {field!r}: no path leads to such a payload key")
        if not layout.own and layout.namespace_field == field:
            raise FilterError(f"{self._store} cannot filter by {field!r}: it tells the namespace")
        return path_of(name)

    def _overflow(self, field: str) -> str:
        return f"{OVERFLOW}.{path_of(self._layout.payload_key(field))}"

    def _exists(self, field: str) -> Any:
        if not self._layout.own:
            raise FilterError(
                f"{self._store} does not support the operator $exists on {field!r}: it cannot tell an empty list from nothing"
            )
        path = self._path(field)
        null = messages.Condition()
        null.is_null.key = path
        empty_list = all_of(is_empty(path), none_of(null), is_text(self._overflow(field), ["[]"]))
        return any_of(none_of(is_empty(path)), empty_list)

    def _among(self, field: str, values: Sequence[Any]) -> Any:
        texts = [value for value in values if isinstance(value, str)]
        others = [self(Condition(field, "$eq", value)) for value in values if not isinstance(value, str)]
        return any_of(*([is_text(self._path(field), texts)] if texts else ()), *others)

    # --- Numbers

    def _number(self, field: str, operator: str, value: float) -> Any:
        path = self._path(field)
        self._refuse_number(field, path, operator, value)
        wanted = float(value)
        found = self._told_exactly(field, path, operator, wanted)
        if operator == "$eq":
            return found
        # A range looks into lists, too.
        of_items = [_within(f"{path}[]", operator, wanted), _near(f"{path}[]", wanted)]
        return messages.Condition(filter=messages.Filter(must=[found], must_not=of_items))

    def _told_exactly(self, field: str, path: str, operator: str, wanted: float) -> Any:
        """The condition with the numbers next to the one that is wanted told by their exact JSON: the payload may hold them a bit off."""
        near = _neighbours(wanted)
        holds = _HOLDS[operator]
        right = [_json(each) for each in near if holds(each, wanted)]
        wrong = [_json(each) for each in near if not holds(each, wanted) and not comes_back(each)]
        zone, overflow = _near(path, wanted), self._overflow(field)
        found = _within(path, operator, wanted)
        if wrong:
            mistaken = all_of(zone, is_text(overflow, wrong))
            found = messages.Condition(filter=messages.Filter(must=[found], must_not=[mistaken]))
        return any_of(found, all_of(zone, is_text(overflow, right))) if right else found

    def _refuse_number(self, field: str, path: str, operator: str, value: float) -> None:
        if not math.isfinite(value) or abs(value) >= _EXACT:
            raise FilterError(
                f"{self._store} cannot compare {field!r} with {value}: beyond 53 bits numbers are rounded there"
            )
        index = self._layout.indexes.get(path)
        if index == "Datetime":
            raise FilterError(
                f"{self._store} cannot filter {field!r} by numbers: its index is of dates, and hides them"
            )
        if index == "Integer" and not self._whole(field) and not (operator == "$eq" and float(value).is_integer()):
            raise FilterError(
                f"{self._store} cannot use {operator} with {value} on {field!r}: its index is of integers, and hides other numbers; "
                "declare the field as integer if there are none"
            )

    def _whole(self, field: str) -> bool:
        """Whether a field has no numbers but whole ones: ours take no others, of one of others the spec says so."""
        kind = self._declared.get(field) or (self._layout.fields.get(field) if self._layout.own else None)
        return kind is not None and kind.item is FieldType.INTEGER


def _within(path: str, operator: str, wanted: float) -> Any:
    made = messages.Condition()
    made.field.key = path
    for bound in _BOUNDS[operator]:
        setattr(made.field.range, bound, wanted)
    return made


def _near(path: str, wanted: float) -> Any:
    """The condition that a number is the wanted one, or so near to it that rounding may have made the difference."""
    made = messages.Condition()
    made.field.key = path
    reach = _ULPS * math.ulp(wanted)
    made.field.range.gte, made.field.range.lte = wanted - reach, wanted + reach
    return made


def _neighbours(wanted: float) -> list[float]:
    found = [wanted]
    for towards in (-math.inf, math.inf):
        each = wanted
        for _ in range(_STEPS):
            each = math.nextafter(each, towards)
            found.append(each)
    return found


def _json(value: float) -> str:
    return canonical_json({"": value})[4:-1]
