"""The methods that are served: for each its operation in the words of fault rules, and the function that does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]
from qdrant_client.grpc import collections_service_pb2, points_service_pb2

from vectorferry.gateway.pinecone.api.faults import Effects
from vectorferry.local.qdrant import collections, points
from vectorferry.local.qdrant.catalog import Catalog

Serve = Callable[[Catalog, Any, Effects], Any]


@dataclass(frozen=True)
class Method:
    """One method: `request` is the class of its message."""

    path: str
    operation: str
    request: Any
    serve: Serve


_POINTS: Mapping[str, tuple[str, Serve]] = {
    "Upsert": ("upsert", points.upsert),
    "Delete": ("delete", points.delete),
    "Get": ("fetch", points.get),
    "UpdateVectors": ("update", points.update_vectors),
    "DeleteVectors": ("update", points.delete_vectors),
    "SetPayload": ("update", points.set_payload),
    "OverwritePayload": ("update", points.overwrite_payload),
    "DeletePayload": ("update", points.delete_payload),
    "ClearPayload": ("update", points.clear_payload),
    "UpdateBatch": ("update", points.update_batch),
    "CreateFieldIndex": ("configure_index", points.create_index),
    "DeleteFieldIndex": ("configure_index", points.delete_index),
    "Scroll": ("list", points.scroll),
    "Count": ("stats", points.count),
    "Query": ("query", points.query),
    "QueryBatch": ("query", points.query_batch),
    "Facet": ("stats", points.facet),
}
_COLLECTIONS: Mapping[str, tuple[str, Serve]] = {
    "Get": ("describe_index", collections.get),
    "List": ("list_indexes", collections.listed),
    "Create": ("create_index", collections.create),
    "Update": ("configure_index", collections.update),
    "Delete": ("delete_index", collections.delete),
    "UpdateAliases": ("configure_index", collections.change_aliases),
    "ListCollectionAliases": ("describe_index", collections.aliases_of),
    "ListAliases": ("list_indexes", collections.aliases),
    "CollectionExists": ("describe_index", collections.exists),
}


def _methods(service: Any, served: Mapping[str, tuple[str, Serve]]) -> dict[str, Method]:
    found = {}
    for name, (operation, serve) in served.items():
        path = f"/{service.full_name}/{name}"
        found[path] = Method(path, operation, GetMessageClass(service.methods_by_name[name].input_type), serve)
    return found


METHODS: Mapping[str, Method] = {
    **_methods(points_service_pb2.DESCRIPTOR.services_by_name["Points"], _POINTS),
    **_methods(collections_service_pb2.DESCRIPTOR.services_by_name["Collections"], _COLLECTIONS),
}
"""The methods by their path in gRPC."""
