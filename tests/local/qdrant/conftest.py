import itertools
import os
from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient

from local.qdrant.clients import client_of
from vectorferry.local.servers.qdrant import Qdrant

_numbers = itertools.count(1)


@pytest.fixture(params=["grpc", "rest"])
def client(qdrant: Qdrant, request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    client = client_of(qdrant, grpc=request.param == "grpc")
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """The name of a collection that nobody else has."""
    return f"test_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def grpc(qdrant: Qdrant) -> Iterator[QdrantClient]:
    """A client over gRPC, for what says nothing of the other wire."""
    client = client_of(qdrant, grpc=True)
    yield client
    client.close()


@pytest.fixture
def rest(qdrant: Qdrant) -> Iterator[QdrantClient]:
    """A client over REST."""
    client = client_of(qdrant, grpc=False)
    yield client
    client.close()
