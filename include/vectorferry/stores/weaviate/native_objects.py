"""Objects of the native layout: each metadata key is a property of its own, and what no property holds exactly is in the overflow."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import FieldType
from vectorferry.core.names import HASHED, decode_tenant, encode_scope, encode_tenant, record_uuid_text
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.stores.row_limits import Reason
from vectorferry.stores.weaviate.filters import Fields, on
from vectorferry.stores.weaviate.foreign_objects import plain_value, wanted_properties
from vectorferry.stores.weaviate.native_filters import NativeFields, overflow_terms
from vectorferry.stores.weaviate.objects import Row, has_value
from vectorferry.stores.weaviate.properties import LONG_NAMESPACE, OVERFLOW, LiveProperties, PropertyMap
from vectorferry.stores.weaviate.property_values import (
    is_shadow,
    put_shadow,
    put_value,
    seen_types,
    told_exactly,
    unfit_integer,
)
from vectorferry.stores.weaviate.proto import base_pb2, batch_pb2, search_get_pb2
from vectorferry.stores.weaviate.schema import Layout, withheld


class NativeCodec:
    """The layout that we create: the record is made of the properties, those included that others added later."""

    def __init__(self, layout: Layout, live: LiveProperties) -> None:
        self._layout = layout
        self.live = live
        self.fields: Fields = NativeFields(live)

    def tenant(self, namespace: str) -> str:
        """The encoded namespace."""
        return encode_tenant(namespace) if self._layout.tenants else ""

    def scope(self, namespace: str) -> base_pb2.Filters | None:
        """Only without tenants."""
        if self._layout.tenants:
            return None
        return on("EQUAL", self.live.now.namespace, value_text=encode_scope(namespace))

    def uuid(self, namespace: str, id_: str) -> str:
        """A hash of namespace and id."""
        return record_uuid_text(namespace, id_)

    def check(self, namespace: str, id_: str, metadata: str) -> None:
        """Everything has its place, but numbers under a field of integers that are none: no range over the field would find them."""
        del namespace, id_
        refuse_unfit_integers(metadata, self.live.now.fields)

    def prepare(self, metadata: Sequence[str]) -> None:
        """Make properties for keys that have none yet."""
        records = [parse_json(text) for text in metadata]
        unknown = {key for record in records for key in record} - self.live.now.by_key.keys()
        if unknown:
            self.live.grow(seen_types(sorted(unknown), records))

    def fill(self, target: batch_pb2.BatchObject, namespace: str, id_: str, metadata: str) -> None:
        """The source's id, the namespace where no tenant tells it, and each value to its property or to the overflow."""
        self._name(target, namespace, id_)
        now = self.live.now
        over, terms = dict[str, Any](), list[str]()
        for key, value in parse_json(metadata).items():
            found = now.by_key.get(key)
            if found is not None and value is not None and put_value(target.properties, found, value):
                if not told_exactly(found, value):
                    terms += overflow_terms(key, value, values=found.equated)
                continue
            over[key] = value
            if value is not None:
                terms += overflow_terms(key, value)
                if found is not None:
                    put_shadow(target.properties, found, value)
        if over or terms:
            self.live.need_overflow()
            values = [canonical_json(over), *terms] if over else terms
            target.properties.text_array_properties.add(prop_name=OVERFLOW, values=values)

    def _name(self, target: batch_pb2.BatchObject, namespace: str, id_: str) -> None:
        values, now = target.properties.non_ref_properties.fields, self.live.now
        values[now.id].string_value = id_
        if now.namespace:
            values[now.namespace].string_value = encode_scope(namespace)
        elif target.tenant.startswith(HASHED):
            self.live.need_long_namespace()
            values[LONG_NAMESPACE].string_value = namespace

    def look(self) -> None:
        """Read the properties anew: those that the server withholds have to be asked for by name."""
        self.live.look()

    def wanted(self, *, ids_only: bool) -> search_get_pb2.PropertiesRequest:
        """What names the record, or everything."""
        now = self.live.now
        if ids_only:
            named = [now.id, now.namespace, LONG_NAMESPACE if now.long_namespace else ""]
            return search_get_pb2.PropertiesRequest(non_ref_properties=[name for name in named if name])
        shape = [found.shape for found in now.properties.values()]
        if not any(map(withheld, shape)):
            return search_get_pb2.PropertiesRequest(return_all_nonref_properties=True)
        now = self.live.look()
        own = [now.id, now.namespace, LONG_NAMESPACE if now.long_namespace else "", OVERFLOW if now.overflow else ""]
        wanted = wanted_properties([found.shape for found in now.properties.values()])
        wanted.non_ref_properties.extend(name for name in own if name)
        return wanted

    def row(self, result: search_get_pb2.SearchResult, namespace: str) -> Row:
        """As stored: an id that was changed behind our back shows, and so does every property.

        An object that others made without the source's id has its UUID. Where the property and the overflow contradict each other the
        value is both of them: neither can be trusted. Raises RecordError for a value that metadata cannot be.
        """
        values = result.properties.non_ref_props.fields
        now = self.live.now
        if not values.keys() <= {*now.properties, now.id, now.namespace, OVERFLOW, LONG_NAMESPACE}:
            now = self.live.look()
        stored_in = self._namespace_in(values, now, namespace)
        id_ = values[now.id].text_value if has_value(values, now.id) else str(result.metadata.id)
        try:
            return stored_in, id_, canonical_json(_metadata(values, now))
        except (RecordError, ValueError) as error:
            place = f"{self._layout.collection}, namespace {stored_in or '(default)'}, id {id_}"
            raise RecordError(f"{place}: {error}") from error

    def _namespace_in(self, values: Mapping[str, Any], now: PropertyMap, namespace: str) -> str:
        if now.namespace:
            stored = values[now.namespace].text_value if has_value(values, now.namespace) else ""
            decoded = decode_tenant(stored)
            return stored if decoded is None else decoded
        return str(values[LONG_NAMESPACE].text_value) if has_value(values, LONG_NAMESPACE) else namespace


def _metadata(values: Mapping[str, Any], now: PropertyMap) -> dict[str, Any]:
    made = dict[str, Any]()
    for name, found in now.properties.items():
        value = plain_value(values[name]) if name in values else None
        if value is not None:
            made[found.key] = value if found.key not in made else {name: value, "others": made[found.key]}
    for key, value in _overflow(values).items():
        holder = now.by_key.get(key)
        if key in made and not (holder is not None and is_shadow(holder, made[key], value)):
            value = {key: made[key], OVERFLOW: value}
        made[key] = value
    return made


def _overflow(values: Mapping[str, Any]) -> dict[str, Any]:
    texts = values[OVERFLOW].list_value.text_values.values if OVERFLOW in values else ()
    # Terms for filters begin with a quote.
    return parse_json(texts[0]) if texts and texts[0].startswith("{") else {}


def refuse_unfit_integers(metadata: str, fields: Mapping[str, FieldType]) -> None:
    """Raise RecordError for a number that a field of integers cannot have."""
    keys = [key for key, kind in fields.items() if kind is FieldType.INTEGER]
    record = parse_json(metadata) if keys else {}
    for key in keys:
        if unfit_integer(record.get(key)):
            raise RecordError(
                f"the field {key!r} is of integers, and {record[key]} is none of 64 bits: declare it as number"
            )


def unfit_rows(batch: pa.RecordBatch, fields: Mapping[str, FieldType]) -> Iterator[Reason]:
    """Rows with a number that a field of integers cannot have, each with its reason."""
    for row, text in enumerate(batch.column("metadata").to_pylist()):
        try:
            refuse_unfit_integers(text, fields)
        except RecordError as error:
            yield row, str(error)
