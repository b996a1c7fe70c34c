"""The REST API: control plane at the root, each index under /ix/NAME, faults under /_vectorferry."""

import logging
import re
from collections.abc import Callable
from typing import Any

from vectorferry.gateway.pinecone import wire_json as wire
from vectorferry.gateway.pinecone.control import IndexEntry, configured, parse_creation
from vectorferry.gateway.pinecone.faults import parse_faults
from vectorferry.gateway.pinecone.front import Front
from vectorferry.gateway.pinecone.http import Request, Response
from vectorferry.gateway.pinecone.problems import ApiProblem, Dropped, missing
from vectorferry.gateway.pinecone.rest_data import ROUTES

log = logging.getLogger(__name__)

LATEST_VERSION = "2026-07"
_INDEX = re.compile(r"/indexes/([^/]+)\Z")
_DATA = re.compile(r"/ix/([^/]+)(/.*)\Z")
_NAMESPACE = re.compile(r"/namespaces/([^/]+)\Z")
_UNSERVED = re.compile(
    r"/(bulk/imports|records|namespaces/[^/]+/documents|namespace-aliases|backups|restore-jobs|collections|indexes/[^/]+/)"
)


class RestApi:
    """Answers HTTP requests. `url` is where clients reach the gateway if the request does not say; `opened` is told of new indexes."""

    def __init__(
        self, front: Front, url: Callable[[], str], opened: Callable[[str], None], dropped: Callable[[str], None]
    ) -> None:
        self._front = front
        self._url = url
        self._opened = opened
        self._dropped = dropped

    def __call__(self, request: Request) -> Response | None:
        """The answer, None where the connection is to be dropped."""
        if request.path == "/_vectorferry/health":
            return Response(200, b'{"status":"ok"}')
        if not self._front.knows(request.headers.get("api-key")):
            text = b"Invalid API key" if "api-key" in request.headers else b"Unauthorized"
            return Response(401, text, content_type="text/plain")
        on_index = _DATA.match(request.path)
        explain = wire.data_problem if on_index else wire.control_problem
        try:
            return self._data(request, *on_index.groups()) if on_index else self._control(request)
        except Dropped:
            return None
        except ApiProblem as problem:
            return Response(problem.status, explain(problem), problem.headers)
        except Exception as error:  # the server must answer whatever happens; the log has the trace
            log.exception("%s %s failed", request.method, request.path)
            return Response(500, explain(ApiProblem(500, f"Internal error: {type(error).__name__}")))

    def _data(self, request: Request, name: str, path: str) -> Response:
        namespace = _NAMESPACE.match(path)
        operation, serve = ROUTES.get((request.method, "/namespaces/*" if namespace else path), (None, None))
        if operation is None or serve is None:
            raise _no_route(request, path)
        return self._front.call(
            operation, name, lambda effects: serve(self._front.catalog.data(name), request, effects)
        )

    def _control(self, request: Request) -> Response:
        if request.path == "/_vectorferry/faults":
            return self._faults(request)
        if request.path == "/indexes":
            return self._indexes(request)
        found = _INDEX.match(request.path)
        operation = _INDEX_OPERATIONS.get(request.method) if found else None
        if not found or not operation:
            raise _no_route(request, request.path)
        return self._front.call(operation, found[1], lambda _: self._index(request, found[1]))

    def _indexes(self, request: Request) -> Response:
        if request.method == "GET":
            return self._front.call("list_indexes", "", lambda _: self._list(request))
        if request.method == "POST":
            entry = parse_creation(wire.body_object(request.body))
            return self._front.call("create_index", entry.name, lambda _: self._create(request, entry))
        raise _no_route(request, request.path)

    def _list(self, request: Request) -> Response:
        catalog = self._front.catalog
        models = [self._model(request, catalog.entry(name)) for name in catalog.names()]
        return Response(200, wire.dumps({"indexes": models}))

    def _create(self, request: Request, entry: IndexEntry) -> Response:
        self._front.catalog.create(entry)
        self._opened(entry.name)
        return self._described(request, entry.name, 201)

    def _index(self, request: Request, name: str) -> Response:
        catalog = self._front.catalog
        if request.method == "DELETE":
            catalog.delete(name)
            self._dropped(name)
            return Response(202)
        if request.method == "PATCH":
            change = wire.body_object(request.body)
            catalog.change(name, lambda entry: configured(entry, change))
            return self._described(request, name, 202)
        self._opened(name)
        return self._described(request, name, 200)

    def _described(self, request: Request, name: str, status: int) -> Response:
        entry = self._front.catalog.entry(name)
        headers = {"x-vectorferry-grpc-port": str(entry.grpc_port)} if entry.grpc_port else {}
        return Response(status, wire.dumps(self._model(request, entry)), headers)

    def _model(self, request: Request, entry: IndexEntry) -> dict[str, Any]:
        version = request.headers.get("x-pinecone-api-version", LATEST_VERSION)
        host = request.headers.get("host")
        return wire.index_model(entry, f"{f'http://{host}' if host else self._url()}/ix/{entry.name}", version)

    def _faults(self, request: Request) -> Response:
        """GET shows, POST replaces, DELETE clears; an extension of ours."""
        faults = self._front.faults
        if request.method == "POST":
            faults.arm(*parse_faults(wire.body_object(request.body)))
        elif request.method == "DELETE":
            faults.arm((), 0)
        return Response(200, wire.dumps(faults.report()))


_INDEX_OPERATIONS = {"GET": "describe_index", "PATCH": "configure_index", "DELETE": "delete_index"}


def _no_route(request: Request, path: str) -> ApiProblem:
    if _UNSERVED.match(path):
        return ApiProblem(501, f"{request.method} {path} is not served by this gateway")
    return missing(f"{request.method} {path}")
