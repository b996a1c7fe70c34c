"""Both wires: keys, sizes, health, the vendor's asynchronous client, and many writers at once."""

import asyncio
import importlib.metadata

import httpx
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.common.version_check import is_compatible

from local.qdrant.clients import client_of, refused
from vectorferry.local.servers.qdrant import Qdrant

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

PLAIN = models.VectorParams(size=2, distance=models.Distance.DOT)
LIMIT = 32 << 20


@pytest.mark.parametrize("grpc", [True, False])
def test_who_has_no_key_is_refused_in_the_vendors_words(qdrant: Qdrant, grpc: bool) -> None:
    if not qdrant.api_key:
        pytest.skip("the server that QDRANT_URL names takes everybody")
    wrong = client_of(qdrant, grpc=grpc, api_key="wrong")
    with refused("UNAUTHENTICATED", "Invalid API key or JWT"):
        wrong.get_collections()
    none = client_of(qdrant, grpc=grpc, api_key="")
    with refused("UNAUTHENTICATED", "Must provide an API key or an Authorization bearer token"):
        none.get_collections()


def test_health_needs_no_key(qdrant: Qdrant) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/"):
        assert httpx.get(f"{qdrant.url}{path}", trust_env=False).is_success


def test_the_vendors_client_finds_its_own_version(qdrant: Qdrant) -> None:
    version = httpx.get(qdrant.url, trust_env=False).json()["version"]
    assert is_compatible(importlib.metadata.version("qdrant-client"), version)


def test_a_request_over_the_limit_is_refused(qdrant: Qdrant, grpc: QdrantClient, name: str) -> None:
    grpc.create_collection(name, vectors_config=PLAIN)
    fits, over = "x" * (LIMIT - 1000), "x" * LIMIT
    grpc.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0], payload={"text": fits})])
    with refused("OUT_OF_RANGE", f"the limit is: {LIMIT} bytes"):
        grpc.upsert(name, [models.PointStruct(id=2, vector=[1.0, 2.0], payload={"text": over})])
    url, headers = f"{qdrant.url}/collections/{name}/points", {"api-key": qdrant.api_key}
    body = {"points": [{"id": 2, "vector": [1.0, 2.0], "payload": {"text": over}}]}
    assert httpx.put(url, json=body, headers=headers, trust_env=False).status_code == 413
    assert grpc.count(name).count == 1


def test_a_body_that_is_no_json_is_refused(qdrant: Qdrant) -> None:
    url, headers = f"{qdrant.url}/collections/docs/points/scroll", {"api-key": qdrant.api_key}
    for body in (b"{", b'{"limit": "many"}', b'{"nonsense": 1}'):
        answer = httpx.post(url, content=body, headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["status"]["error"].partition(":")[0]) == (
            400,
            "Format error in JSON body",
        )


@pytest.mark.parametrize("grpc", [True, False])
async def test_many_writers_by_the_asynchronous_client(qdrant: Qdrant, name: str, grpc: bool) -> None:
    client = AsyncQdrantClient(
        host=qdrant.host,
        port=qdrant.port,
        grpc_port=qdrant.grpc_port,
        prefer_grpc=grpc,
        https=qdrant.secure,
        api_key=qdrant.api_key,
        timeout=60,
        check_compatibility=False,
    )
    await client.create_collection(name, vectors_config=PLAIN)

    async def write(writer: int) -> None:
        for turn in range(10):
            batch = [
                models.PointStruct(id=each, vector=[writer, turn], payload={"by": writer}) for each in range(writer, 40)
            ]
            await client.upsert(name, batch, wait=True)

    await asyncio.gather(*(write(writer) for writer in range(8)))
    found, _ = await client.scroll(name, limit=100, with_vectors=True)
    assert [each.id for each in found] == list(range(40))
    # The last word on each point is one writer's last, and whole.
    assert all(each.vector == [each.payload["by"], 9.0] for each in found)
    asked = await client.query_points(name, np.asarray([1.0, 0.0], np.float32), limit=1)
    assert asked.points[0].score == max(each.vector[0] for each in found)
    await client.close()
