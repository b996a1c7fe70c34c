"""The gRPC VectorService of one index."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from vectorferry.errors import VectorferryError
from vectorferry.gateway.pinecone import wire_proto as wire
from vectorferry.gateway.pinecone.data import IndexData
from vectorferry.gateway.pinecone.faults import Effects
from vectorferry.gateway.pinecone.front import Front
from vectorferry.gateway.pinecone.problems import ApiProblem, Dropped, invalid
from vectorferry.gateway.pinecone.requests import Delete, wire_namespace
from vectorferry.stores.pinecone_messages import MESSAGES, struct_of

log = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_THREADS = 32
_STATUS = {status.value[0]: status for status in grpc.StatusCode}

Serve = Callable[[IndexData, Any, Effects], tuple[Any, int | None]]
"""Answers a message with a message, and the log position where it was a write."""


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, front: Front, index: str) -> None:
        self._front = front
        self._index = index

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method, None where there is no such method."""
        _, service, method = handler_call_details.method.split("/")
        found = _METHODS.get(method) if service == "VectorService" else None
        if found is None:
            return None
        operation, request, serve = found
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: self._answer(operation, serve, message, context),
            request_deserializer=MESSAGES[request].FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def _answer(self, operation: str, serve: Serve, message: Any, context: Any) -> Any:
        headers = dict(context.invocation_metadata())
        if not self._front.knows(headers.get("api-key")):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key")
        try:
            answer, position = self._front.call(
                operation, self._index, lambda effects: self._serve(serve, message, effects)
            )
        except Dropped:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection dropped")
        except ApiProblem as problem:
            context.set_trailing_metadata([(key.lower(), value) for key, value in problem.headers.items()])
            context.abort(_STATUS[problem.code], problem.message)
        except Exception as error:  # the server must answer whatever happens; the log has the trace
            log.exception("%s failed", operation)
            context.abort(grpc.StatusCode.INTERNAL, f"Internal error: {type(error).__name__}")
        context.set_trailing_metadata([position])
        return answer

    def _serve(self, serve: Serve, message: Any, effects: Effects) -> tuple[Any, tuple[str, str]]:
        data = self._front.catalog.data(self._index)
        answer, lsn = serve(data, message, effects)
        return answer, ("x-pinecone-request-lsn", str(lsn)) if lsn else (
            "x-pinecone-max-indexed-lsn",
            str(data.indexed),
        )


def _upsert(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    count, lsn = data.upsert(wire.upsert_of(message), effects)
    return MESSAGES["UpsertResponse"](upserted_count=count), lsn


def _update(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    matched, lsn = data.update(wire.update_of(message), effects)
    answer = MESSAGES["UpdateResponse"]()
    if matched is not None:
        answer.matched_records = matched
    return answer, lsn


def _delete(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    return MESSAGES["DeleteResponse"](), data.delete(wire.delete_of(message), effects)


def _fetch(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    return wire.fetched(data.fetch(message.namespace, list(message.ids), effects), message.namespace), None


def _fetch_by_metadata(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    where = struct_of(message, "filter")
    limit, token = wire.optional(message, "limit"), wire.optional(message, "pagination_token")
    return wire.fetched_by_metadata(
        data.fetch_by_metadata(message.namespace, where, limit, token), message.namespace
    ), None


def _list(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    limit, token = wire.optional(message, "limit"), wire.optional(message, "pagination_token")
    return wire.listed(data.list_ids(message.namespace, message.prefix, limit, token), message.namespace), None


def _query(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    query = wire.query_of(message)
    return wire.matched(data.query(query), query), None


def _stats(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    if message.HasField("filter"):
        raise invalid("Serverless indexes do not support describing index stats with metadata filtering")
    return wire.stats(data.counts(), data.shape), None


def _list_namespaces(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    limit, token = wire.optional(message, "limit"), wire.optional(message, "pagination_token")
    return wire.namespaces(*data.list_namespaces(message.prefix, limit, token)), None


def _describe_namespace(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    name = wire_namespace(message.namespace)
    return wire.namespace(name, data.describe_namespace(name)), None


def _create_namespace(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    data.create_namespace(message.name)
    return wire.namespace(message.name, 0), None


def _delete_namespace(data: IndexData, message: Any, effects: Effects) -> tuple[Any, int | None]:
    lsn = data.delete(Delete(message.namespace, everything=True), effects)
    return MESSAGES["DeleteResponse"](), lsn


_METHODS: Mapping[str, tuple[str, str, Serve]] = {
    "Upsert": ("upsert", "UpsertRequest", _upsert),
    "Update": ("update", "UpdateRequest", _update),
    "Delete": ("delete", "DeleteRequest", _delete),
    "Fetch": ("fetch", "FetchRequest", _fetch),
    "FetchByMetadata": ("fetch_by_metadata", "FetchByMetadataRequest", _fetch_by_metadata),
    "List": ("list", "ListRequest", _list),
    "Query": ("query", "QueryRequest", _query),
    "DescribeIndexStats": ("stats", "DescribeIndexStatsRequest", _stats),
    "ListNamespaces": ("list_namespaces", "ListNamespacesRequest", _list_namespaces),
    "DescribeNamespace": ("describe_namespace", "DescribeNamespaceRequest", _describe_namespace),
    "CreateNamespace": ("create_namespace", "CreateNamespaceRequest", _create_namespace),
    "DeleteNamespace": ("delete_namespace", "DeleteNamespaceRequest", _delete_namespace),
}


class RpcServer:
    """Serves the VectorService of one index on a port; raises VectorferryError where the port is taken."""

    def __init__(self, front: Front, index: str, host: str, port: int) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"grpc-{index}")
        self._server = grpc.server(self._threads, handlers=(_Service(front, index),), options=_OPTIONS)
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise VectorferryError(f"gRPC port {port} for index {index!r} is taken") from error
        self._server.start()

    def stop(self) -> None:
        """Refuse new calls, wait a little for those under way, release the port."""
        self._server.stop(grace=2).wait()
        self._threads.shutdown()
