"""Pinecone's protobuf messages, built at run time from a table of their wire facts: those that the gateway answers and the store reads.

The packed floats of dense vectors are declared as bytes: on the wire the two are the same, and so vectors pass as buffers, without a
Python object per number. Sparse values are declared as what they are, since the vendor's client sends them unpacked. A map is
declared as the repeated entries that it is on the wire.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2  # type: ignore[import-untyped]

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


def sparse_of(message: Any, name: str = "sparse_values") -> dict[str, Any] | None:
    """A sparse vector's indices and values, None where it was not set."""
    if not message.HasField(name):
        return None
    sparse = getattr(message, name)
    return {"indices": list(sparse.indices), "values": list(sparse.values)}
