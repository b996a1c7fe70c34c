"""The REST API of one index: each function answers one operation."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from vectorferry.gateway.faults import Effects
from vectorferry.gateway.messages import Request, Response
from vectorferry.gateway.pinecone.api.access import Operations
from vectorferry.gateway.pinecone.api.problems import ApiProblem, invalid, missing, unsupported
from vectorferry.gateway.pinecone.api.requests import DeleteRequest, wire_namespace
from vectorferry.gateway.pinecone.wire import wire_json as wire

_NAMESPACE = re.compile(r"/namespaces/([^/]+)\Z")
_UNSUPPORTED = re.compile(
    r"/(bulk/imports|records|namespaces/[^/]+/documents|namespace-aliases|backups|restore-jobs|collections|indexes/[^/]+/"
    r"|embed|rerank|models)"
)
OnIndex = Callable[[Operations, Request, Effects], Response]


def _upsert(data: Operations, request: Request, effects: Effects) -> Response:
    count, lsn = data.upsert(wire.upsert_of(wire.body_object(request.body)), effects)
    return _written(lsn, {"upsertedCount": count})


def _fetch(data: Operations, request: Request, effects: Effects) -> Response:
    query = request.query
    namespace = _one(query, "namespace") or ""
    found = data.fetch(namespace, query.get("ids", []), effects)
    return _read(data, wire.fetched(found, namespace))


def _list_ids(data: Operations, request: Request, effects: Effects) -> Response:
    del effects
    query = request.query
    namespace, limit = _one(query, "namespace") or "", _whole(_one(query, "limit"))
    page = data.list_ids(namespace, _one(query, "prefix") or "", limit, _one(query, "paginationToken"))
    return _read(data, wire.listed(page, namespace))


def _query(data: Operations, request: Request, effects: Effects) -> Response:
    del effects
    query = wire.query_of(wire.body_object(request.body))
    return _read(data, wire.matched(data.query(query), query))


def _fetch_by_metadata(data: Operations, request: Request, effects: Effects) -> Response:
    del effects
    raw = wire.body_object(request.body)
    namespace = raw.get("namespace") or ""
    found = data.fetch_by_metadata(namespace, raw.get("filter"), raw.get("limit"), raw.get("paginationToken"))
    return _read(data, wire.fetched(found.batch, namespace, found.token))


def _update(data: Operations, request: Request, effects: Effects) -> Response:
    matched, lsn = data.update(wire.update_of(wire.body_object(request.body)), effects)
    return _written(lsn, {} if matched is None else {"matchedRecords": matched})


def _delete(data: Operations, request: Request, effects: Effects) -> Response:
    return _written(data.delete(wire.delete_of(wire.body_object(request.body)), effects), {})


def _stats(data: Operations, request: Request, effects: Effects) -> Response:
    del effects
    if wire.body_object(request.body).get("filter") is not None:
        raise invalid("Serverless indexes do not support describing index stats with metadata filtering")
    return _read(data, wire.dumps(wire.stats(data.counts(), data.shape)))


def _namespaces(data: Operations, request: Request, effects: Effects) -> Response:
    del effects
    query = request.query
    limit = _whole(_one(query, "limit"))
    page, counts = data.list_namespaces(_one(query, "prefix") or "", limit, _one(query, "paginationToken"))
    return _read(data, wire.dumps(wire.namespaces(page, counts)))


def _create_namespace(data: Operations, request: Request, effects: Effects) -> Response:
    del effects
    name = wire.body_object(request.body).get("name") or ""
    data.create_namespace(name)
    return Response(200, wire.dumps(wire.namespace(wire_namespace(name), 0)))


def _namespace(data: Operations, request: Request, effects: Effects) -> Response:
    name = unquote(request.path.rpartition("/")[2])
    if request.method == "DELETE":
        return _written(data.delete(DeleteRequest(name, everything=True), effects), {})
    return _read(data, wire.dumps(wire.namespace(wire_namespace(name), data.describe_namespace(name))))


ROUTES: Mapping[tuple[str, str], tuple[str, OnIndex]] = {
    ("POST", "/vectors/upsert"): ("upsert", _upsert),
    ("GET", "/vectors/fetch"): ("fetch", _fetch),
    ("GET", "/vectors/list"): ("list", _list_ids),
    ("POST", "/query"): ("query", _query),
    ("POST", "/vectors/fetch_by_metadata"): ("fetch_by_metadata", _fetch_by_metadata),
    ("POST", "/vectors/update"): ("update", _update),
    ("POST", "/vectors/delete"): ("delete", _delete),
    ("DELETE", "/vectors/delete"): ("delete", _delete),
    ("POST", "/describe_index_stats"): ("stats", _stats),
    ("GET", "/describe_index_stats"): ("stats", _stats),
    ("GET", "/namespaces"): ("list_namespaces", _namespaces),
    ("POST", "/namespaces"): ("create_namespace", _create_namespace),
    ("GET", "/namespaces/*"): ("describe_namespace", _namespace),
    ("DELETE", "/namespaces/*"): ("delete_namespace", _namespace),
}


def route(method: str, path: str) -> tuple[str, OnIndex]:
    """The name of an operation and what answers it. Raises 404 for what nobody serves, 501 for what the vendor does."""
    found = ROUTES.get((method, "/namespaces/*" if _NAMESPACE.match(path) else path))
    if found is None:
        raise no_route(method, path)
    return found


def no_route(method: str, path: str) -> ApiProblem:
    """The refusal of an endpoint."""
    return unsupported(f"{method} {path}") if _UNSUPPORTED.match(path) else missing(f"{method} {path}")


def _written(lsn: int | None, answer: Any) -> Response:
    return Response(200, wire.dumps(answer), {} if lsn is None else {"x-pinecone-request-lsn": str(lsn)})


def _read(data: Operations, body: bytes) -> Response:
    position = data.indexed
    return Response(200, body, {} if position is None else {"x-pinecone-max-indexed-lsn": str(position)})


def _one(query: Mapping[str, list[str]], name: str) -> str | None:
    return query.get(name, [None])[0]


def _whole(text: str | None) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise invalid(f"limit must be a whole number, got {text!r}")
