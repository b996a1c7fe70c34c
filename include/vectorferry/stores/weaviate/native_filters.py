"""Filters over the native layout: each key's own property, and the overflow for the values that the property does not tell."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Scalar
from vectorferry.core.names import is_uuid
from vectorferry.stores.weaviate.filters import (
    RANGES,
    any_text,
    grouped,
    inexact_term,
    is_plain,
    items_of,
    negated,
    nothing,
    on,
    value_term,
)
from vectorferry.stores.weaviate.foreign_objects import INT64, is_number
from vectorferry.stores.weaviate.properties import OVERFLOW, LiveProperties, Property, PropertyMap
from vectorferry.stores.weaviate.property_values import is_indexed_moment
from vectorferry.stores.weaviate.proto import base_pb2


def overflow_terms(key: str, value: Any, *, values: bool = True) -> list[str]:
    """What filters need of a value that its key's property does not tell: that the key is there, and with `values` each value of it."""
    return [inexact_term(key), *(value_term(key, item) for item in items_of(value) if values)]


class NativeFields:
    """Any key is a field: what has no property is wholly in the overflow, whose terms tell it exactly."""

    def __init__(self, live: LiveProperties) -> None:
        self._live = live

    def equal(self, field: str, operator: str, values: Sequence[Scalar]) -> base_pb2.Filters:
        """The property's values, where it tells them, or a term."""
        now, found = self._look(field)
        if found is not None and found.item == "text" and not found.equated:
            raise FilterError(
                f"{operator} on {field!r}: the property {found.name!r} holds text for keyword search; only a string filters exactly: "
                "declare the field as one under `fields`, before the collection is made"
            )
        self._refuse_unindexed(found, field, operator)
        terms = any_text(OVERFLOW, [value_term(field, value) for value in values]) if now.overflow else None
        exact = None if found is None else _any_of(found, values)
        if exact is not None and now.overflow:
            exact = grouped("AND", [exact, negated(any_text(OVERFLOW, [inexact_term(field)]))])
        either = [part for part in (exact, terms) if part is not None]
        return grouped("OR", either) if either else nothing()

    def exists(self, field: str, operator: str) -> base_pb2.Filters:
        """The property has a value, or the overflow."""
        now, found = self._look(field)
        if found is not None and not found.tells_missing:
            raise FilterError(
                f"{operator} on {field!r}: Weaviate does not tell which objects have the property {found.name!r} of the type {found.item}"
            )
        inside = None if found is None else on("IS_NULL", found.name, value_boolean=False)
        over = any_text(OVERFLOW, [inexact_term(field)]) if now.overflow else None
        either = [part for part in (inside, over) if part is not None]
        return grouped("OR", either) if either else nothing()

    def compare(self, field: str, operator: str, value: float) -> base_pb2.Filters:
        """A range of a property of numbers; bounds of integers are rounded inwards."""
        _, found = self._look(field)
        if found is None or found.is_list or found.item not in ("number", "int"):
            what = "has no property" if found is None else f"is a property of the type {found.shape['dataType'][0]}"
            raise FilterError(f"{operator} on {field!r}: it {what}, ranges need a number or an integer")
        self._refuse_unindexed(found, field, operator)
        if found.item == "number":
            return on(RANGES[operator], found.name, value_number=float(value))
        bound = math.floor(value) if operator in ("$gt", "$lte") else math.ceil(value)
        if -INT64 <= bound < INT64:
            return on(RANGES[operator], found.name, value_int=bound)
        passes = (bound < 0) == (operator in ("$gt", "$gte"))
        return on("IS_NULL", found.name, value_boolean=False) if passes else nothing()

    def _look(self, field: str) -> tuple[PropertyMap, Property | None]:
        now = self._live.now
        if field not in now.by_key or not now.overflow:
            # Another writer may have made the property, or the overflow, meanwhile.
            now = self._live.look()
        return now, now.by_key.get(field)

    def _refuse_unindexed(self, found: Property | None, field: str, operator: str) -> None:
        if found is not None and not found.filterable:
            raise FilterError(f"{operator} on {field!r}: the property {found.name!r} is not filterable")


def _any_of(found: Property, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    """The property is, or contains, one of those values that it can be; None where it can be none of them."""
    return _ANY[found.item](found.name, values) if found.item in _ANY else None


def _any_text(name: str, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    plain = [value for value in values if isinstance(value, str) and is_plain(value)]
    return any_text(name, plain) if plain else None


def _any_uuid(name: str, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    return _any_text(name, [value for value in values if isinstance(value, str) and is_uuid(value)])


def _any_date(name: str, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    return _any_text(name, [value for value in values if is_indexed_moment(value)])


def _any_number(name: str, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    plain = [float(value) for value in values if is_number(value) and is_plain(value)]
    return on("CONTAINS_ANY", name, value_number_array=base_pb2.NumberArray(values=plain)) if plain else None


def _any_integer(name: str, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    whole = [int(value) for value in values if is_number(value) and int(value) == value and -INT64 <= value < INT64]
    return on("CONTAINS_ANY", name, value_int_array=base_pb2.IntArray(values=whole)) if whole else None


def _any_boolean(name: str, values: Sequence[Scalar]) -> base_pb2.Filters | None:
    plain = [value for value in values if isinstance(value, bool)]
    return on("CONTAINS_ANY", name, value_boolean_array=base_pb2.BooleanArray(values=plain)) if plain else None


_ANY: Mapping[str, Callable[[str, Sequence[Scalar]], base_pb2.Filters | None]] = {
    "text": _any_text,
    "uuid": _any_uuid,
    "date": _any_date,
    "number": _any_number,
    "int": _any_integer,
    "boolean": _any_boolean,
}
