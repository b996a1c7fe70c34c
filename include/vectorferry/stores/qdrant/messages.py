"""Qdrant's protobuf messages, from the descriptors of the vendor's client, with the floats of vectors declared as bytes.

On the wire packed floats and bytes are the same, and so vectors pass as buffers, without a Python object per number.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from qdrant_client import grpc as vendor

_PACKED = frozenset(
    {
        ("Vector", "data"), ("VectorOutput", "data"), ("DenseVector", "data"), ("SparseVector", "values"),
        ("SparseVector", "indices"), ("SparseIndices", "data"),
    }
)  # fmt: skip
_F = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "qdrant"


def _pool() -> Any:
    # A pool of its own: the vendor's client has messages of the same names in the default one.
    pool = descriptor_pool.DescriptorPool()
    known: set[str] = set()
    for message in (vendor.UpsertPoints, vendor.CreateCollection, vendor.HealthCheckReply):
        _add(pool, message.DESCRIPTOR.file, known)
    return pool


def _add(pool: Any, file: Any, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, known)
    described = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
    for message in described.message_type:
        for each in message.field:
            if (message.name, each.name) in _PACKED:
                each.type, each.label = _F.TYPE_BYTES, _F.LABEL_OPTIONAL
    pool.Add(described)


_POOL = _pool()


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


PointId = _class("PointId")
PointStruct = _class("PointStruct")
PointVectors = _class("PointVectors")
Value = _class("Value")
Vector = _class("Vector")
Vectors = _class("Vectors")
VectorInput = _class("VectorInput")

Condition = _class("Condition")
FieldCondition = _class("FieldCondition")
Filter = _class("Filter")

UpsertPoints = _class("UpsertPoints")
DeletePoints = _class("DeletePoints")
SetPayloadPoints = _class("SetPayloadPoints")
UpdateBatchPoints = _class("UpdateBatchPoints")
PointsOperationResponse = _class("PointsOperationResponse")
UpdateBatchResponse = _class("UpdateBatchResponse")
CreateFieldIndexCollection = _class("CreateFieldIndexCollection")

GetPoints = _class("GetPoints")
GetResponse = _class("GetResponse")
ScrollPoints = _class("ScrollPoints")
ScrollResponse = _class("ScrollResponse")
CountPoints = _class("CountPoints")
CountResponse = _class("CountResponse")
FacetCounts = _class("FacetCounts")
FacetResponse = _class("FacetResponse")
QueryPoints = _class("QueryPoints")
QueryBatchPoints = _class("QueryBatchPoints")
QueryBatchResponse = _class("QueryBatchResponse")

CreateCollection = _class("CreateCollection")
UpdateCollection = _class("UpdateCollection")
DeleteCollection = _class("DeleteCollection")
CollectionOperationResponse = _class("CollectionOperationResponse")
CollectionExistsRequest = _class("CollectionExistsRequest")
CollectionExistsResponse = _class("CollectionExistsResponse")
GetCollectionInfoRequest = _class("GetCollectionInfoRequest")
GetCollectionInfoResponse = _class("GetCollectionInfoResponse")
ListCollectionsRequest = _class("ListCollectionsRequest")
ListCollectionsResponse = _class("ListCollectionsResponse")
ChangeAliases = _class("ChangeAliases")
ListAliasesRequest = _class("ListAliasesRequest")
ListAliasesResponse = _class("ListAliasesResponse")
HealthCheckRequest = _class("HealthCheckRequest")
HealthCheckReply = _class("HealthCheckReply")

COMPLETED = vendor.UpdateStatus.Completed
GREEN, YELLOW, RED, GREY = (
    vendor.CollectionStatus.Green,
    vendor.CollectionStatus.Yellow,
    vendor.CollectionStatus.Red,
    vendor.CollectionStatus.Grey,
)
