"""A server that answers as a test says, request by request, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, list[str]]
    body: Any
    target_bytes: int


@dataclass(frozen=True)
class Answer:
    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Act = Callable[[Asked, BaseHTTPRequestHandler], Answer | None]
"""Makes the answer; None where it wrote to the handler itself, or wants the connection dropped."""


class PineconeStub:
    """One index called "stub"; `on[path]` says what a request to that path gets."""

    def __init__(self, url: str) -> None:
        self.url = self.index_url = url
        self.asked: list[Asked] = []
        self.grpc_port = 0
        self.fields: dict[str, Any] = {"_values": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}
        self.on: dict[str, Act] = {
            "/indexes/stub": lambda *_: Answer(self.index()),
            "/namespaces": lambda *_: Answer({"namespaces": []}),
            "/describe_index_stats": lambda *_: Answer({"namespaces": {}, "totalVectorCount": 0}),
        }

    def index(self) -> dict[str, Any]:
        return {
            "name": "stub",
            "host": self.index_url,
            "status": {"ready": True, "state": "Ready"},
            "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
            "schema": {"fields": self.fields},
            "deletion_protection": "disabled",
        }

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = parse_qs(parts.query, keep_blank_values=True)
        asked = Asked(handler.command, parts.path, query, json.loads(raw) if raw else None, len(handler.path))
        self.asked.append(asked)
        answer = self.on[parts.path](asked, handler)
        if answer is None:
            handler.close_connection = True
            return
        text = json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)


@contextmanager
def pinecone_stub() -> Iterator[PineconeStub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            stub.answer(self)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub = PineconeStub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
