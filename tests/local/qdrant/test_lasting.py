"""What is there after the server has ended: asked to, or killed in the middle of writing."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc as grpc_errors
import pytest
from qdrant_client import QdrantClient, models

from local.qdrant.clients import client_of, running
from vectorferry.local.qdrant.server import LOOPBACK, Server
from vectorferry.local.servers.qdrant import Qdrant

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

PLAIN = models.VectorParams(size=2, distance=models.Distance.COSINE)


def points(begin: int, end: int) -> list[models.PointStruct]:
    return [models.PointStruct(id=each, vector=[1.0, each], payload={"n": each}) for each in range(begin, end)]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[QdrantClient]:
    with Server(folder, api_key="key") as server:
        client = client_of(Qdrant(LOOPBACK, server.port, server.grpc_port, "key"), grpc=True)
        yield client
        client.close()


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        client.create_collection("docs", vectors_config=PLAIN, hnsw_config=models.HnswConfigDiff(m=8))
        client.create_payload_index("docs", "n", models.IntegerIndexParams(type="integer", lookup=True, range=False))
        alias = models.CreateAlias(collection_name="docs", alias_name="current")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
        client.upsert("docs", points(0, 10))
        client.create_collection("gone", vectors_config=PLAIN)
        client.delete_collection("gone")
        before = client.get_collection("docs"), client.scroll("docs", limit=100, with_vectors=True)
    with serving(tmp_path) as client:
        assert (client.get_collection("docs"), client.scroll("docs", limit=100, with_vectors=True)) == before
        assert client.count("current").count == 10
        assert [each.name for each in client.get_collections().collections] == ["docs"]


class Writing:
    """Three threads that write, and one that makes and removes collections, until the server is gone."""

    def __init__(self, client: QdrantClient) -> None:
        self.acknowledged: list[int] = []
        self._client = client
        works = [*((self._write, first) for first in (0, 10, 20)), (self._churn, 0)]
        self._threads = [threading.Thread(target=self._until_it_is_gone, args=each) for each in works]
        for thread in self._threads:
            thread.start()

    def wait_for(self, batches: int) -> None:
        while len(self.acknowledged) < batches:
            self._threads[0].join(0.01)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _until_it_is_gone(self, work: Callable[[int], None], first: int) -> None:
        with contextlib.suppress(grpc_errors.RpcError):
            work(first)

    def _write(self, first: int) -> None:
        for begin in range(first, 1_000_000, 30):
            self._client.upsert("docs", points(begin, begin + 10))
            self.acknowledged.append(begin)

    def _churn(self, _first: int) -> None:
        while True:
            self._client.create_collection("churn", vectors_config=PLAIN)
            self._client.delete_collection("churn")


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as (server, supervisor):
        client = client_of(server, grpc=True)
        client.create_collection("docs", vectors_config=PLAIN)
        writing = Writing(client)
        writing.wait_for(50)
        os.kill(supervisor.pid("qdrant"), signal.SIGKILL)
        writing.join()
        client.close()  # its channel waits after a refused connection, and refuses what is asked meanwhile
        supervisor.restart("qdrant")
        client = client_of(server, grpc=True)
        found = {each.id: each.payload for each in client.scroll("docs", limit=1_000_000)[0]}
        assert found.keys() >= {key for begin in writing.acknowledged for key in range(begin, begin + 10)}
        assert all(payload == {"n": key} for key, payload in found.items())
        if client.collection_exists("churn"):
            assert client.count("churn").count == 0
        client.close()
