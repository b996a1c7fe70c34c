"""The REST API: control plane at the root, each index under /ix/NAME (one alone at the root too), what is ours under /_vectorferry."""

import logging
import re
from collections.abc import Callable
from typing import Any

from vectorferry.gateway.faults import FaultRule, UnreadableFaults, parse_faults
from vectorferry.gateway.messages import Request, Response
from vectorferry.gateway.pinecone.api.access import Caller
from vectorferry.gateway.pinecone.api.control import IndexEntry, configured, parse_creation, parse_model_creation
from vectorferry.gateway.pinecone.api.problems import ApiProblem, Dropped, invalid, unsupported
from vectorferry.gateway.pinecone.wire import wire_json as wire
from vectorferry.gateway.pinecone.wire.front import Front
from vectorferry.gateway.pinecone.wire.rest_data import no_route, route

log = logging.getLogger(__name__)

LATEST_VERSION = "2026-07"
_INDEX = re.compile(r"/indexes/([^/]+)\Z")
_DATA = re.compile(r"/ix/([^/]+)(/.*)\Z")
_CONTROL = re.compile(r"/(indexes|_vectorferry)(/|\Z)")
_HEALTH = ("/_vectorferry/health", "/livez")
_READY = "/readyz"
_OPEN = (*_HEALTH, _READY)


class RestApi:
    """Answers HTTP requests.

    `url` makes the address of the gateway from the name by which a client reached it, `opened` and `dropped` are told of indexes.
    """

    def __init__(
        self,
        front: Front,
        url: Callable[[str | None], str],
        opened: Callable[[str], None],
        dropped: Callable[[str], None],
    ) -> None:
        self._front = front
        self._url = url
        self._opened = opened
        self._dropped = dropped

    def admit(self, request: Request) -> Response | None:
        """The refusal of a request whose key is not right, None for all others; looks at nothing but the path and the key."""
        if request.path in _OPEN or self._front.caller(request.headers.get("api-key")) is not None:
            return None
        return _unauthorized(request)

    def __call__(self, request: Request) -> Response | None:
        """The answer to a request that was admitted, None where the connection is to be dropped."""
        if request.path in _HEALTH:
            return Response(200, b'{"status":"ok"}')
        if request.path == _READY:
            ready = self._front.ready
            return Response(200 if ready else 503, b'{"ready":true}' if ready else b'{"ready":false}')
        caller = self._front.caller(request.headers.get("api-key"))
        if caller is None:  # it was admitted, and the keys have changed since
            return _unauthorized(request)
        on_index = self._on_index(request.path)
        explain = wire.data_problem if on_index else wire.control_problem
        try:
            return self._data(caller, request, *on_index) if on_index else self._control(caller, request)
        except Dropped:
            return None
        except ApiProblem as problem:
            return Response(problem.status, explain(problem), problem.headers)
        except Exception as error:  # the server must answer whatever happens; the log has the trace
            log.exception("%s %s failed", request.method, request.path)
            return Response(500, explain(ApiProblem(500, f"Internal error: {type(error).__name__}")))

    def _on_index(self, path: str) -> tuple[str, str] | None:
        """The index that a path is about, and the rest of the path; None for the control plane."""
        prefixed, alone = _DATA.match(path), self._front.indexes.at_root
        if prefixed:
            return prefixed[1], prefixed[2]
        return (alone, path) if alone and not _CONTROL.match(path) else None

    def _data(self, caller: Caller, request: Request, name: str, path: str) -> Response:
        operation, serve = route(request.method, path)
        return self._front.call(
            caller, operation, name, lambda effects: serve(self._front.data(caller, name), request, effects)
        )

    def _control(self, caller: Caller, request: Request) -> Response:
        if request.path == "/_vectorferry/faults":
            caller.require("faults")
            return self._faults(request)
        if request.path == "/_vectorferry/calls":
            caller.require("calls")
            return Response(200, wire.dumps(self._front.calls()))
        if request.path == "/indexes":
            return self._indexes(caller, request, parse_creation)
        if request.path == "/indexes/create-for-model" and request.method == "POST":
            return self._indexes(caller, request, parse_model_creation)
        found = _INDEX.match(request.path)
        operation = _INDEX_OPERATIONS.get(request.method) if found else None
        if not found or not operation:
            raise no_route(request.method, request.path)
        return self._front.call(caller, operation, found[1], lambda _: self._index(request, found[1]))

    def _indexes(self, caller: Caller, request: Request, parse: Callable[[dict[str, Any]], IndexEntry]) -> Response:
        if request.method == "GET":
            return self._front.call(caller, "list_indexes", "", lambda _: self._list(request))
        if request.method == "POST":
            entry = parse(wire.body_object(request.body))
            return self._front.call(caller, "create_index", entry.name, lambda _: self._create(request, entry))
        raise no_route(request.method, request.path)

    def _list(self, request: Request) -> Response:
        indexes = self._front.indexes
        models = [self._model(request, indexes.entry(name)) for name in indexes.names()]
        return Response(200, wire.dumps({"indexes": models}))

    def _create(self, request: Request, entry: IndexEntry) -> Response:
        self._front.indexes.create(entry)
        self._opened(entry.name)
        return self._described(request, entry.name, 201)

    def _index(self, request: Request, name: str) -> Response:
        indexes = self._front.indexes
        if request.method == "DELETE":
            indexes.delete(name)
            self._dropped(name)
            return Response(202)
        if request.method == "PATCH":
            change = wire.body_object(request.body)
            indexes.change(name, lambda entry: configured(entry, change))
            return self._described(request, name, 202)
        self._opened(name)
        return self._described(request, name, 200)

    def _described(self, request: Request, name: str, status: int) -> Response:
        entry = self._front.indexes.entry(name)
        headers = {"x-vectorferry-grpc-port": str(entry.grpc_port)} if entry.grpc_port else {}
        return Response(status, wire.dumps(self._model(request, entry)), headers)

    def _model(self, request: Request, entry: IndexEntry) -> dict[str, Any]:
        version = request.headers.get("x-pinecone-api-version", LATEST_VERSION)
        base = self._url(request.headers.get("host"))
        prefix = "" if entry.name == self._front.indexes.at_root else f"/ix/{entry.name}"
        # As the vendor says it, without a scheme where it is https: some clients take it for the address of gRPC too.
        return wire.index_model(entry, base.removeprefix("https://") + prefix, version)

    def _faults(self, request: Request) -> Response:
        """GET shows, POST replaces, DELETE clears; an extension of ours."""
        faults = self._front.faults
        if faults is None:
            raise unsupported(f"{request.method} {request.path}")
        if request.method == "POST":
            faults.arm(*_rules(wire.body_object(request.body)))
        elif request.method == "DELETE":
            faults.arm((), 0)
        return Response(200, wire.dumps(faults.report()))


def _unauthorized(request: Request) -> Response:
    text = b"Invalid API key" if "api-key" in request.headers else b"Unauthorized"
    return Response(401, text, content_type="text/plain")


def _rules(raw: Any) -> tuple[list[FaultRule], int]:
    try:
        return parse_faults(raw)
    except UnreadableFaults as error:
        raise invalid(str(error)) from error


_INDEX_OPERATIONS = {"GET": "describe_index", "PATCH": "configure_index", "DELETE": "delete_index"}
