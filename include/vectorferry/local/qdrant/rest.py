"""The REST face: which path is which method, and the frame around answers and refusals."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import orjson
from qdrant_client import grpc as pb

from vectorferry.gateway.messages import Request, Response
from vectorferry.local.qdrant import points, rest_answers, rest_requests
from vectorferry.local.qdrant.front import Front
from vectorferry.local.qdrant.methods import METHODS, Method
from vectorferry.local.qdrant.problems import Dropped, Problem, no_path
from vectorferry.local.qdrant.rpc import MAX_REQUEST_BYTES, TITLE, VERSION

_OPEN = {"/healthz": b"healthz check passed", "/readyz": b"all shards are ready", "/livez": b"healthz check passed"}
_FAULTS = "/_vectorferry/faults"
_TEXT = "text/plain"


@dataclass(frozen=True)
class _Call:
    """A request taken apart: `parts` are the names in its path."""

    parts: tuple[str, ...]
    query: Mapping[str, list[str]]
    body: bytes

    @property
    def name(self) -> str:
        return self.parts[0]

    @property
    def json(self) -> Any:
        return rest_requests.body_of(self.body)


@dataclass(frozen=True)
class _Route:
    """A path of REST: how its request becomes a message, and the answer JSON."""

    method: Method
    message: Callable[[_Call], Any]
    answer: Callable[[Any], Any]


def _of(path: str) -> Method:
    return METHODS[f"/qdrant.{path}"]


def _write(path: str, key: str) -> _Route:
    """A write: a batch of one."""
    return _Route(
        replace(_of(path), serve=points.update_batch),
        lambda call: rest_requests.written(call.name, call.query, {key: call.json}),
        rest_answers.written,
    )


def _batch(call: _Call) -> pb.UpdateBatchPoints:
    return rest_requests.written(call.name, call.query, *call.json.get("operations", ()))


def _asked(path: str, message: Callable[[str, Any], Any], answer: Callable[[Any], Any]) -> _Route:
    """What takes a collection's name and a body."""
    return _Route(_of(path), lambda call: message(call.name, call.json), answer)


def _named(path: str, message: Any, answer: Callable[[Any], Any]) -> _Route:
    """What takes a collection's name alone."""
    return _Route(_of(path), lambda call: message(collection_name=call.name), answer)


_ONE = "/collections/([^/]+)"
_ROUTES: Mapping[tuple[str, str], _Route] = {
    ("GET", "/collections"): _Route(_of("Collections/List"), lambda _: pb.ListCollectionsRequest(), rest_answers.names),
    ("GET", "/aliases"): _Route(
        _of("Collections/ListAliases"), lambda _: pb.ListAliasesRequest(), rest_answers.aliases
    ),
    ("POST", "/collections/aliases"): _Route(
        _of("Collections/UpdateAliases"), lambda call: rest_requests.aliases(call.json), rest_answers.plain
    ),
    ("GET", _ONE): _named("Collections/Get", pb.GetCollectionInfoRequest, rest_answers.info),
    ("PUT", _ONE): _asked("Collections/Create", rest_requests.created, rest_answers.plain),
    ("PATCH", _ONE): _asked("Collections/Update", rest_requests.updated, rest_answers.plain),
    ("DELETE", _ONE): _named("Collections/Delete", pb.DeleteCollection, rest_answers.plain),
    ("GET", f"{_ONE}/exists"): _named("Collections/CollectionExists", pb.CollectionExistsRequest, rest_answers.exists),
    ("GET", f"{_ONE}/aliases"): _named(
        "Collections/ListCollectionAliases", pb.ListCollectionAliasesRequest, rest_answers.aliases
    ),
    ("PUT", f"{_ONE}/index"): _asked("Points/CreateFieldIndex", rest_requests.index, rest_answers.indexed),
    ("DELETE", f"{_ONE}/index/([^/]+)"): _Route(
        _of("Points/DeleteFieldIndex"),
        lambda call: pb.DeleteFieldIndexCollection(collection_name=call.name, field_name=call.parts[1], wait=True),
        rest_answers.indexed,
    ),
    ("PUT", f"{_ONE}/points"): _write("Points/Upsert", "upsert"),
    ("POST", f"{_ONE}/points/delete"): _write("Points/Delete", "delete"),
    ("PUT", f"{_ONE}/points/vectors"): _write("Points/UpdateVectors", "update_vectors"),
    ("POST", f"{_ONE}/points/vectors/delete"): _write("Points/DeleteVectors", "delete_vectors"),
    ("POST", f"{_ONE}/points/payload"): _write("Points/SetPayload", "set_payload"),
    ("PUT", f"{_ONE}/points/payload"): _write("Points/OverwritePayload", "overwrite_payload"),
    ("POST", f"{_ONE}/points/payload/delete"): _write("Points/DeletePayload", "delete_payload"),
    ("POST", f"{_ONE}/points/payload/clear"): _write("Points/ClearPayload", "clear_payload"),
    ("POST", f"{_ONE}/points/batch"): _Route(_of("Points/UpdateBatch"), _batch, rest_answers.written_all),
    ("POST", f"{_ONE}/points"): _asked("Points/Get", rest_requests.points, rest_answers.records),
    ("GET", f"{_ONE}/points/([^/]+)"): _Route(
        _of("Points/Get"), lambda call: rest_requests.point(*call.parts), rest_answers.point
    ),
    ("POST", f"{_ONE}/points/scroll"): _asked("Points/Scroll", rest_requests.scroll, rest_answers.page),
    ("POST", f"{_ONE}/points/count"): _asked("Points/Count", rest_requests.count, rest_answers.counted),
    ("POST", f"{_ONE}/points/query"): _asked("Points/Query", rest_requests.query, rest_answers.hits),
    ("POST", f"{_ONE}/points/query/batch"): _asked(
        "Points/QueryBatch", rest_requests.queries, rest_answers.hits_of_all
    ),
    ("POST", f"{_ONE}/facet"): _asked("Points/Facet", rest_requests.facet, rest_answers.facets),
}
_PATTERNS = [(method, re.compile(path), route) for (method, path), route in _ROUTES.items()]


class RestApi:
    """Answers requests by the same functions as the gRPC face."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def admit(self, request: Request) -> Response | None:
        """Refuse a request without the key, or with too much in it, before its body is read.

        The vendor's server asks for no key where it is asked how it does.
        """
        if request.path in _OPEN or request.path == "/":
            return None
        if int(request.headers.get("content-length", "0")) > MAX_REQUEST_BYTES:
            return Response(
                413, f"Payload reached size limit of {MAX_REQUEST_BYTES} bytes.".encode(), content_type=_TEXT
            )
        try:
            self._front.admit(request.headers)
        except Problem as problem:
            return Response(problem.status, problem.message.encode(), content_type=_TEXT)
        return None

    def __call__(self, request: Request) -> Response | None:
        """Answer; None ends the connection without an answer."""
        path = request.path
        if path in _OPEN:
            return Response(200, _OPEN[path], content_type=_TEXT)
        if path == "/":
            return Response(200, orjson.dumps({"title": TITLE, "version": VERSION}))
        began = time.monotonic()
        try:
            if path == _FAULTS:
                return self._faults(request, began)
            return _framed(200, {"result": self._answer(request), "status": "ok"}, began)
        except Dropped:
            return None
        except Problem as problem:
            headers = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
            return _framed(problem.status, {"status": {"error": problem.message}}, began, headers)

    def _faults(self, request: Request, began: float) -> Response:
        """GET shows the rules, POST replaces them, DELETE clears them; an extension of ours, the same as the local Pinecone's."""
        if request.method == "POST":
            self._front.arm(rest_requests.body_of(request.body))
        elif request.method == "DELETE":
            self._front.faults.arm((), 0)
        return _framed(200, {"result": self._front.faults.report(), "status": "ok"}, began)

    def _answer(self, request: Request) -> Any:
        for method, pattern, route in _PATTERNS:
            found = pattern.fullmatch(request.path) if method == request.method else None
            if found:
                call = _Call(tuple(unquote(each) for each in found.groups()), request.query, request.body)
                return route.answer(self._front.call(route.method, route.message(call)))
        raise no_path(request.path)


def _framed(
    status: int, content: Mapping[str, Any], began: float, headers: Mapping[str, str] | None = None
) -> Response:
    body = orjson.dumps({**content, "time": time.monotonic() - began}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(status, body, headers or {})
