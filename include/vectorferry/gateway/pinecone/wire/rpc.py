"""The gRPC VectorService of one index."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from vectorferry.core.errors import VectorferryError
from vectorferry.gateway.faults import Effects
from vectorferry.gateway.pinecone.api.access import Caller, Operations
from vectorferry.gateway.pinecone.api.problems import ApiProblem, Dropped, invalid
from vectorferry.gateway.pinecone.api.requests import DeleteRequest, wire_namespace
from vectorferry.gateway.pinecone.wire import wire_proto as wire
from vectorferry.gateway.pinecone.wire.front import Front
from vectorferry.gateway.pinecone.wire.tls import Tls
from vectorferry.stores.pinecone.messages import MESSAGES, struct_of

log = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
# Threads are made as needed. Writes that wait for the end of a hold keep theirs, and reads go on meanwhile.
_THREADS = 512
_STATUS = {status.value[0]: status for status in grpc.StatusCode}

Serve = Callable[[Operations, Any, Effects], tuple[Any, int | None]]
"""Answers a message with a message, and the log position where it was a write."""


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, front: Front, index: str) -> None:
        self._front = front
        self._index = index

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method; one that is unsupported is refused by its name."""
        path = handler_call_details.method
        found = _METHODS.get(path)
        if found is None:
            return grpc.unary_unary_rpc_method_handler(lambda _, context: _refuse(path, context))
        operation, request, serve = found
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: self._answer(operation, serve, message, context),
            request_deserializer=MESSAGES[request].FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def _answer(self, operation: str, serve: Serve, message: Any, context: Any) -> Any:
        headers = dict(context.invocation_metadata())
        caller = self._front.caller(headers.get("api-key"))
        if caller is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key")
        assert caller is not None, "abort raises"
        try:
            answer, position = self._front.call(
                caller, operation, self._index, lambda effects: self._serve(caller, serve, message, effects)
            )
        except Dropped:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection dropped")
        except ApiProblem as problem:
            context.set_trailing_metadata([(key.lower(), value) for key, value in problem.headers.items()])
            context.abort(_STATUS[problem.code], problem.message)
        except Exception as error:  # the server must answer whatever happens; the log has the trace
            log.exception("%s failed", operation)
            context.abort(grpc.StatusCode.INTERNAL, f"Internal error: {type(error).__name__}")
        context.set_trailing_metadata(position)
        return answer

    def _serve(self, caller: Caller, serve: Serve, message: Any, effects: Effects) -> tuple[Any, list[tuple[str, str]]]:
        data = self._front.data(caller, self._index)
        answer, lsn = serve(data, message, effects)
        if lsn is not None:
            return answer, [("x-pinecone-request-lsn", str(lsn))]
        position = data.indexed
        return answer, [] if position is None else [("x-pinecone-max-indexed-lsn", str(position))]


def _refuse(path: str, context: Any) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{path} is not supported by this gateway")


def _upsert(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    count, lsn = data.upsert(wire.upsert_of(message), effects)
    return MESSAGES["UpsertResponse"](upserted_count=count), lsn


def _update(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    matched, lsn = data.update(wire.update_of(message), effects)
    answer = MESSAGES["UpdateResponse"]()
    if matched is not None:
        answer.matched_records = matched
    return answer, lsn


def _delete(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    return MESSAGES["DeleteResponse"](), data.delete(wire.delete_of(message), effects)


def _fetch(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    return wire.fetched(data.fetch(message.namespace, list(message.ids), effects), message.namespace), None


def _fetch_by_metadata(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    where = struct_of(message, "filter")
    limit, token = wire.optional(message, "limit"), wire.optional(message, "pagination_token")
    return wire.fetched_by_metadata(
        data.fetch_by_metadata(message.namespace, where, limit, token), message.namespace
    ), None


def _list(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    limit, token = wire.optional(message, "limit"), wire.optional(message, "pagination_token")
    return wire.listed(data.list_ids(message.namespace, message.prefix, limit, token), message.namespace), None


def _query(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    query = wire.query_of(message)
    return wire.matched(data.query(query), query), None


def _stats(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    if message.HasField("filter"):
        raise invalid("Serverless indexes do not support describing index stats with metadata filtering")
    return wire.stats(data.counts(), data.shape), None


def _list_namespaces(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    limit, token = wire.optional(message, "limit"), wire.optional(message, "pagination_token")
    return wire.namespaces(*data.list_namespaces(message.prefix, limit, token)), None


def _describe_namespace(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    name = wire_namespace(message.namespace)
    return wire.namespace(name, data.describe_namespace(name)), None


def _create_namespace(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    del effects
    data.create_namespace(message.name)
    return wire.namespace(message.name, 0), None


def _delete_namespace(data: Operations, message: Any, effects: Effects) -> tuple[Any, int | None]:
    lsn = data.delete(DeleteRequest(message.namespace, everything=True), effects)
    return MESSAGES["DeleteResponse"](), lsn


_METHODS: Mapping[str, tuple[str, str, Serve]] = {
    "/VectorService/Upsert": ("upsert", "UpsertRequest", _upsert),
    "/VectorService/Update": ("update", "UpdateRequest", _update),
    "/VectorService/Delete": ("delete", "DeleteRequest", _delete),
    "/VectorService/Fetch": ("fetch", "FetchRequest", _fetch),
    "/VectorService/FetchByMetadata": ("fetch_by_metadata", "FetchByMetadataRequest", _fetch_by_metadata),
    "/VectorService/List": ("list", "ListRequest", _list),
    "/VectorService/Query": ("query", "QueryRequest", _query),
    "/VectorService/DescribeIndexStats": ("stats", "DescribeIndexStatsRequest", _stats),
    "/VectorService/ListNamespaces": ("list_namespaces", "ListNamespacesRequest", _list_namespaces),
    "/VectorService/DescribeNamespace": ("describe_namespace", "DescribeNamespaceRequest", _describe_namespace),
    "/VectorService/CreateNamespace": ("create_namespace", "CreateNamespaceRequest", _create_namespace),
    "/VectorService/DeleteNamespace": ("delete_namespace", "DeleteNamespaceRequest", _delete_namespace),
}


class RpcServer:
    """Serves the VectorService of one index on a port; raises VectorferryError where the port is taken."""

    def __init__(self, front: Front, index: str, host: str, port: int, tls: Tls | None) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"grpc-{index}")
        self._server = grpc.server(self._threads, handlers=(_Service(front, index),), options=_OPTIONS)
        try:
            self.port: int = self._listen(f"{host}:{port}", tls)
        except RuntimeError as error:
            raise VectorferryError(f"gRPC port {port} for index {index!r} is taken") from error
        self._server.start()

    def stop(self, seconds: float) -> None:
        """Refuse new calls, wait for those under way, at most that long, release the port."""
        self._server.stop(grace=seconds).wait()
        self._threads.shutdown(wait=False)

    def _listen(self, address: str, tls: Tls | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(address))
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([pair])))
