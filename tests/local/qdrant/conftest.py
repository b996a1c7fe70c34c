import itertools
import os
from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient

from vectorferry.local.servers.qdrant import Qdrant

_numbers = itertools.count(1)


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


@pytest.fixture(params=["grpc"])
def client(qdrant: Qdrant, request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    client = client_of(qdrant, grpc=request.param == "grpc")
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """The name of a collection that nobody else has."""
    return f"test_{os.getpid()}_{next(_numbers)}"
