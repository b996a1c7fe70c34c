"""The REST face."""

import json

from vectorferry.gateway.pinecone.wire.messages import Request, Response
from vectorferry.local.qdrant.front import Front
from vectorferry.local.qdrant.problems import Problem
from vectorferry.local.qdrant.rpc import TITLE, VERSION

_OPEN = {"/healthz": b"healthz check passed", "/readyz": b"all shards are ready", "/livez": b"healthz check passed"}


class RestApi:
    """Answers requests by the same functions as the gRPC face."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def admit(self, request: Request) -> Response | None:
        """Refuse a request without the key, before its body is read; the vendor's server asks for none on its health."""
        path = request.target.split(b"?")[0].decode("latin-1")
        if path in _OPEN or path == "/":
            return None
        try:
            self._front.admit(request.headers)
        except Problem as problem:
            return Response(problem.status, problem.message.encode(), content_type="text/plain")
        return None

    def __call__(self, request: Request) -> Response | None:
        """Answer."""
        path = request.target.split(b"?")[0].decode("latin-1")
        if path in _OPEN:
            return Response(200, _OPEN[path], content_type="text/plain")
        if path == "/":
            return Response(200, json.dumps({"title": TITLE, "version": VERSION}).encode())
        return Response(404, b"", content_type="text/plain")
