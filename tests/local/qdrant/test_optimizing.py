"""Optimizers: they run on a copy, in a process of their own, while the collection is read and written."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from local.qdrant.clients import client_of
from vectorferry.local.servers.qdrant import Qdrant

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

WIDTH = 32
FIRST = 1200
THRESHOLD = models.OptimizersConfigDiff(indexing_threshold=100)  # kB


def points(begin: int, end: int) -> list[models.PointStruct]:
    vectors = np.random.default_rng(begin).random((end - begin, WIDTH), dtype=np.float32).tolist()
    return [models.PointStruct(id=begin + n, vector=each, payload={"n": n}) for n, each in enumerate(vectors)]


def wait_for(client: QdrantClient, name: str, *statuses: str) -> models.CollectionInfo:
    """Its hang is the test's timeout."""
    while (info := client.get_collection(name)).status not in statuses:
        assert info.status != "red", info.optimizer_status
        time.sleep(0.02)
    return info


@pytest.fixture
def client(qdrant: Qdrant) -> Iterator[QdrantClient]:
    """Over one of the wires: it says nothing about the other."""
    client = client_of(qdrant, grpc=True)
    yield client
    client.close()


@pytest.fixture
def loaded(client: QdrantClient, name: str) -> str:
    params = models.VectorParams(size=WIDTH, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config=params, optimizers_config=THRESHOLD)
    client.upsert(name, points(0, FIRST))
    return name


def test_writes_of_meanwhile_are_kept(client: QdrantClient, loaded: str) -> None:
    info = client.get_collection(loaded)
    assert (info.status in ("grey", "yellow"), info.indexed_vectors_count) == (True, 0)
    wait_for(client, loaded, "yellow")
    client.upsert(loaded, points(FIRST, FIRST + 20))
    client.delete(loaded, [0, FIRST])
    client.set_payload(loaded, {"set": True}, points=[1])
    # Refused, and half done: the engine changes those before the one that is missing.
    with pytest.raises(Exception, match="No point with id 77777"):
        client.set_payload(loaded, {"half": 1}, points=[2, 77777])
    half = client.retrieve(loaded, [2])[0].payload
    assert wait_for(client, loaded, "green").indexed_vectors_count == FIRST
    found, _ = client.scroll(loaded, limit=10_000)
    assert [each.id for each in found] == [*range(1, FIRST), *range(FIRST + 1, FIRST + 20)]
    assert [each.payload for each in client.retrieve(loaded, [1, 2])] == [{"n": 1, "set": True}, half]
    vector = points(0, FIRST)[5].vector
    assert [each.id for each in client.query_points(loaded, vector, limit=1).points] == [5]


def test_a_collection_is_dropped_while_it_is_optimized(client: QdrantClient, loaded: str) -> None:
    wait_for(client, loaded, "yellow")
    assert client.delete_collection(loaded)
    assert not client.collection_exists(loaded)


def test_another_configuration_is_optimized_for(client: QdrantClient, loaded: str) -> None:
    wait_for(client, loaded, "yellow")
    client.update_collection(loaded, hnsw_config=models.HnswConfigDiff(m=4))
    info = wait_for(client, loaded, "green")
    assert info.config.hnsw_config.m == 4
    assert info.indexed_vectors_count == FIRST
