"""Objects of collections that were made elsewhere: every property is metadata, the UUID is the id, a tenant is a namespace."""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np

from vectorferry.core.errors import RecordError
from vectorferry.core.model import MetadataKind
from vectorferry.core.names import is_uuid
from vectorferry.core.records import canonical_json, kind_of, parse_json
from vectorferry.stores.weaviate.filters import Fields, ForeignFields
from vectorferry.stores.weaviate.objects import Row
from vectorferry.stores.weaviate.proto import base_pb2, batch_pb2, search_get_pb2
from vectorferry.stores.weaviate.schema import Layout, is_object, refers, withheld

INT64 = 1 << 63
_WHOLE = 1 << 53
# As the server gives a moment back, however it was written: no zeros at the end of a fraction, and UTC as Z.
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-](?!00:00)\d\d:\d\d)")
_KINDS = frozenset({"number_value", "bool_value", "date_value", "uuid_value", "int_value", "blob_value", "text_value"})
_LISTED = frozenset({"bool_values", "date_values", "uuid_values", "text_values"})


class ForeignCodec:
    """Reads any property, writes what it gives back unchanged; null and a missing property are the same to Weaviate."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        types = {name: kind for name, kind in layout.foreign_types.items() if name in layout.exact}
        integers = frozenset(name for name, kind in layout.properties.items() if kind == "int")
        self.fields: Fields = ForeignFields(types, integers, layout.nulls)
        self._items = _by_name(layout.shape)
        self._wanted = wanted_properties(layout.shape)

    def tenant(self, namespace: str) -> str | None:
        """The namespace itself; without tenants there is only the default one."""
        return namespace if bool(namespace) is self._layout.tenants else None

    def scope(self, namespace: str) -> base_pb2.Filters | None:
        """The tenant does it."""
        del namespace
        return None

    def uuid(self, namespace: str, id_: str) -> str:
        """The id, which must be a UUID in its usual form, for it is read back as such."""
        del namespace
        if not is_uuid(id_):
            raise RecordError(f"id {id_!r} is not a UUID in lowercase, and this collection keeps no other id")
        return id_

    def check(self, namespace: str, id_: str, metadata: str) -> None:
        """Tenant, UUID and every property, by filling an object that is not sent."""
        if self.tenant(namespace) is None:
            raise RecordError(f"the collection has no place for the namespace {namespace!r}")
        self.uuid(namespace, id_)
        self.fill(batch_pb2.BatchObject(), namespace, id_, metadata)

    def prepare(self, metadata: Sequence[str]) -> None:
        """Nothing: a property that is not there is made by nobody."""

    def fill(self, target: batch_pb2.BatchObject, namespace: str, id_: str, metadata: str) -> None:
        """Each metadata key to the property of that name."""
        del namespace, id_
        _fill(target.properties, self._items, parse_json(metadata))

    def look(self) -> None:
        """Nothing: all properties are asked for, but those that the server withholds, which are named when the collection is opened."""

    def wanted(self, *, ids_only: bool) -> search_get_pb2.PropertiesRequest:
        """All properties but the references, which are read by themselves (see `ReferenceReader`)."""
        return search_get_pb2.PropertiesRequest() if ids_only else self._wanted

    def row(self, result: search_get_pb2.SearchResult, namespace: str) -> Row:
        """The object's UUID and its properties. Raises RecordError for a value that metadata cannot be."""
        values = result.properties.non_ref_props.fields
        try:
            return namespace, result.metadata.id, canonical_json(plain_properties(values))
        except RecordError as error:
            place = f"{self._layout.collection}, namespace {namespace or '(default)'}, id {result.metadata.id}"
            raise RecordError(f"{place}: {error}") from error


def wanted_properties(shape: Sequence[Mapping[str, Any]]) -> search_get_pb2.PropertiesRequest:
    """All properties that are no references; each by its name only where some would be withheld."""
    if not any(map(withheld, shape)):
        return search_get_pb2.PropertiesRequest(return_all_nonref_properties=True)
    plain, objects = _named(shape)
    return search_get_pb2.PropertiesRequest(non_ref_properties=plain, object_properties=objects)


def _named(shape: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[search_get_pb2.ObjectPropertiesRequest]]:
    plain, objects = list[str](), list[search_get_pb2.ObjectPropertiesRequest]()
    for item in shape:
        if is_object(item):
            inside, deeper = _named(item.get("nestedProperties") or ())
            objects.append(
                search_get_pb2.ObjectPropertiesRequest(
                    prop_name=item["name"], primitive_properties=inside, object_properties=deeper
                )
            )
        elif not refers(item):
            plain.append(item["name"])
    return plain, objects


def plain_properties(values: Mapping[str, Any]) -> dict[str, Any]:
    """Properties as JSON values, nulls left out."""
    found = {name: plain_value(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def plain_value(value: Any) -> Any:
    """A property's value as JSON has it, None for null. Raises RecordError for a kind that is not known."""
    which = value.WhichOneof("kind")
    if which in (None, "null_value"):
        return None
    if which in _KINDS:
        return getattr(value, which)
    if which not in _READERS:
        raise RecordError(f"a property has a value of a kind that is not known: {which}")
    return _READERS[which](getattr(value, which))


def _plain_list(value: Any) -> list[Any]:
    which = value.WhichOneof("kind")
    if which is None:
        return []
    items = getattr(value, which).values
    if which == "number_values":
        return list(np.frombuffer(items, "<f8").tolist())
    if which == "int_values":
        return list(np.frombuffer(items, "<i8").tolist())
    if which == "object_values":
        return [plain_properties(item.fields) for item in items]
    if which not in _LISTED:
        raise RecordError(f"a property has a list of a kind that is not known: {which}")
    return list(items)


def _phone(value: Any) -> dict[str, Any]:
    return {
        "input": value.input,
        "defaultCountry": value.default_country,
        "countryCode": value.country_code,
        "internationalFormatted": value.international_formatted,
        "national": value.national,
        "nationalFormatted": value.national_formatted,
        "valid": value.valid,
    }


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "object_value": lambda value: plain_properties(value.fields),
    "list_value": _plain_list,
    "geo_value": lambda value: {"latitude": value.latitude, "longitude": value.longitude},
    "phone_value": _phone,
}


Properties: TypeAlias = batch_pb2.BatchObject.Properties | base_pb2.ObjectPropertiesValue
"""The properties of an object, and those of an object inside of it: messages of the same form."""


def _fill(
    target: Properties, items: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], path: str = ""
) -> None:
    """Each value to the property of its name; `items` are these as the schema has them, `path` is where they are, for messages."""
    for key, value in values.items():
        if key not in items:
            raise RecordError(f"the collection has no property {path + key!r}")
        set_value(target, items[key], value, path)


def set_value(target: Properties, item: Mapping[str, Any], value: Any, path: str) -> None:
    """A value to the property `item`, as the schema has it, inside of `path`. Raises RecordError where it does not fit."""
    name, kind, place = item["name"], item["dataType"][0], path + item["name"]
    if refers(item):
        raise RecordError(f"property {place!r} refers to objects of {', '.join(item['dataType'])}: {_NO_REFERENCES}")
    if kind.endswith("[]"):
        _set_list(target, item, value, place)
    elif kind not in _TAKES or not _TAKES[kind](value):
        how = f": {_HOW[kind]}" if kind in _HOW else ""
        raise RecordError(
            f"property {place!r} of the type {kind} cannot be written from {kind_of(value)} metadata{how}"
        )
    elif kind == "int" and not is_exact_double(value):
        raise RecordError(f"property {place!r} of the type int would round {value}: {_HOW['int']}")
    elif kind == "object":
        made = target.object_properties.add(prop_name=name).value
        made.SetInParent()  # or the server fails on an object without properties
        _fill(made, _by_name(item.get("nestedProperties") or ()), value, f"{place}.")
    elif kind in _PARTS:
        target.non_ref_properties.fields[name].struct_value.update({part: value[part] for part in _PARTS[kind]})
    elif isinstance(value, bool):
        target.non_ref_properties.fields[name].bool_value = value
    elif isinstance(value, str):
        target.non_ref_properties.fields[name].string_value = value
    else:
        target.non_ref_properties.fields[name].number_value = value


def _set_list(target: Properties, item: Mapping[str, Any], value: Any, place: str) -> None:
    name, kind = item["name"], item["dataType"][0].removesuffix("[]")
    if value is None:
        return
    if not isinstance(value, list):
        raise RecordError(f"property {place!r} holds lists, not {kind_of(value)} metadata")
    if not value:
        target.empty_list_props.append(name)
        return
    if kind not in _LISTED_TYPES or not all(map(_TAKES[kind], value)):
        how = f": {_HOW[kind]}" if kind in _HOW else ""
        raise RecordError(f"property {place!r} of the type {kind}[] cannot hold this list{how}")
    if kind == "object":
        made, inside = target.object_array_properties.add(prop_name=name), _by_name(item.get("nestedProperties") or ())
        for each in value:
            _fill(made.values.add(), inside, each, f"{place}.")
    else:
        _LISTS[kind](target, name, value)


def _by_name(items: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in items}


def _add_texts(target: batch_pb2.BatchObject.Properties, name: str, value: Sequence[Any]) -> None:
    target.text_array_properties.add(prop_name=name, values=value)


_LISTS: Mapping[str, Callable[[Any, str, Sequence[Any]], None]] = {
    "text": _add_texts,
    "date": _add_texts,
    "uuid": _add_texts,
    "number": lambda target, name, value: target.number_array_properties.add(
        prop_name=name, values_bytes=np.asarray(value, "<f8").tobytes()
    ),
    "int": lambda target, name, value: target.int_array_properties.add(prop_name=name, values=value),
    "boolean": lambda target, name, value: target.boolean_array_properties.add(prop_name=name, values=value),
}
_LISTED_TYPES = frozenset(_LISTS) | {"object"}


def _is_uuid(value: Any) -> bool:
    """Whether it is a UUID in the form in which the server gives it back."""
    return isinstance(value, str) and is_uuid(value)


def is_moment(value: Any) -> bool:
    """Whether it is a moment by RFC 3339, as the server gives it back."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(value, validate=True) or not value)
    except ValueError:
        return False


def is_number(value: Any) -> bool:
    """Whether it is a number, and not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_int64(value: Any) -> bool:
    """Whether it is an integer of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and -INT64 <= value < INT64


def is_exact_double(value: int) -> bool:
    """Whether a double holds the integer as it is: on its own, and not in a list, it travels as one."""
    return int(float(value)) == value


def _is_double(value: Any) -> bool:
    """Whether it is a number that comes back written as it is: an integer beyond 53 bits would come back as no integer."""
    return isinstance(value, float) or (is_number(value) and abs(value) < _WHOLE)


def _is_place(value: Any) -> bool:
    """Whether it is a place, kept in 32 bits a number."""
    if not isinstance(value, dict) or value.keys() != {"latitude", "longitude"}:
        return False
    numbers = [value["latitude"], value["longitude"]]
    exact = all(is_number(each) and float(np.float32(each)) == each for each in numbers)
    return exact and abs(numbers[0]) <= 90 and abs(numbers[1]) <= 180


def _is_phone(value: Any) -> bool:
    """Whether it is a phone number as the server makes it of its input and country."""
    return isinstance(value, dict) and value.keys() == _PHONE and all(isinstance(value[part], str) for part in _WRITTEN)


_WRITTEN = ("input", "defaultCountry")
_PHONE = {*_WRITTEN, "countryCode", "internationalFormatted", "national", "nationalFormatted", "valid"}
# What is written of a value that has parts; the server makes the others.
_PARTS: Mapping[str, Sequence[str]] = {"geoCoordinates": ("latitude", "longitude"), "phoneNumber": _WRITTEN}
_NO_REFERENCES = (
    "they are not written, for what they lead to must be there first; a collection made by us keeps them as text"
)
_HOW: Mapping[str, str] = {
    "int": "it takes integers of 64 bits, beyond 53 bits those that a double holds (lists take all)",
    "number": "it takes doubles, and integers within 53 bits",
    "date": "it takes moments as Weaviate gives them back, as in 2024-01-02T03:04:05.67Z or 2024-01-02T03:04:05+01:00",
    "geoCoordinates": "it takes {latitude, longitude}, each a number of 32 bits",
    "phoneNumber": f"it takes objects with {', '.join(sorted(_PHONE))}, of which the server makes all but input and defaultCountry anew",
    "blobHash": "it keeps the hash of a blob, which is not the blob",
}
# What a property of a type takes, and gives back as it was.
_TAKES: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "date": is_moment,
    "uuid": _is_uuid,
    "blob": _is_base64,
    "number": _is_double,
    "int": is_int64,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "geoCoordinates": _is_place,
    "phoneNumber": _is_phone,
}

FOREIGN_KINDS = frozenset(MetadataKind) - {MetadataKind.NULL}
"""Kinds of metadata that properties can hold, given that the schema has them."""
