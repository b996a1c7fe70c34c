"""The vendor's clients of a server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from vectorferry.local.qdrant.problems import CODES
from vectorferry.local.servers.qdrant import Qdrant, qdrant
from vectorferry.local.servers.supervisor import Supervisor

STATUSES = {code.name: status for status, code in CODES.items()}


def client_of(server: Qdrant, *, grpc: bool, api_key: str | None = None) -> QdrantClient:
    """The vendor's client of a server, over gRPC or REST."""
    return QdrantClient(
        host=server.host,
        port=server.port,
        grpc_port=server.grpc_port,
        prefer_grpc=grpc,
        https=server.secure,
        api_key=server.api_key if api_key is None else api_key,
        timeout=60,
        check_compatibility=False,  # it asks from a thread of its own, which may outlive the server
    )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[Qdrant, Supervisor]]:
    """A server of one test's own, with who runs it."""
    server = qdrant(folder / "qdrant")
    if server.folder is None:
        pytest.skip("the server that QDRANT_URL names is not ours to end")
    with Supervisor(folder) as supervisor:
        supervisor.start(server.services())
        yield server, supervisor


@contextlib.contextmanager
def refused(code: str, words: str) -> Iterator[None]:
    """The body is refused with this gRPC code, or over REST the status of the same, and these words."""
    with pytest.raises((grpc.RpcError, UnexpectedResponse)) as caught:
        yield
    error = caught.value
    if isinstance(error, UnexpectedResponse):
        assert (error.status_code, words in error.content.decode()) == (STATUSES[code], True), error.content
    else:
        assert (error.code().name, words in error.details()) == (code, True), error.details()
