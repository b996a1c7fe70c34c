"""Optimizers: they run on a copy, in a process of their own, while the collection is read and written."""

import time
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from vectorferry.local.qdrant.optimizing import OptimizersFailed, Optimizing

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
def loaded(grpc: QdrantClient, name: str) -> str:
    params = models.VectorParams(size=WIDTH, distance=models.Distance.COSINE)
    grpc.create_collection(name, vectors_config=params, optimizers_config=THRESHOLD)
    grpc.upsert(name, points(0, FIRST))
    return name


def test_writes_of_meanwhile_are_kept(grpc: QdrantClient, loaded: str) -> None:
    info = grpc.get_collection(loaded)
    assert (info.status in ("grey", "yellow"), info.indexed_vectors_count) == (True, 0)
    wait_for(grpc, loaded, "yellow")
    grpc.upsert(loaded, points(FIRST, FIRST + 20))
    grpc.delete(loaded, [0, FIRST])
    grpc.set_payload(loaded, {"set": True}, points=[1])
    # Refused, and half done: the engine changes those before the one that is missing.
    with pytest.raises(Exception, match="No point with id 77777"):
        grpc.set_payload(loaded, {"half": 1}, points=[2, 77777])
    half = grpc.retrieve(loaded, [2])[0].payload
    assert wait_for(grpc, loaded, "green").indexed_vectors_count == FIRST
    found, _ = grpc.scroll(loaded, limit=10_000)
    assert [each.id for each in found] == [*range(1, FIRST), *range(FIRST + 1, FIRST + 20)]
    assert [each.payload for each in grpc.retrieve(loaded, [1, 2])] == [{"n": 1, "set": True}, half]
    vector = points(0, FIRST)[5].vector
    assert [each.id for each in grpc.query_points(loaded, vector, limit=1).points] == [5]


def test_a_collection_is_dropped_while_it_is_optimized(grpc: QdrantClient, loaded: str) -> None:
    wait_for(grpc, loaded, "yellow")
    assert grpc.delete_collection(loaded)
    assert not grpc.collection_exists(loaded)


def test_another_configuration_is_optimized_for(grpc: QdrantClient, loaded: str) -> None:
    wait_for(grpc, loaded, "yellow")
    grpc.update_collection(loaded, hnsw_config=models.HnswConfigDiff(m=4))
    info = wait_for(grpc, loaded, "green")
    assert info.config.hnsw_config.m == 4
    assert info.indexed_vectors_count == FIRST


def test_optimizers_that_end_by_themselves_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(OptimizersFailed, match="exit code 1"):
        Optimizing().run(tmp_path)
    stopped = Optimizing()
    stopped.stop()
    assert not stopped.run(tmp_path)
