"""Filters compiled to Weaviate's, exactly as `vectorferry.core.filters` means them, or refused naming the operator and the field."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Condition, Filter, Group, Scalar
from vectorferry.core.model import FieldType, MetadataKind
from vectorferry.core.records import canonical_json, kind_of
from vectorferry.stores.weaviate.proto import base_pb2

KEYS = "vf_keys"
RANGES = {
    "$gt": "GREATER_THAN",
    "$gte": "GREATER_THAN_EQUAL",
    "$lt": "LESS_THAN",
    "$lte": "LESS_THAN_EQUAL",
}
_VALUE_KINDS = {
    FieldType.STRING: (MetadataKind.STRING,),
    FieldType.STRINGS: (MetadataKind.STRING,),
    FieldType.NUMBER: (MetadataKind.NUMBER,),
    FieldType.BOOLEAN: (MetadataKind.BOOLEAN,),
}

# Values come from JSON, so that their types are exactly these.
_PYTHON_TYPES: Mapping[FieldType, tuple[type, ...]] = {
    FieldType.STRING: (str,),
    FieldType.NUMBER: (int, float),
    FieldType.BOOLEAN: (bool,),
}


# --- Weaviate's filters


def on(operator: str, name: str, **value: Any) -> base_pb2.Filters:
    """A condition on one property, or on `_id`; `value` is one of the message's value_… fields."""
    target = base_pb2.FilterTarget(property=name)
    return base_pb2.Filters(operator=f"OPERATOR_{operator}", target=target, **value)


def any_text(name: str, values: Sequence[str]) -> base_pb2.Filters:
    """The property is, or contains, one of these texts."""
    return on("CONTAINS_ANY", name, value_text_array=base_pb2.TextArray(values=values))


def both(*parts: base_pb2.Filters | None) -> base_pb2.Filters | None:
    """All the filters given; None passes everything."""
    filters = [part for part in parts if part is not None]
    return grouped("AND", filters) if filters else None


def grouped(operator: str, parts: Sequence[base_pb2.Filters]) -> base_pb2.Filters:
    """Filters under AND or OR."""
    return parts[0] if len(parts) == 1 else base_pb2.Filters(operator=f"OPERATOR_{operator}", filters=parts)


def negated(part: base_pb2.Filters) -> base_pb2.Filters:
    """What does not pass the filter, objects without the property included."""
    return base_pb2.Filters(operator="OPERATOR_NOT", filters=[part])


# --- What is indexed of a record's metadata


def typed_value(value: Any, kind: FieldType) -> Any:
    """What a typed property holds of a metadata value: None where the value is of another type, numbers as doubles."""
    if kind is FieldType.STRINGS:
        return value if kind_of(value) is MetadataKind.STRINGS else None
    if type(value) not in _PYTHON_TYPES[kind]:
        return None
    return float(value) if kind is FieldType.NUMBER else value


def index_terms(metadata: Mapping[str, Any], fields: Mapping[str, FieldType]) -> list[str]:
    """Entries of `vf_keys`: what typed properties cannot tell. A JSON text each, so that trimming and quotes never confuse two.

    `"key"` says that the key is there. `"key":` says that the typed property does not tell the key's value exactly, because the value
    has another type, is too large an integer, or is text with outer spaces, which the server's tokenizer cuts off; then
    `"key":value` follows for the value, or for each item of a list.
    """
    terms = []
    for key, value in metadata.items():
        if value is None:
            continue
        terms.append(presence_term(key))
        if key in fields and not _is_exact(value, fields[key]):
            terms += [inexact_term(key), *(value_term(key, item) for item in items_of(value))]
    return terms


@lru_cache(4096)
def presence_term(key: str) -> str:
    """The entry that says that a key is there."""
    return inexact_term(key)[:-1]


def inexact_term(key: str) -> str:
    """The entry that says that a key is there and that its property does not tell the value exactly."""
    return value_term(key, None).removesuffix("null")


def value_term(key: str, value: Any) -> str:
    """The entry for a value of a key."""
    return canonical_json({key: value})[1:-1]


def items_of(value: Any) -> list[Any]:
    """What of a value filters compare: itself, or what a list holds."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, (str, int, float))]


def _is_exact(value: Any, kind: FieldType) -> bool:
    if typed_value(value, kind) is None:
        return False
    return all(map(is_plain, value)) if kind is FieldType.STRINGS else is_plain(value)


def is_plain(value: Any) -> bool:
    """Whether an index tells the value as it is: no outer spaces, and no integer that a double rounds."""
    if isinstance(value, str):
        return value == value.strip()
    return not isinstance(value, int) or int(float(value)) == value


# --- Compiling


class Fields(Protocol):
    """How the metadata keys of a collection can be filtered."""

    def equal(self, field: str, operator: str, values: Sequence[Scalar]) -> base_pb2.Filters:
        """The key's value equals, or contains, one of these."""
        ...

    def exists(self, field: str, operator: str) -> base_pb2.Filters:
        """The key is there."""
        ...

    def compare(self, field: str, operator: str, value: float) -> base_pb2.Filters:
        """The key's value is a number in a range."""
        ...


def compile_filter(where: Filter, fields: Fields) -> base_pb2.Filters:
    """The filter in Weaviate's terms. Raises FilterError for a field that is not declared or an operator that would be inexact."""
    if isinstance(where, Group):
        children = [compile_filter(child, fields) for child in where.children]
        return grouped("AND" if where.operator == "$and" else "OR", children)
    return _COMPILERS[where.operator](where, fields)


def _compile_equal(condition: Condition, fields: Fields) -> base_pb2.Filters:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return fields.equal(condition.field, condition.operator, values)


def _compile_exists(condition: Condition, fields: Fields) -> base_pb2.Filters:
    found = fields.exists(condition.field, condition.operator)
    return found if condition.value else negated(found)


def _compile_range(condition: Condition, fields: Fields) -> base_pb2.Filters:
    assert isinstance(condition.value, (int, float))
    return fields.compare(condition.field, condition.operator, condition.value)


_COMPILERS: Mapping[str, Callable[[Condition, Fields], base_pb2.Filters]] = {
    "$eq": _compile_equal,
    "$in": _compile_equal,
    "$ne": lambda condition, fields: negated(_compile_equal(condition, fields)),
    "$nin": lambda condition, fields: negated(_compile_equal(condition, fields)),
    "$exists": _compile_exists,
    **dict.fromkeys(RANGES, _compile_range),
}


@dataclass(frozen=True, slots=True)
class DeclaredFields:
    """Fields of our own layout: typed properties, and `vf_keys` for what these cannot tell, so that every answer is exact."""

    types: Mapping[str, FieldType]
    names: Mapping[str, str]

    def equal(self, field: str, operator: str, values: Sequence[Scalar]) -> base_pb2.Filters:
        """Typed values that are told exactly, or a term for those that are not."""
        kind = self._type(field, operator)
        terms = any_text(KEYS, [value_term(field, value) for value in values])
        plain = [value for value in values if kind_of(value) in _VALUE_KINDS[kind] and is_plain(value)]
        if not plain:
            return terms
        exact = [_any_value(self.names[field], kind, plain), negated(any_text(KEYS, [inexact_term(field)]))]
        return grouped("OR", [grouped("AND", exact), terms])

    def exists(self, field: str, operator: str) -> base_pb2.Filters:
        """The key is among those listed."""
        self._type(field, operator)
        return any_text(KEYS, [presence_term(field)])

    def compare(self, field: str, operator: str, value: float) -> base_pb2.Filters:
        """Only a field of numbers has ranges: elsewhere the numbers among the values are not indexed as such."""
        kind = self._type(field, operator)
        if kind is not FieldType.NUMBER:
            raise FilterError(f"{operator} on {field!r}: the field is declared as {kind}, ranges need a number")
        return on(RANGES[operator], self.names[field], value_number=float(value))

    def _type(self, field: str, operator: str) -> FieldType:
        if field not in self.types:
            raise FilterError(f"{operator} on {field!r}: Weaviate filters by declared fields only, and this one is not")
        return self.types[field]


@dataclass(frozen=True, slots=True)
class ForeignFields:
    """Properties of a collection that was made elsewhere, as far as its indexes answer exactly.

    `types` holds those with a filterable index and, if they are text, the tokenization FIELD; `integers` those of the type int.
    `nulls`: missing values are indexed.
    """

    types: Mapping[str, FieldType]
    integers: frozenset[str]
    nulls: bool

    def equal(self, field: str, operator: str, values: Sequence[Scalar]) -> base_pb2.Filters:
        """The property's values; text with outer spaces is refused, for the tokenizer cuts them off."""
        kind = self._type(field, operator)
        plain = [value for value in values if kind_of(value) in _VALUE_KINDS[kind]]
        if any(isinstance(value, str) and not is_plain(value) for value in plain):
            raise FilterError(f"{operator} on {field!r}: this collection's index ignores outer spaces")
        if field in self.integers:
            return _any_integer(field, [int(value) for value in plain if float(value).is_integer()])
        return _any_value(field, kind, plain) if plain else nothing()

    def exists(self, field: str, operator: str) -> base_pb2.Filters:
        """The property is not null."""
        self._type(field, operator)
        if not self.nulls:
            raise FilterError(f"{operator} on {field!r}: the collection was made without indexNullState")
        return on("IS_NULL", field, value_boolean=False)

    def compare(self, field: str, operator: str, value: float) -> base_pb2.Filters:
        """A range of the property; bounds of integers are rounded inwards."""
        if self._type(field, operator) is not FieldType.NUMBER:
            raise FilterError(f"{operator} on {field!r}: the property does not hold numbers")
        if field in self.integers:
            bound = math.floor(value) if operator in ("$gt", "$lte") else math.ceil(value)
            return on(RANGES[operator], field, value_int=bound)
        return on(RANGES[operator], field, value_number=float(value))

    def _type(self, field: str, operator: str) -> FieldType:
        if field not in self.types:
            raise FilterError(f"{operator} on {field!r}: the collection has no such property that filters exactly")
        return self.types[field]


def _any_value(name: str, kind: FieldType, values: Sequence[Any]) -> base_pb2.Filters:
    if kind is FieldType.NUMBER:
        return on("CONTAINS_ANY", name, value_number_array=base_pb2.NumberArray(values=[float(v) for v in values]))
    if kind is FieldType.BOOLEAN:
        return on("CONTAINS_ANY", name, value_boolean_array=base_pb2.BooleanArray(values=values))
    return any_text(name, values)


def _any_integer(name: str, values: Sequence[int]) -> base_pb2.Filters:
    if not values:
        return nothing()
    return on("CONTAINS_ANY", name, value_int_array=base_pb2.IntArray(values=values))


def nothing() -> base_pb2.Filters:
    """A filter that no object of ours passes."""
    return on("EQUAL", "_id", value_text="00000000-0000-0000-0000-000000000000")
