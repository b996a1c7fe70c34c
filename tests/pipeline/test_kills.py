"""Processes of the engine killed between a partition's first and last acknowledged batch: nothing is lost, little is sent again.

VECTORFERRY_KILL_SEED draws other moments.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import oracle
from pipeline.killing import Killed, Told, in_one_process, killable, told
from pipeline.worlds import World, postgres_connection, qdrant_connection, rows_of, small_spec, weaviate_connection
from vectorferry.core.model import RESERVED_NAMESPACE, WriteResult
from vectorferry.gateway.pinecone.emulator import local_pinecone
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import VectorStore
from vectorferry.stores.memory import MemoryStore

SEED = os.environ.get("VECTORFERRY_KILL_SEED", "1")
KEY = "key-of-the-killed"
IN_FLIGHT = 2
SLOW = {"requests_per_second": 12}
NAMESPACES = ("asyncio", "email", "", "xml.etree", "os/path", "wave")


RECEIVED = Counter[tuple[str, str]]()
"""How often the local Pinecone was sent each (namespace, id)."""


class Counting:
    """A store that counts what it is sent."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._lock = threading.Lock()

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        names, ids = batch.column("namespace").to_pylist(), batch.column("id").to_pylist()
        with self._lock:
            RECEIVED.update(zip(names, ids, strict=True))
        return self._store.upsert(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A local Pinecone in this process, which counts what it is sent."""

    def opened(name: str) -> Any:
        return Counting(MemoryStore("killed", name))

    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
    with local_pinecone(opened, tmp_path_factory.mktemp("gateway"), serving) as running:
        yield running


@dataclass(frozen=True)
class Place:
    """Where a side lies: its connection, its collection, and how the oracle reads it."""

    connection: Connection
    collection: Callable[[str], str]
    read: Callable[[str], oracle.Rows]
    tolerance: float = 0.0


def in_pgvector(request: pytest.FixtureRequest) -> Place:
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create_database("killed")
    return Place(postgres_connection("x", url), str, lambda name: oracle.read_pgvector(name, url=url))


def in_pinecone(request: pytest.FixtureRequest) -> Place:
    gateway: Gateway = request.getfixturevalue("gateway")
    return Place(
        Connection("pinecone", "pinecone", gateway.url, password=KEY),
        lambda name: name.replace("_", "-"),
        lambda name: oracle.read_pinecone(name, url=gateway.url, api_key=KEY),
    )


def in_weaviate(request: pytest.FixtureRequest) -> Place:
    server: Weaviate = request.getfixturevalue("weaviate")
    read = {"url": server.url, "grpc_port": server.grpc_port, "api_key": server.api_key}
    return Place(weaviate_connection(server), str.title, lambda name: oracle.read_weaviate(name, **read))


def in_qdrant(request: pytest.FixtureRequest) -> Place:
    server: Qdrant = request.getfixturevalue("qdrant")
    read = {"url": server.url, "grpc_port": server.grpc_port, "api_key": server.api_key}
    return Place(qdrant_connection(server), str, lambda name: oracle.read_qdrant(name, **read), tolerance=1e-6)


def in_lancedb(request: pytest.FixtureRequest) -> Place:
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    folder = str(factory.mktemp("lance"))
    connection = Connection("lancedb", "lancedb", extra={"uri": folder})
    return Place(connection, str, lambda name: oracle.read_lancedb(name, uri=folder))


class Places(dict[str, Place]):
    """By product; its server is started by who first asks."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        super().__init__()
        self._request = request
        self._made = {
            "lancedb": in_lancedb,
            "pgvector": in_pgvector,
            "pinecone": in_pinecone,
            "qdrant": in_qdrant,
            "weaviate": in_weaviate,
        }

    def __missing__(self, product: str) -> Place:
        self[product] = self._made[product](self._request)
        return self[product]


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest) -> Places:
    return Places(request)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, Path]:
    rows = rows_of(*NAMESPACES, most=300)
    path = tmp_path_factory.mktemp("expected") / "expected.parquet"
    pq.write_table(rows, path)
    return rows, path


Make = Callable[[str, str, str], World]


@pytest.fixture
def make(places: Places, postgres: Postgres, tmp_path: Path) -> Iterator[Make]:
    """Makes a world between two products, with a journal, staging and target of its own, under a name."""
    made = []

    def world(source: str, target: str, name: str) -> World:
        folder = tmp_path / name
        folder.mkdir()
        journal = f"journal_{source}_{target}_{name}"
        connections = {
            "source": replace(places[source].connection, name="source"),
            "target": replace(places[target].connection, name="target"),
            "journal": postgres_connection("journal", postgres.create_database(journal)),
        }
        made.append(journal)
        spec = killable(small_spec(folder))
        spec["source"]["collection"] = places[source].collection(f"docs_{source}_{target}")
        spec["target"]["collection"] = places[target].collection(f"to_{target}_{source}_{name}")
        return World(folder, connections, spec)

    yield world
    for journal in made:
        postgres.drop_database(journal)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("pgvector", "pinecone"),
        pytest.param("pgvector", "weaviate", marks=pytest.mark.long),
        pytest.param("qdrant", "lancedb", marks=pytest.mark.long),
    ],
)
def test_kills_lose_nothing(
    source: str,
    target: str,
    make: Make,
    places: Places,
    table: tuple[pa.Table, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, path = table
    world = make(source, target, "killed")
    world.fill(rows)
    killed = Killed(world, f"{SEED}-{source}-{target}")
    RECEIVED.clear()

    world.spec_dict["budgets"] = {"source": SLOW, "target": SLOW | {"in_flight": IN_FLIGHT}}
    killed.kill(killed.moments(exports=2, loads=3))
    # The budgets are no part of the plan: what is left goes as fast as it can.
    world.spec_dict["budgets"] = {"target": {"in_flight": IN_FLIGHT}}
    killed.kill(["checks", "checks"])
    killed.finish()
    with capsys.disabled():
        print(f"\n{source} to {target}: kills {dict(killed.kills)}, {killed.missed} landed elsewhere", end=" ")

    assert killed.kills == {"export": 2, "load": 3, "checks": 2}
    tolerance = max(places[source].tolerance, places[target].tolerance)
    assert oracle.compare(oracle.read_parquet(path), places[target].read(world.spec.target.collection), tolerance) == []
    if target == "pinecone":
        # Each preflight writes a probe of its own, and deletes it.
        moved = {key: times for key, times in RECEIVED.items() if key[0] != RESERVED_NAMESPACE}
        assert len(moved) == len(rows)
        resent = sum(times - 1 for times in moved.values())
        # A kill that landed elsewhere may have interrupted a load too.
        assert resent <= (killed.kills.total() + killed.missed) * IN_FLIGHT * 25 * world.spec.partitions.parallel
    assert told(world) == undisturbed(make(source, target, "undisturbed"), world)


def undisturbed(reference: World, world: World) -> set[Told]:
    """The verdicts of the same migration to a target of its own, which nothing disturbed."""
    reference.spec_dict["source"] = world.spec_dict["source"]
    reference.spec_dict["budgets"] = {}
    in_one_process(reference)
    return told(reference)
