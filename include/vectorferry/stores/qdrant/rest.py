"""REST: each message as a call of the vendor's client with its models, for servers that are reached by no other port.

It costs a Python object per number: gRPC is several times faster.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as vendor
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from vectorferry.core.errors import (
    AlreadyExists,
    NotFound,
    RateLimited,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
)
from vectorferry.stores.qdrant.client import Address, lost

Client = Any
"""The vendor's client, or whatever has its methods."""


class RestLink:
    """Calls one server over REST, as `client.Link` does over gRPC."""

    def __init__(self, address: Address, store: str, deadline: float) -> None:
        self._address, self._store, self._deadline = address, store, deadline
        self._lock = threading.Lock()
        self._opened: QdrantClient | None = None

    def call(self, method: str, request: Any, reply: Any, *, write: bool = False) -> Any:
        """Send a message and wait for the answer."""
        try:
            return called(self._client(), method, request, reply)
        except ResourceExhaustedResponse as error:
            raise RateLimited(error.message, store=self._store, retry_after=error.retry_after_s) from error
        except UnexpectedResponse as error:
            raise rest_error(error, store=self._store, write=write) from error
        except ResponseHandlingException as error:
            raise self._unanswered(error, write) from error
        except ApiException as error:
            raise lost(str(error), self._store, write) from error

    def _unanswered(self, error: ResponseHandlingException, write: bool) -> StoreError:
        cause = error.source
        if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
            return Unavailable(f"cannot be reached at {self._address.url}: {cause}", store=self._store)
        return lost(f"{type(cause).__name__}: {cause}", self._store, write)

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _client(self) -> QdrantClient:
        with self._lock:
            if self._opened is None:
                address = self._address
                self._opened = QdrantClient(
                    host=address.host,
                    port=address.port,
                    https=address.secure,
                    prefix=address.prefix or None,
                    api_key=address.key or None,
                    timeout=max(1, round(self._deadline)),
                    prefer_grpc=False,
                    check_compatibility=False,
                    trust_env=False,
                )
            return self._opened


def rest_error(error: UnexpectedResponse, *, store: str, write: bool) -> StoreError:
    """The error for an answer that is none, by its status."""
    text = error.content.decode(errors="replace")[:500] or error.reason_phrase
    status = error.status_code or 0
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Unauthorized(text, store=store)
    if status == httpx.codes.NOT_FOUND:
        return NotFound(text, store=store)
    if status == httpx.codes.CONFLICT or "already exists" in text:
        return AlreadyExists(text, store=store)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(text, store=store)
    return lost(text, store, write) if httpx.codes.is_server_error(status) else Refused(text, store=store)


def called(client: Client, method: str, request: Any, reply: Any) -> Any:
    """The answer to a message by a client's methods."""
    asked = getattr(vendor, request.DESCRIPTOR.name).FromString(request.SerializeToString())
    return reply.FromString(_CALLS[method](client, asked).SerializeToString())


# --- Points


def _upsert(client: Client, asked: Any) -> Any:
    points = [GrpcToRest.convert_point_struct(each) for each in asked.points]
    return _done(client.upsert(asked.collection_name, points, wait=asked.wait))


def _delete(client: Client, asked: Any) -> Any:
    selector = GrpcToRest.convert_points_selector(asked.points)
    return _done(client.delete(asked.collection_name, selector, wait=asked.wait))


def _update_batch(client: Client, asked: Any) -> Any:
    operations = [GrpcToRest.convert_points_update_operation(each) for each in asked.operations]
    results = client.batch_update_points(asked.collection_name, operations, wait=asked.wait)
    return vendor.UpdateBatchResponse(result=[RestToGrpc.convert_update_result(each) for each in results])


def _done(result: Any) -> Any:
    return vendor.PointsOperationResponse(result=RestToGrpc.convert_update_result(result))


def _create_index(client: Client, asked: Any) -> Any:
    schema: Any = models.PayloadSchemaType(vendor.FieldType.Name(asked.field_type).removeprefix("FieldType").lower())
    if asked.field_index_params.WhichOneof("index_params"):
        schema = GrpcToRest.convert_payload_schema_params(asked.field_index_params)
    return _done(client.create_payload_index(asked.collection_name, asked.field_name, schema, wait=asked.wait))


def _get(client: Client, asked: Any) -> Any:
    found = client.retrieve(
        asked.collection_name,
        [GrpcToRest.convert_point_id(each) for each in asked.ids],
        with_payload=GrpcToRest.convert_with_payload_selector(asked.with_payload),
        with_vectors=GrpcToRest.convert_with_vectors_selector(asked.with_vectors),
    )
    return vendor.GetResponse(result=[_record(each) for each in found])


def _scroll(client: Client, asked: Any) -> Any:
    found, following = client.scroll(
        asked.collection_name,
        scroll_filter=_filter(asked, "filter"),
        limit=asked.limit,
        offset=GrpcToRest.convert_point_id(asked.offset) if asked.HasField("offset") else None,
        with_payload=GrpcToRest.convert_with_payload_selector(asked.with_payload),
        with_vectors=GrpcToRest.convert_with_vectors_selector(asked.with_vectors),
    )
    offset = None if following is None else RestToGrpc.convert_extended_point_id(following)
    return vendor.ScrollResponse(result=[_record(each) for each in found], next_page_offset=offset)


def _count(client: Client, asked: Any) -> Any:
    found = client.count(asked.collection_name, count_filter=_filter(asked, "filter"), exact=asked.exact)
    return vendor.CountResponse(result=vendor.CountResult(count=found.count))


def _facet(client: Client, asked: Any) -> Any:
    found = client.facet(
        asked.collection_name, asked.key, _filter(asked, "filter"), limit=asked.limit, exact=asked.exact
    )
    hits = [vendor.FacetHit(value=RestToGrpc.convert_facet_value(each.value), count=each.count) for each in found.hits]
    return vendor.FacetResponse(hits=hits)


def _query_batch(client: Client, asked: Any) -> Any:
    requests = [_query(each) for each in asked.query_points]
    found = client.query_batch_points(asked.collection_name, requests)
    return vendor.QueryBatchResponse(
        result=[
            vendor.BatchResult(result=[RestToGrpc.convert_scored_point(hit) for hit in each.points]) for each in found
        ]
    )


def _query(asked: Any) -> Any:
    return models.QueryRequest(
        query=GrpcToRest.convert_query(asked.query),
        using=asked.using or None,
        filter=_filter(asked, "filter"),
        params=GrpcToRest.convert_search_params(asked.params) if asked.HasField("params") else None,
        limit=asked.limit,
        with_payload=GrpcToRest.convert_with_payload_selector(asked.with_payload),
        with_vector=False,
    )


def _filter(asked: Any, name: str) -> Any:
    return GrpcToRest.convert_filter(getattr(asked, name)) if asked.HasField(name) else None


def _record(found: Any) -> Any:
    return RestToGrpc.convert_record(found.model_copy(update={"payload": _as_grpc_tells(found.payload or {})}))


def _as_grpc_tells(value: Any) -> Any:
    """A payload whose whole numbers beyond 63 bits are doubles, as gRPC has no other place for them."""
    if isinstance(value, int):
        return value if value < 1 << 63 else float(value)
    if isinstance(value, list):
        return [_as_grpc_tells(item) for item in value]
    return {key: _as_grpc_tells(item) for key, item in value.items()} if isinstance(value, dict) else value


# --- Collections


def _create(client: Client, asked: Any) -> Any:
    optimizers = asked.optimizers_config if asked.HasField("optimizers_config") else None
    numbers = ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload")
    result = client.create_collection(
        asked.collection_name,
        vectors_config=GrpcToRest.convert_vectors_config(asked.vectors_config),
        sparse_vectors_config=GrpcToRest.convert_sparse_vector_config(asked.sparse_vectors_config),
        optimizers_config=optimizers and GrpcToRest.convert_optimizers_config_diff(optimizers),
        metadata=GrpcToRest.convert_payload(asked.metadata),
        **{name: getattr(asked, name) for name in numbers if asked.HasField(name)},
    )
    return vendor.CollectionOperationResponse(result=result)


def _update(client: Client, asked: Any) -> Any:
    optimizers = asked.optimizers_config if asked.HasField("optimizers_config") else None
    result = client.update_collection(
        asked.collection_name,
        optimizers_config=None if optimizers is None else GrpcToRest.convert_optimizers_config_diff(optimizers),
        metadata=GrpcToRest.convert_payload(asked.metadata) if asked.metadata else None,
    )
    return vendor.CollectionOperationResponse(result=result)


def _drop(client: Client, asked: Any) -> Any:
    return vendor.CollectionOperationResponse(result=client.delete_collection(asked.collection_name))


def _info(client: Client, asked: Any) -> Any:
    found = client.get_collection(asked.collection_name)
    return vendor.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(found))


def _list(client: Client, asked: Any) -> Any:
    del asked
    names = [vendor.CollectionDescription(name=each.name) for each in client.get_collections().collections]
    return vendor.ListCollectionsResponse(collections=names)


def _change_aliases(client: Client, asked: Any) -> Any:
    actions = [GrpcToRest.convert_alias_operations(each) for each in asked.actions]
    return vendor.CollectionOperationResponse(result=client.update_collection_aliases(actions))


def _aliases(client: Client, asked: Any) -> Any:
    del asked
    found = [RestToGrpc.convert_alias_description(each) for each in client.get_aliases().aliases]
    return vendor.ListAliasesResponse(aliases=found)


def _health(client: Client, asked: Any) -> Any:
    del asked
    found = client.info()
    return vendor.HealthCheckReply(title=found.title, version=found.version)


_CALLS: Mapping[str, Callable[[Client, Any], Any]] = {
    "Points/Upsert": _upsert,
    "Points/Delete": _delete,
    "Points/UpdateBatch": _update_batch,
    "Points/CreateFieldIndex": _create_index,
    "Points/Get": _get,
    "Points/Scroll": _scroll,
    "Points/Count": _count,
    "Points/Facet": _facet,
    "Points/QueryBatch": _query_batch,
    "Collections/Create": _create,
    "Collections/Update": _update,
    "Collections/Delete": _drop,
    "Collections/Get": _info,
    "Collections/List": _list,
    "Collections/UpdateAliases": _change_aliases,
    "Collections/ListAliases": _aliases,
    "Qdrant/HealthCheck": _health,
}
