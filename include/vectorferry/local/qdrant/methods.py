"""The methods that are served: for each its operation in the words of fault rules, and the function that does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]
from qdrant_client.grpc import collections_service_pb2, points_service_pb2

from vectorferry.gateway.faults import Effects
from vectorferry.local.qdrant import answers, collections, points
from vectorferry.local.qdrant.catalog import Catalog

Serve = Callable[[Catalog, Any, Effects], Any]
Answer = Callable[[Any, float], Any]


@dataclass(frozen=True)
class Method:
    """One method.

    `request` is the class of its message; `serve` does the work, and `answer` makes the message of what it returns and of the seconds
    that it took.
    """

    path: str
    operation: str
    request: Any
    serve: Serve
    answer: Answer


_POINTS: Mapping[str, tuple[str, Serve, Answer]] = {
    "Upsert": ("upsert", points.upsert, answers.written),
    "Delete": ("delete", points.delete, answers.written),
    "Get": ("fetch", points.get, answers.records),
    "UpdateVectors": ("update", points.update_vectors, answers.written),
    "DeleteVectors": ("update", points.delete_vectors, answers.written),
    "SetPayload": ("update", points.set_payload, answers.written),
    "OverwritePayload": ("update", points.overwrite_payload, answers.written),
    "DeletePayload": ("update", points.delete_payload, answers.written),
    "ClearPayload": ("update", points.clear_payload, answers.written),
    "UpdateBatch": ("update", points.update_batch, answers.written_all),
    "CreateFieldIndex": ("configure_index", points.create_index, answers.written),
    "DeleteFieldIndex": ("configure_index", points.delete_index, answers.written),
    "Scroll": ("list", points.scroll, answers.page),
    "Count": ("stats", points.count, answers.counted),
    "Query": ("query", points.query, answers.hits),
    "QueryBatch": ("query", points.query_batch, answers.hits_of_all),
    "Facet": ("stats", points.facet, answers.facets),
}
_COLLECTIONS: Mapping[str, tuple[str, Serve, Answer]] = {
    "Get": ("describe_index", collections.get, answers.info),
    "List": ("list_indexes", collections.listed, answers.names),
    "Create": ("create_index", collections.create, answers.done),
    "Update": ("configure_index", collections.update, answers.done),
    "Delete": ("delete_index", collections.delete, answers.done),
    "UpdateAliases": ("configure_index", collections.change_aliases, answers.done),
    "ListCollectionAliases": ("describe_index", collections.aliases_of, answers.aliases),
    "ListAliases": ("list_indexes", collections.aliases, answers.aliases),
    "CollectionExists": ("describe_index", collections.exists, answers.exists),
}


def _methods(service: Any, served: Mapping[str, tuple[str, Serve, Answer]]) -> dict[str, Method]:
    found = {}
    for name, (operation, serve, answer) in served.items():
        path = f"/{service.full_name}/{name}"
        found[path] = Method(path, operation, GetMessageClass(service.methods_by_name[name].input_type), serve, answer)
    return found


METHODS: Mapping[str, Method] = {
    **_methods(points_service_pb2.DESCRIPTOR.services_by_name["Points"], _POINTS),
    **_methods(collections_service_pb2.DESCRIPTOR.services_by_name["Collections"], _COLLECTIONS),
}
"""The methods by their path in gRPC."""
