"""Properties of the native layout: the metadata key that each of them holds, as what, and what its index tells exactly."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from vectorferry.core.model import FieldOptions, FieldType
from vectorferry.core.names import property_names

OVERFLOW = "vf_overflow"
"""What no property of its own holds, or whose index does not tell it: made by the first record that has such a value."""
LONG_NAMESPACE = "vf_namespace"
"""With tenants: the namespace, in records of those whose tenant's name is a hash."""
ID, NAMESPACE = "id", "namespace"
"""What a property of ours is, by its description."""
MOST_PROPERTIES = 200
"""Properties that a collection has before further keys that nobody declared go to the overflow."""
FIELD, WORD = "field", "word"
_TYPES: Mapping[FieldType, str] = {
    FieldType.STRING: "text",
    FieldType.TEXT: "text",
    FieldType.NUMBER: "number",
    FieldType.INTEGER: "int",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.UUID: "uuid",
    FieldType.GEO: "geoCoordinates",
}
_LISTS = {kind.item: kind for kind in FieldType if kind.is_list}
_FIELDS = {name: kind for kind, name in _TYPES.items() if kind is not FieldType.STRING}
_RANGED = frozenset({"number", "int", "date"})
_EQUATED = frozenset({"text", "number", "int", "boolean", "date", "uuid"})


@dataclass(frozen=True, slots=True)
class Property:
    """One property as the schema has it. `item` is its data type, or that of the items of its list."""

    name: str
    key: str
    item: str
    is_list: bool
    tokenization: str
    filterable: bool
    searchable: bool
    shape: Mapping[str, Any]

    @property
    def equated(self) -> bool:
        """Whether its index tells equality exactly, but for the values that `told_exactly` names."""
        return self.filterable and self.item in _EQUATED and (self.item != "text" or self.tokenization == FIELD)

    @property
    def tells_missing(self) -> bool:
        """Whether its index tells objects that have a value: the server keeps none of places, objects and blobs."""
        return self.filterable and self.item in _EQUATED

    @property
    def kind(self) -> FieldType | None:
        """Its type as people declare it, None where it is none of these."""
        kind = FieldType.STRING if self.item == "text" and self.tokenization == FIELD else _FIELDS.get(self.item)
        return kind if kind is None or not self.is_list else _LISTS.get(kind)

    @property
    def options(self) -> FieldOptions:
        """What of it is not as its type says."""
        text = self.kind is not None and self.kind.item is FieldType.TEXT
        searchable = None if self.item != "text" or self.searchable == text else self.searchable
        return FieldOptions(
            searchable, self.filterable, self.tokenization if text and self.tokenization != WORD else ""
        )


@dataclass(frozen=True)
class PropertyMap:
    """All properties of a collection: the one of the source's ids, that of namespaces (empty with tenants), and one for each key."""

    id: str
    namespace: str
    properties: Mapping[str, Property]
    overflow: bool
    long_namespace: bool

    @cached_property
    def by_key(self) -> Mapping[str, Property]:
        """The property of each key."""
        return {found.key: found for found in self.properties.values()}

    @cached_property
    def taken(self) -> frozenset[str]:
        """Names that no further property can have: the server tells them apart by their letters, not by the case of these."""
        own = {self.id, self.namespace, OVERFLOW, LONG_NAMESPACE}
        return frozenset(name.lower() for name in {*own, *self.properties})

    @property
    def fields(self) -> dict[str, FieldType]:
        """Keys with the types that people declare."""
        return {found.key: found.kind for found in self.properties.values() if found.kind is not None}

    @property
    def options(self) -> dict[str, FieldOptions]:
        """Options of those fields that have some."""
        plain = FieldOptions()
        return {found.key: found.options for found in self.properties.values() if found.kind and found.options != plain}


def property_map(shape: Iterable[Mapping[str, Any]]) -> PropertyMap | None:
    """The properties of a collection of the native layout, None for one of another layout."""
    items = {item["name"]: item for item in shape}
    ours = {_described(item).get("vectorferry"): name for name, item in items.items()}
    if ID not in ours:
        return None
    own = {*ours.values(), OVERFLOW, LONG_NAMESPACE}
    found = {name: _property(item) for name, item in items.items() if name not in own or not _is_ours(name, item)}
    return PropertyMap(ours[ID], ours.get(NAMESPACE, ""), found, OVERFLOW in items, LONG_NAMESPACE in items)


def _is_ours(name: str, item: Mapping[str, Any]) -> bool:
    return name in (OVERFLOW, LONG_NAMESPACE) or "vectorferry" in _described(item)


def _property(item: Mapping[str, Any]) -> Property:
    kind = str(item["dataType"][0])
    return Property(
        item["name"],
        str(_described(item).get("field", item["name"])),
        kind.removesuffix("[]"),
        kind.endswith("[]"),
        str(item.get("tokenization") or ""),
        bool(item.get("indexFilterable")),
        bool(item.get("indexSearchable")),
        item,
    )


def _described(item: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        found = orjson.loads(item.get("description") or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


# --- Making properties


def native_properties(
    fields: Mapping[str, FieldType], options: Mapping[str, FieldOptions], id_: str, namespace: str
) -> list[dict[str, Any]]:
    """The properties of a new collection; `namespace` is empty with tenants. An object has none of its own."""
    made = [_text(id_, "text", FIELD) | _says(vectorferry=ID)]
    if namespace:
        made.append(_text(namespace, "text", FIELD) | _says(vectorferry=NAMESPACE))
    taken = {id_.lower(), namespace.lower()}
    for key, kind in fields.items():
        if kind is not FieldType.OBJECT:
            made.append(property_of(key, kind, options.get(key, FieldOptions()), taken))
            taken.add(made[-1]["name"].lower())
    return made


def property_of(key: str, kind: FieldType, options: FieldOptions, taken: "set[str] | frozenset[str]") -> dict[str, Any]:
    """The property for a key, under a name that none of those `taken` (in lower case) is."""
    name = next(each for each in property_names(key) if each.lower() not in taken)
    data_type = _TYPES[kind.item] + ("[]" if kind.is_list else "")
    if kind.item in (FieldType.STRING, FieldType.TEXT):
        text = kind.item is FieldType.TEXT
        made = _text(name, data_type, options.tokenization or (WORD if text else FIELD))
        made["indexSearchable"] = text if options.searchable is None else options.searchable
    else:
        made = {"name": name, "dataType": [data_type]}
    made["indexFilterable"] = options.filterable
    if data_type in _RANGED:
        made["indexRangeFilters"] = options.filterable
    # A name that had to be encoded, perhaps hashed, does not tell the key.
    return made | _says(field=key)


def _text(name: str, data_type: str, tokenization: str) -> dict[str, Any]:
    made = {"name": name, "dataType": [data_type], "tokenization": tokenization}
    return made | {"indexFilterable": True, "indexSearchable": False}


def _says(**what: str) -> dict[str, str]:
    return {"description": json.dumps(what)}


class LiveProperties:
    """The properties of a collection to which writers, ours and others, add some at any time. Thread-safe."""

    def __init__(
        self,
        found: PropertyMap,
        read: Callable[[], Sequence[Mapping[str, Any]]],
        add: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """`read` returns the properties as the schema has them now; `add` makes one, unless its name is taken meanwhile."""
        self._found, self._read, self._add = found, read, add
        self._lock = threading.Lock()

    @property
    def now(self) -> PropertyMap:
        """As they were last read."""
        return self._found

    def look(self) -> PropertyMap:
        """Read them anew."""
        found = property_map(self._read())
        if found is not None:
            self._found = found
        return self._found

    def grow(self, seen: Mapping[str, FieldType]) -> None:
        """Have a property for each of these keys, as far as the collection does not have too many."""
        with self._lock:
            for key, kind in seen.items():
                # One that another writer made meanwhile is known only once the schema was read again.
                for _ in property_names(key):
                    now = self._found
                    if key in now.by_key or len(now.properties) >= MOST_PROPERTIES:
                        break
                    self._add(property_of(key, kind, FieldOptions(), now.taken))
                    self.look()

    def need_overflow(self) -> None:
        """Have the overflow."""
        self._need(OVERFLOW, "text[]")

    def need_long_namespace(self) -> None:
        """Have the property for namespaces whose tenant does not tell them."""
        self._need(LONG_NAMESPACE, "text")

    def _need(self, name: str, data_type: str) -> None:
        with self._lock:
            if not self._has(name):
                self._add(_text(name, data_type, FIELD) | _says(vectorferry=name))
                self.look()

    def _has(self, name: str) -> bool:
        return self._found.overflow if name == OVERFLOW else self._found.long_namespace
