"""Values of properties in the native layout: what a property takes and gives back as it was, and what its index tells of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from vectorferry.core.errors import RecordError
from vectorferry.core.model import FieldType, MetadataKind
from vectorferry.core.records import kind_of
from vectorferry.stores.weaviate.foreign_objects import (
    INT64,
    is_int64,
    is_moment,
    is_number,
    set_value,
)
from vectorferry.stores.weaviate.properties import Property
from vectorferry.stores.weaviate.proto import base_pb2, batch_pb2

_KINDS = {
    MetadataKind.STRING: FieldType.TEXT,
    MetadataKind.NUMBER: FieldType.NUMBER,
    MetadataKind.BOOLEAN: FieldType.BOOLEAN,
    MetadataKind.STRINGS: FieldType.TEXTS,
}


def put_value(target: batch_pb2.BatchObject.Properties, found: Property, value: Any) -> bool:
    """Write a value to its property; False where it would not come back as it is, and nothing was written."""
    try:
        if found.item == "object":  # which is written part by part
            set_value(base_pb2.ObjectPropertiesValue(), found.shape, value, "")
        set_value(target, found.shape, value, "")
    except RecordError:
        return False
    return True


def put_shadow(target: batch_pb2.BatchObject.Properties, found: Property, value: Any) -> None:
    """What ranges look at of a number that its property does not hold exactly: the nearest that it holds."""
    if found.is_list or not is_number(value):
        return
    if found.item == "number":
        target.non_ref_properties.fields[found.name].number_value = float(value)
    elif found.item == "int" and -INT64 <= value < INT64:
        target.non_ref_properties.fields[found.name].number_value = _nearest(value)


def is_shadow(found: Property, held: Any, value: Any) -> bool:
    """Whether a property holds what `put_shadow` wrote of a value."""
    if found.is_list or not is_number(value) or not is_number(held):
        return False
    return bool(float(held) == (float(value) if found.item == "number" else _nearest(value)))


def _nearest(value: int) -> float:
    # The double next to the largest integer of 64 bits is one too large.
    return min(float(value), float(INT64 - 1024))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def told_exactly(found: Property, value: Any) -> bool:
    """Whether the property's index tells a value that it holds: that it is there, and what it equals."""
    if value in ("", []):
        return False
    items = _items(value)
    if found.item == "text" and found.equated:
        return all(item == item.strip() for item in items)
    return found.item != "date" or all(map(is_indexed_moment, items))


def is_indexed_moment(value: Any) -> bool:
    """Whether an index tells this moment from all others: it keeps nanoseconds in 64 bits, and no offset."""
    return is_moment(value) and value.endswith("Z") and 1678 <= int(value[:4]) <= 2261


def seen_types(keys: Iterable[str], records: Iterable[Mapping[str, Any]]) -> dict[str, FieldType]:
    """A type for each of these keys, that of most of its values; none for a key of objects, mixed lists and nulls."""
    counts: dict[str, dict[FieldType, int]] = {key: {} for key in keys}
    for record in records:
        for key in counts.keys() & record.keys():
            kind = _type_of(record[key])
            if kind is not None:
                counts[key][kind] = counts[key].get(kind, 0) + 1
    return {key: max(kinds, key=lambda kind: kinds[kind]) for key, kinds in counts.items() if kinds}


def _type_of(value: Any) -> FieldType | None:
    if value == []:
        return None
    kind = kind_of(value)
    if kind is not MetadataKind.LIST:
        return _KINDS.get(kind)
    if all(map(is_number, value)):
        return FieldType.NUMBERS
    return FieldType.BOOLEANS if all(isinstance(item, bool) for item in value) else None


def unfit_integer(value: Any) -> bool:
    """Whether a number is none that a field of integers can have: ranges over it would not find it."""
    return is_number(value) and not is_int64(value)
