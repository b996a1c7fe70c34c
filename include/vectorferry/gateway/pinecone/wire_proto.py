"""Pinecone's protobuf messages, built at run time from a table of their wire facts.

The packed floats of dense vectors are declared as bytes: on the wire the two are the same, and so vectors pass as buffers, without a
Python object per number. Sparse values are declared as what they are, since the vendor's client sends them unpacked. A map is
declared as the repeated entries that it is on the wire.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2  # type: ignore[import-untyped]

from vectorferry.gateway.pinecone import wire_json
from vectorferry.gateway.pinecone.problems import invalid
from vectorferry.gateway.pinecone.requests import Delete, Matches, Page, Query, Records, Shape, Update, Upsert
from vectorferry.gateway.pinecone.wire_json import dense_rows, fetch_units, sparse_rows
from vectorferry.records import parse_json

# Message: field number and name with its type; "?" marks presence, "*" a repeated field.
_TABLE = """
SparseValues: 1 indices uint32*, 2 values float*
Vector: 1 id string, 2 values bytes, 3 metadata Struct, 4 sparse_values SparseValues
ScoredVector: 1 id string, 2 score float, 3 values bytes, 4 metadata Struct, 5 sparse_values SparseValues
VectorEntry: 1 key string, 2 value Vector
Usage: 1 read_units uint32?
Pagination: 1 next string
UpsertRequest: 1 vectors Vector*, 2 namespace string
UpsertResponse: 1 upserted_count uint32
DeleteRequest: 1 ids string*, 2 delete_all bool, 3 namespace string, 4 filter Struct
DeleteResponse:
FetchRequest: 1 ids string*, 2 namespace string
FetchResponse: 1 vectors VectorEntry*, 2 namespace string, 3 usage Usage, 4 pagination Pagination
FetchByMetadataRequest: 1 namespace string, 2 filter Struct, 3 limit uint32?, 4 pagination_token string?
ListRequest: 1 prefix string?, 2 limit uint32?, 3 pagination_token string?, 4 namespace string
ListItem: 1 id string
ListResponse: 1 vectors ListItem*, 2 pagination Pagination, 3 namespace string, 4 usage Usage
QueryRequest: 1 namespace string, 2 top_k uint32, 3 filter Struct, 4 include_values bool, 5 include_metadata bool, 7 vector bytes, 8 id string, 9 sparse_vector SparseValues
QueryResponse: 2 matches ScoredVector*, 3 namespace string, 4 usage Usage
UpdateRequest: 1 id string, 2 values bytes, 3 set_metadata Struct, 4 namespace string, 5 sparse_values SparseValues, 6 filter Struct, 7 dry_run bool?
UpdateResponse: 1 matched_records int32?
DescribeIndexStatsRequest: 1 filter Struct
NamespaceSummary: 1 vector_count uint32
NamespaceSummaryEntry: 1 key string, 2 value NamespaceSummary
DescribeIndexStatsResponse: 1 namespaces NamespaceSummaryEntry*, 2 dimension uint32?, 3 index_fullness float, 4 total_vector_count uint32, 5 metric string?, 6 vector_type string?
ListNamespacesRequest: 1 pagination_token string?, 2 limit uint32?, 3 prefix string?
NamespaceDescription: 1 name string, 2 record_count uint64, 5 size_bytes uint64
ListNamespacesResponse: 1 namespaces NamespaceDescription*, 2 pagination Pagination, 3 total_count int32?
DescribeNamespaceRequest: 1 namespace string
CreateNamespaceRequest: 1 name string
DeleteNamespaceRequest: 1 namespace string
"""  # noqa: E501

_PACKAGE = "vectorferry.pinecone"
_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "bool": _F.TYPE_BOOL,
    "float": _F.TYPE_FLOAT,
    "uint32": _F.TYPE_UINT32,
    "int32": _F.TYPE_INT32,
    "uint64": _F.TYPE_UINT64,
}


def _described_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="vectorferry/pinecone.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    for line in _TABLE.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for text in filter(None, fields.strip().split(", ")):
            _add_field(message, *text.split())
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, number: str, name: str, kind: str) -> None:
    word = kind.rstrip("?*")
    field = message.field.add(name=name, number=int(number))
    field.label = _F.LABEL_REPEATED if kind.endswith("*") else _F.LABEL_OPTIONAL
    if word in _SCALARS:
        field.type = _SCALARS[word]
    else:
        field.type = _F.TYPE_MESSAGE
        field.type_name = ".google.protobuf.Struct" if word == "Struct" else f".{_PACKAGE}.{word}"
    if kind.endswith("?"):
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


def _messages() -> Mapping[str, Any]:
    # A pool of its own: other packages may know messages of the same file names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(struct_pb2.DESCRIPTOR.serialized_pb))
    file = _described_file()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}"))
        for message in file.message_type
    }


MESSAGES = _messages()


def upsert_of(message: Any) -> Upsert:
    """The records of an upsert."""
    rows = message.vectors
    return Upsert(
        message.namespace,
        [row.id for row in rows],
        [floats(row.values) for row in rows],
        [_sparse_of(row) for row in rows],
        [struct_of(row, "metadata") for row in rows],
    )


def query_of(message: Any) -> Query:
    """A query."""
    return Query(
        message.namespace,
        message.top_k,
        floats(message.vector) if message.vector else None,
        message.id or None,
        _sparse_of(message, "sparse_vector"),
        struct_of(message, "filter"),
        message.include_values,
        message.include_metadata,
    )


def update_of(message: Any) -> Update:
    """An update."""
    return Update(
        message.namespace,
        message.id or None,
        struct_of(message, "filter"),
        floats(message.values) if message.values else None,
        _sparse_of(message),
        struct_of(message, "set_metadata"),
        message.dry_run,
    )


def delete_of(message: Any) -> Delete:
    """A delete."""
    return Delete(message.namespace, list(message.ids), message.delete_all, struct_of(message, "filter"))


def optional(message: Any, name: str) -> Any:
    """A field's value, None where it was not set."""
    return getattr(message, name) if message.HasField(name) else None


def floats(raw: bytes) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Packed floats as an array of shape [d]."""
    if len(raw) % 4:
        raise invalid("Vector values must be packed floats")
    return np.frombuffer(raw, "<f4")


def struct_of(message: Any, name: str) -> dict[str, Any] | None:
    """A Struct field as a dict, None where it was not set."""
    return _dict(getattr(message, name)) if message.HasField(name) else None


def _dict(struct: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _dict(value.struct_value)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _fill(struct: Any, metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        slot = struct.fields[key]
        if isinstance(value, bool):
            slot.bool_value = value
        elif isinstance(value, str):
            slot.string_value = value
        elif isinstance(value, list):
            slot.list_value.SetInParent()
            for item in value:
                slot.list_value.values.add(string_value=item)
        else:
            slot.number_value = value


def _sparse_of(message: Any, name: str = "sparse_values") -> dict[str, Any] | None:
    if not message.HasField(name):
        return None
    sparse = getattr(message, name)
    return {"indices": list(sparse.indices), "values": list(sparse.values)}


def _fill_records(slots: Iterable[Any], batch: pa.RecordBatch, *, values: bool = True, metadata: bool = True) -> None:
    texts = batch.column("metadata").to_pylist()
    for slot, vector, sparse, text in zip(slots, dense_rows(batch), sparse_rows(batch), texts, strict=True):
        if values:
            slot.values = vector.tobytes()
        if values and sparse:
            slot.sparse_values.indices.extend(sparse["indices"])
            slot.sparse_values.values.extend(sparse["values"].tolist())
        if metadata and text != "{}":
            _fill(slot.metadata, parse_json(text))


def fetched(batch: pa.RecordBatch, namespace: str, token: str | None = None) -> Any:
    """The answer to a fetch by id or by metadata."""
    answer = MESSAGES["FetchResponse"](namespace=namespace, usage={"read_units": fetch_units(len(batch))})
    slots = []
    for id_ in batch.column("id").to_pylist():
        entry = answer.vectors.add(key=id_)
        entry.value.id = id_
        slots.append(entry.value)
    _fill_records(slots, batch)
    return _paged(answer, token)


def fetched_by_metadata(records: Records, namespace: str) -> Any:
    """The answer to a fetch by metadata."""
    return fetched(records.batch, namespace, records.token)


def listed(page: Page, namespace: str) -> Any:
    """The answer to a listing."""
    answer = MESSAGES["ListResponse"](namespace=namespace, usage={"read_units": 1})
    for id_ in page.ids:
        answer.vectors.add(id=id_)
    return _paged(answer, page.token)


def matched(matches: Matches, query: Query) -> Any:
    """The answer to a query."""
    answer = MESSAGES["QueryResponse"](namespace=query.namespace, usage={"read_units": 1})
    slots = {}
    for id_, score in zip(matches.ids, matches.scores, strict=True):
        slots[id_] = answer.matches.add(id=id_, score=score)
    if matches.records is not None:
        wanted = [slots[id_] for id_ in matches.records.column("id").to_pylist()]
        _fill_records(wanted, matches.records, values=query.include_values, metadata=query.include_metadata)
    return answer


def stats(counts: Mapping[str, int], shape: Shape) -> Any:
    """The answer to DescribeIndexStats."""
    told = wire_json.stats(counts, shape)
    answer = MESSAGES["DescribeIndexStatsResponse"](
        total_vector_count=told["totalVectorCount"], metric=told["metric"], vector_type=told["vectorType"]
    )
    if shape.dimension is not None:
        answer.dimension = shape.dimension
    for name, count in counts.items():
        answer.namespaces.add(key=name).value.vector_count = count
    return answer


def namespaces(page: Page, counts: Mapping[str, int]) -> Any:
    """The answer to ListNamespaces."""
    answer = MESSAGES["ListNamespacesResponse"](total_count=page.total)
    for name in page.ids:
        answer.namespaces.add(name=name, record_count=counts[name])
    return _paged(answer, page.token)


def namespace(name: str, count: int) -> Any:
    """One namespace."""
    return MESSAGES["NamespaceDescription"](name=name, record_count=count)


def _paged(answer: Any, token: str | None) -> Any:
    if token:
        answer.pagination.next = token
    return answer
