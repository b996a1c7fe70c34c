"""Records as raw Weaviate messages and back: vectors go from the Arrow buffer to the wire and return without a number in between."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.model import FieldType
from vectorferry.core.names import encode_tenant, record_uuid_text
from vectorferry.core.records import canonical_json, make_batch, parse_json, vectors_of
from vectorferry.core.stored_json import as_canonical
from vectorferry.stores.row_limits import Reason
from vectorferry.stores.weaviate.filters import (
    KEYS,
    DeclaredFields,
    Fields,
    any_text,
    both,
    index_terms,
    on,
    typed_value,
)
from vectorferry.stores.weaviate.proto import base_pb2, batch_pb2, search_get_pb2
from vectorferry.stores.weaviate.schema import ID, METADATA, NAMESPACE, TENANT, Layout
from vectorferry.stores.weaviate.vectors import (
    Dimensions,
    HeldVector,
    asked_for,
    column_of,
    put_into,
    raw_of_batch,
)

Row = tuple[str, str, str]
"""Namespace, id and canonical metadata of a record."""

_NOTHING = (None, "null_value")
_PLAIN: Mapping[FieldType, tuple[str, tuple[type, ...]]] = {
    FieldType.STRING: ("text_value", (str,)),
    FieldType.NUMBER: ("number_value", (int, float)),
    FieldType.BOOLEAN: ("bool_value", (bool,)),
    FieldType.STRINGS: ("list_value", (list,)),
}


class Codec(Protocol):
    """How one layout's records look in Weaviate."""

    @property
    def fields(self) -> Fields:
        """How filters see the metadata."""
        ...

    def tenant(self, namespace: str) -> str | None:
        """The tenant of a namespace, empty in a collection without tenants; None where the collection cannot have it."""
        ...

    def scope(self, namespace: str) -> base_pb2.Filters | None:
        """The filter that keeps to a namespace, None where the tenant does."""
        ...

    def uuid(self, namespace: str, id_: str) -> str:
        """The object's UUID, 36 lowercase characters. Raises RecordError for an id that has none."""
        ...

    def check(self, namespace: str, id_: str, metadata: str) -> None:
        """Raise RecordError for a record that the collection has no place for; `fill` and the others take all else."""
        ...

    def prepare(self, metadata: Sequence[str]) -> None:
        """Have the collection take these records' keys, before they are filled in."""
        ...

    def fill(self, target: batch_pb2.BatchObject, namespace: str, id_: str, metadata: str) -> None:
        """Set the object's properties."""
        ...

    def look(self) -> None:
        """Find out what the collection holds now, before much is read: others may have added properties."""
        ...

    def wanted(self, *, ids_only: bool) -> search_get_pb2.PropertiesRequest:
        """The properties to ask for."""
        ...

    def row(self, result: search_get_pb2.SearchResult, namespace: str) -> Row:
        """The record in an answer."""
        ...


class EnvelopeCodec:
    """The layout `envelope`. Declared fields are read back from their typed properties, the canonical JSON carries the rest."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._names = [(key, layout.names[key], kind) for key, kind in layout.fields.items()]
        self._strangers = [name for name in layout.strangers if name not in layout.references]
        self._plain = [_PLAIN[kind] for kind in layout.fields.values()]
        self.fields: Fields = DeclaredFields(layout.fields, layout.names)

    def tenant(self, namespace: str) -> str:
        """The encoded namespace."""
        return encode_tenant(namespace) if self._layout.tenants else ""

    def scope(self, namespace: str) -> base_pb2.Filters | None:
        """Only without tenants."""
        return None if self._layout.tenants else on("EQUAL", TENANT, value_text=encode_tenant(namespace))

    def uuid(self, namespace: str, id_: str) -> str:
        """A hash of namespace and id."""
        return record_uuid_text(namespace, id_)

    def check(self, namespace: str, id_: str, metadata: str) -> None:
        """Everything has its place."""

    def prepare(self, metadata: Sequence[str]) -> None:
        """Nothing: the properties are those that were declared."""

    def fill(self, target: batch_pb2.BatchObject, namespace: str, id_: str, metadata: str) -> None:
        """Id, namespace, canonical JSON, what filters need, and typed properties for the values of the declared type."""
        values = target.properties.non_ref_properties.fields
        values[ID].string_value = id_
        values[NAMESPACE].string_value = namespace
        values[METADATA].string_value = metadata
        if not self._layout.tenants:
            values[TENANT].string_value = encode_tenant(namespace)
        parsed = parse_json(metadata)
        _set_texts(target.properties, KEYS, index_terms(parsed, self._layout.fields))
        for key, name, kind in self._names:
            if key in parsed:
                _set_typed(target.properties, name, kind, typed_value(parsed[key], kind))

    def look(self) -> None:
        """Nothing: what others added is told when the collection is opened."""

    def wanted(self, *, ids_only: bool) -> search_get_pb2.PropertiesRequest:
        """What makes up the record."""
        names = [] if ids_only else [METADATA, *(name for _, name, _ in self._names), *self._strangers]
        return search_get_pb2.PropertiesRequest(non_ref_properties=[ID, NAMESPACE, *names])

    def row(self, result: search_get_pb2.SearchResult, namespace: str) -> Row:
        """As stored: a namespace or id that was changed behind our back shows, and so does a typed property.

        Where the property and the JSON contradict each other the value is both of them: neither can be trusted. Raises RecordError for
        a value of a property that others added to the collection.
        """
        del namespace
        values = result.properties.non_ref_props.fields
        for name in self._strangers:
            if has_value(values, name):
                raise stranger(self._layout, (values[NAMESPACE].text_value, values[ID].text_value, ""), name)
        stored_in, id_ = values[NAMESPACE].text_value, values[ID].text_value
        text = values[METADATA].text_value if METADATA in values else "{}"
        metadata = as_canonical(text, f"{self._layout.collection}, namespace {stored_in or '(default)'}, id {id_}")
        return stored_in, id_, self._with_typed(metadata, values)

    def _with_typed(self, metadata: str, values: Mapping[str, Any]) -> str:
        if not self._names:
            return metadata
        parsed = parse_json(metadata)
        changed = False
        for (key, name, kind), plain in zip(self._names, self._plain, strict=True):
            value = values.get(name)
            if _agrees(value, parsed.get(key), plain):
                continue
            found = None if value is None else _read_typed(value, kind)
            if found != typed_value(parsed.get(key), kind):
                changed = True
                parsed[key] = found if key not in parsed else {name: found, METADATA: parsed[key]}
                if found is None:
                    del parsed[key]
        return canonical_json(parsed) if changed else metadata


def has_value(values: Mapping[str, Any], name: str) -> bool:
    """Whether an answer has a value for a property."""
    return name in values and values[name].WhichOneof("kind") not in _NOTHING


def stranger(layout: Layout, row: Row, name: str) -> RecordError:
    """The error for a record of our own layout that has a value in a property that others added."""
    namespace, id_, _ = row
    kind, place = layout.properties[name], f"{layout.collection}, namespace {namespace or '(default)'}, id {id_}"
    return RecordError(
        f"{place}: the property {name!r} ({kind}) was added to the collection by others, and is no part of the record"
    )


def _set_typed(target: batch_pb2.BatchObject.Properties, name: str, kind: FieldType, value: Any) -> None:
    if value is None:
        return
    if kind is FieldType.STRINGS:
        _set_texts(target, name, value)
    elif kind is FieldType.STRING:
        target.non_ref_properties.fields[name].string_value = value
    elif kind is FieldType.BOOLEAN:
        target.non_ref_properties.fields[name].bool_value = value
    else:
        target.non_ref_properties.fields[name].number_value = value


def _set_texts(target: batch_pb2.BatchObject.Properties, name: str, values: Sequence[str]) -> None:
    if values:
        target.text_array_properties.add(prop_name=name, values=values)
    else:
        target.empty_list_props.append(name)


def _agrees(value: Any, expected: Any, plain: "tuple[str, tuple[type, ...]]") -> bool:
    """Whether a property holds what the JSON says: nearly always, and quickly told. False tells nothing."""
    if expected is None or value is None:
        return expected is None and (value is None or value.WhichOneof("kind") in _NOTHING)
    attribute, types = plain
    if type(expected) not in types or not expected:
        return False
    if attribute == "list_value":
        return bool(list(value.list_value.text_values.values) == expected)
    return bool(getattr(value, attribute) == expected)


def _read_typed(value: Any, kind: FieldType) -> Any:
    which = value.WhichOneof("kind")
    if which in _NOTHING:
        return None
    if which == "list_value":
        return list(value.list_value.text_values.values) if kind is FieldType.STRINGS else None
    return getattr(value, which)


# --- Batches


def rejected_rows(batch: pa.RecordBatch, codec: Codec) -> Iterator[Reason]:
    """Rows whose metadata, id or namespace the collection has no place for, each with its reason."""
    for row, record in enumerate(_rows(batch)):
        try:
            codec.check(*record)
        except RecordError as error:
            yield row, str(error)


def objects_of(batch: pa.RecordBatch, layout: Layout, codec: Codec) -> list[batch_pb2.BatchObject]:
    """An object for each row; none of them is among `rejected_rows`."""
    pairs = zip(raw_of_batch(batch, layout.vectors), _rows(batch), strict=True)
    return [_object(layout, codec, vectors, row) for vectors, row in pairs]


def _rows(batch: pa.RecordBatch) -> Iterator[Row]:
    return zip(*(batch.column(name).to_pylist() for name in ("namespace", "id", "metadata")), strict=True)


def _object(
    layout: Layout, codec: Codec, vectors: Sequence[tuple[HeldVector, bytes]], row: Row
) -> batch_pb2.BatchObject:
    namespace, id_, metadata = row
    tenant = codec.tenant(namespace)
    made = batch_pb2.BatchObject(uuid=codec.uuid(namespace, id_), collection=layout.collection, tenant=tenant)
    codec.fill(made, namespace, id_, metadata)
    for held, raw in vectors:
        put_into(made, held, raw)
    return made


def change_of(patch: pa.RecordBatch, layout: Layout, made: batch_pb2.BatchObject) -> dict[str, Any]:
    """The body of a PATCH of what `made` was made of. Properties only in a collection that was made elsewhere.

    In our own layout a key of the metadata is in the canonical JSON, in the keys that filters read and perhaps in a property: no
    request merges the first two.
    """
    body: dict[str, Any] = {"class": layout.collection, "id": made.uuid}
    if made.tenant:
        body["tenant"] = made.tenant
    metadata = parse_json(patch.column("metadata")[0].as_py())
    if metadata:
        body["properties"] = metadata
    if patch.column("vector").null_count == 0 and layout.unnamed is not None:
        vector, name = vectors_of(patch)[0].tolist(), layout.unnamed.here
        body |= {"vectors": {name: vector}} if name else {"vector": vector}
    return body


def batch_of(
    results: Sequence[search_get_pb2.SearchResult], rows: Sequence[Row], layout: Layout, dimensions: Dimensions
) -> pa.RecordBatch:
    """The canonical batch of an answer, given the dimension of each vector; None stands for no such vectors at all.

    Raises RecordError for a vector of another length: it names the collection, the record and both lengths.
    """
    names, ids, metadata = zip(*rows, strict=True) if rows else ((), (), ())
    places = [f"{layout.collection}, namespace {name or '(default)'}, id {id_}" for name, id_, _ in rows]
    columns = {held.column: column_of(held, results, places, dimensions.get(held.name)) for held in layout.vectors}
    dense = columns.pop("vector", None)
    batch = make_batch(names, ids, None, metadata, named=columns)
    return batch if dense is None else batch.set_column(2, pa.field("vector", dense.type), dense)


# --- Requests


def search_request(
    layout: Layout,
    codec: Codec,
    tenant: str,
    limit: int,
    *,
    vectors: Sequence[HeldVector] | None = None,
    ids_only: bool = False,
    **more: Any,
) -> search_get_pb2.SearchRequest:
    """A request for records with these vectors, by default all; `more` are the message's own fields: after, filters, near_vector."""
    metadata = search_get_pb2.MetadataRequest(uuid=True, **asked_for(layout.vectors if vectors is None else vectors))
    return search_get_pb2.SearchRequest(
        collection=layout.collection,
        tenant=tenant,
        limit=limit,
        properties=codec.wanted(ids_only=ids_only),
        metadata=metadata,
        uses_123_api=True,
        uses_125_api=True,
        uses_127_api=True,
        **more,
    )


def by_uuids(uuids: Sequence[str]) -> base_pb2.Filters:
    """The objects with these UUIDs."""
    return any_text("_id", uuids)


def in_range(first: int, end: int, also: base_pb2.Filters | None) -> base_pb2.Filters | None:
    """Objects with a UUID in [first, end), two numbers of 128 bits, that pass another filter too."""
    lower = on("GREATER_THAN_EQUAL", "_id", value_text=str(UUID(int=first))) if first else None
    upper = on("LESS_THAN", "_id", value_text=str(UUID(int=end))) if end < 1 << 128 else None
    return both(also, lower, upper)


def uuids_of(results: Iterable[search_get_pb2.SearchResult]) -> list[str]:
    """UUIDs of the objects in an answer, lowercase."""
    return [str(result.metadata.id) for result in results]
