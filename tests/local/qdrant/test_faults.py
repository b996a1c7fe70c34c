"""Faults on purpose: by the same rules as the local Pinecone's, told to the server over REST."""

from collections.abc import Iterator
from typing import Any

import grpc as grpc_errors
import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException

from local.qdrant.clients import client_of, refused
from vectorferry.local.qdrant.server import Server
from vectorferry.local.servers.qdrant import Qdrant

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

POINTS = [models.PointStruct(id=each, vector=[1.0, 2.0]) for each in range(4)]
UNANSWERED = (grpc_errors.RpcError, ResponseHandlingException)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qdrant]:
    """One of its own: rules are a server's, and the session's is shared."""
    with Server(tmp_path_factory.mktemp("faults"), api_key="key") as server:
        yield Qdrant("127.0.0.1", server.port, server.grpc_port, "key")


@pytest.fixture(params=["grpc", "rest"])
def client(server: Qdrant, request: pytest.FixtureRequest, name: str) -> Iterator[QdrantClient]:
    arm(server)
    client = client_of(server, grpc=request.param == "grpc")
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    yield client
    client.close()


def arm(server: Qdrant, *rules: dict[str, Any]) -> httpx.Response:
    headers = {"api-key": server.api_key}
    return httpx.post(
        f"{server.url}/_vectorferry/faults", json={"seed": 7, "rules": rules}, headers=headers, trust_env=False
    )


def hits(server: Qdrant) -> list[int]:
    answer = httpx.get(f"{server.url}/_vectorferry/faults", headers={"api-key": server.api_key}, trust_env=False)
    return [each["hits"] for each in answer.json()["result"]["rules"]]


def test_a_rate_limit_says_when_to_come_back(server: Qdrant, client: QdrantClient, name: str) -> None:
    arm(server, {"kind": "rate_limit", "seconds": 1.5, "operations": ["upsert"], "times": 1})
    with pytest.raises(ResourceExhaustedResponse) as caught:
        client.upsert(name, POINTS)
    assert caught.value.retry_after_s == 2
    client.upsert(name, POINTS)
    assert hits(server) == [1]


def test_a_server_that_is_unavailable(server: Qdrant, client: QdrantClient, name: str) -> None:
    arm(server, {"kind": "error", "operations": ["reads"], "indexes": [name]})
    with refused("UNAVAILABLE", "Injected server error"):
        client.count(name)


@pytest.mark.parametrize(("kind", "count"), [("drop_before", 0), ("drop_after", 4)])
def test_a_connection_that_ends_without_an_answer(
    server: Qdrant, client: QdrantClient, name: str, kind: str, count: int
) -> None:
    arm(server, {"kind": kind, "operations": ["upsert"]})
    with pytest.raises(UNANSWERED):
        client.upsert(name, POINTS)
    assert client.count(name).count == count


def test_an_upsert_of_which_a_part_is_lost(server: Qdrant, client: QdrantClient, name: str) -> None:
    arm(server, {"kind": "partial", "share": 0.5, "operations": ["upsert"], "times": 1})
    with refused("INTERNAL", "1 of 2 shards failed"):
        client.upsert(name, POINTS)
    assert client.count(name).count == 2
    arm(server, {"kind": "partial", "share": 0.5, "silent": True})
    client.upsert(name, [models.PointStruct(id=each, vector=[1.0, 2.0]) for each in (10, 11)])
    assert client.count(name).count == 3


def test_writes_that_are_seen_late_and_in_their_order(server: Qdrant, client: QdrantClient, name: str) -> None:
    arm(server, {"kind": "lag", "seconds": 3600, "operations": ["upsert"]})
    client.upsert(name, POINTS)
    client.delete(name, [0])
    assert client.count(name).count == 0
    client.update_collection_aliases([])  # not of this collection: answered meanwhile


def test_rules_that_cannot_be_followed_are_refused(server: Qdrant) -> None:
    assert arm(server, {"kind": "nonsense"}).status_code == 400
    assert (
        arm(server, {"kind": "stale"}).json()["status"]["error"] == "The local Qdrant does not have reads from the past"
    )
