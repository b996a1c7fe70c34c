"""Bad inputs: each ends with its exit code and a message that names the place and the way out; nothing is written or lost."""

import json
import math
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.commanding import on
from pipeline.planting import Key, raw_weaviate
from pipeline.worlds import World, postgres_connection, rows_of
from vectorferry.core.errors import JournalUnavailable, NotFound
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.session import StepProgress
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.journal import open_journal
from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.registry import open_store

NO, BAD_INPUT, TRY_AGAIN = 1, 2, 3
APPROVE = "approve\nyes\n"
FUTURE: Key = ("asyncio", "_asyncio.Future")


@contextmanager
def opened(world: World, side: str, collection: str) -> Iterator[VectorStore]:
    store = open_store(world.connection(side), collection, StoreOptions(world.spec.fields))
    try:
        yield store
    finally:
        store.close()


def rows_in(world: World, side: str, collection: str) -> int | None:
    with opened(world, side, collection) as store:
        try:
            return store.count()
        except NotFound:
            return None


def phases(world: World) -> list[str]:
    with open_journal(world.connection("journal"), upgrade=True) as journal:
        return [str(row.phase) for row in journal.control.all("small")]


@dataclass(frozen=True)
class Case:
    """A wrong input: how a good world is made bad, and what the command line answers."""

    name: str
    spoil: Callable[[World], None]
    code: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


def spec(section: str, **values: Any) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.spec_dict[section] = world.spec_dict.get(section, {}) | values

    return spoil


def top(**values: Any) -> Callable[[World], None]:
    return lambda world: world.spec_dict.update(values)


def connection(name: str, **values: Any) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.connections[name] = replace(world.connections[name], **values)

    return spoil


def emptied(world: World) -> None:
    with opened(world, "source", "docs") as store:
        for namespace in store.describe().namespaces:
            for page in list(store.list_ids(KeyRange(namespace))):
                store.delete(namespace, page)


def target_there(dimension: int = 384, metric: Metric = Metric.COSINE, rows: int = 0) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        with opened(world, "target", "docs_moved") as store, opened(world, "source", "docs") as source:
            store.create(CollectionDefinition(dimension, metric, world.spec.fields))
            if rows:
                store.upsert(next(iter(source.scan(KeyRange("asyncio"), batch_rows=rows))))

    return spoil


CASES = [
    Case(
        "unknown key", top(partitons={"rows": 5}), BAD_INPUT, ("world.yaml:", "partitons", "did you mean", "partitions")
    ),
    Case(
        "unknown key inside",
        spec("target", colection="x"),
        BAD_INPUT,
        ("world.yaml:", "target.colection", "collection"),
    ),
    Case("wrong type", spec("partitions", rows="many"), BAD_INPUT, ("world.yaml:", "partitions.rows")),
    Case("wrong dimension", spec("target", dimension=3), NO, ("target.dimension is 3", "384")),
    Case("wrong metric", spec("target", metric="euclidean"), NO, ("target.metric is euclidean", "cosine")),
    Case("target of other dimension", target_there(dimension=3), NO, ("docs_moved has 3 dimensions", "384")),
    Case("target of other metric", target_there(metric=Metric.DOT), NO, ("docs_moved measures by dot", "cosine")),
    Case("target not empty", target_there(rows=7), NO, ("docs_moved is not empty (7 rows)", "target.adopt: true")),
    Case("empty source", emptied, NO, ("source pgvector docs is empty",)),
    Case("no source", spec("source", collection="dox"), NO, ("pgvector dox", "source.collection")),
    Case(
        "missing namespace",
        top(namespaces={"include": ["asyncoi"]}),
        NO,
        ("'asyncoi' is not in the source", "'asyncio'?"),
    ),
    Case("no namespace left", top(namespaces={"exclude": ["*"]}), BAD_INPUT, ("namespaces", "exclude")),
    Case("missing connection", spec("target", connection="nowhere"), BAD_INPUT, ("'nowhere'", "AIRFLOW_CONN_NOWHERE")),
    Case(
        "connection of no store", connection("target", type="sqlite"), BAD_INPUT, ("'target'", "'sqlite'", "weaviate")
    ),
    Case("unreachable source", connection("source", port=1), TRY_AGAIN, ("source", "pgvector docs", "127.0.0.1")),
    Case("unreachable target", connection("target", port=1), TRY_AGAIN, ("target", "pgvector docs_moved", "127.0.0.1")),
    Case("unreachable journal", connection("journal", port=1), TRY_AGAIN, ("journal at 127.0.0.1:1", "'journal'")),
    Case(
        "wrong password of the source",
        connection("source", password="no"),
        BAD_INPUT,
        ("source", "'source'", "password"),
    ),
    Case("wrong password of the journal", connection("journal", password="no"), BAD_INPUT, ("journal at", "password")),
    Case("journal in no PostgreSQL", connection("journal", type="weaviate"), BAD_INPUT, ("'journal'", "PostgreSQL")),
    Case(
        "query file missing",
        spec("checks", recall={"queries": "/no/such.parquet"}),
        NO,
        ("/no/such.parquet", "checks.recall.queries"),
    ),
    Case(
        "judgements missing",
        spec("checks", relevance={"judgements": "/no/judged.parquet"}),
        NO,
        ("/no/judged.parquet", "checks.relevance.judgements"),
    ),
    Case("alias where there are none", spec("target", alias="live"), NO, ("target.alias: live",)),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_refused_and_nothing_written(world: World, case: Case) -> None:
    world.fill(rows_of("asyncio", "wave", most=20))
    good = World(world.folder, dict(world.connections), dict(world.spec_dict))
    case.spoil(world)
    before = rows_in(good, "source", "docs"), rows_in(good, "target", "docs_moved")
    ran = on(world, "run", answers=APPROVE)
    assert ran.code == case.code
    for word in case.words:
        assert word in ran.text
    assert "Traceback" not in ran.err
    assert (rows_in(good, "source", "docs"), rows_in(good, "target", "docs_moved")) == before
    assert phases(good) in ([], ["OFF"])


def moved(world: World) -> None:
    """Ends the migration, and compares."""
    assert on(world, "run", answers=APPROVE).code == 0
    compared = on(world, "compare")
    assert compared.code == 0, compared


@pytest.fixture
def signing(world: World) -> World:
    """A world whose migration can be approved on a terminal."""
    world.spec_dict["approval"] = {"terminal": True, "four_eyes": False}
    world.spec_dict["limits"] = {"request_deadline": "2s", "lease": "5s"}
    return world


def test_a_plan_of_another_spec(signing: World) -> None:
    signing.fill(rows_of("asyncio", "wave", most=20))
    assert on(signing, "plan", "--save").code == 0
    signing.spec_dict["partitions"] = {"rows": 7}
    ran = on(signing, "run")
    assert ran.code == NO
    assert "was made from spec" in ran.text
    assert "vectorferry abandon" in ran.text
    assert rows_in(signing, "target", "docs_moved") == 0
    signing.spec_dict["partitions"] = {"rows": 100, "parallel": 2}
    moved(signing)


def test_a_full_disk(signing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own ENOSPC: the second part is written to /dev/full."""
    signing.fill(rows_of("asyncio", "wave", most=60))
    signing.spec_dict["partitions"] = {"rows": 100, "part_rows": 20, "parallel": 1}
    assert on(signing, "plan", "--save").code == 0
    [plan] = (signing.folder / "staging" / "small").iterdir()
    parts = plan / "parts" / "p0000"
    parts.mkdir(parents=True)
    known = uuid.UUID(int=1)
    (parts / f"part-00001-1.parquet.{known.hex}.tmp").symlink_to("/dev/full")
    with monkeypatch.context() as patch:
        patch.setattr("vectorferry.staging.uuid4", lambda: known)
        ran = on(signing, "run", answers=APPROVE)
    assert ran.code == TRY_AGAIN
    assert f"no space left at {parts}/part-00001-1.parquet" in ran.text
    assert "free some space" in ran.text
    assert sorted(path.name for path in parts.iterdir()) == ["part-00000-1.parquet"]
    moved(signing)


def test_a_journal_that_dies_during_the_load(signing: World, tmp_path: Path) -> None:
    server = local_postgres(tmp_path / "server")
    signing.fill(rows_of("asyncio", "wave", most=60))
    signing.spec_dict["partitions"] = {"rows": 100, "batch_rows": 10, "parallel": 1}

    def report(progress: StepProgress) -> None:
        if progress.step == "load" and progress.done == 20:
            pid = int((tmp_path / "server" / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)  # what PostgreSQL calls an immediate shutdown: the next start recovers

    with Supervisor(tmp_path) as running:
        running.start(server.services())
        signing.connections["journal"] = postgres_connection("journal", server.create_database("journal"))
        with signing.session() as session, pytest.raises(JournalUnavailable, match="'journal'"):
            pipeline.run(replace(session, report=report), lambda *_: False)
    away = on(signing, "run")
    assert away.code == TRY_AGAIN
    assert f"127.0.0.1:{server.port}" in away.text
    assert rows_in(signing, "target", "docs_moved") in range(20, 63)
    with Supervisor(tmp_path) as running:
        running.start(server.services())
        moved(signing)


# What one database holds and another cannot


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    stores = stores_of(Connection("inputs", "memory"))
    folder = tmp_path_factory.mktemp("gateway")
    with local_pinecone(stores, folder, Serving(keys=Keys.parse(["right-key"]), port=0, grpc_port=None)) as running:
        yield running


@pytest.fixture
def to_pinecone(signing: World, gateway: Gateway) -> World:
    signing.connections["target"] = Connection(
        "target", "pinecone", gateway.url, password="right-key", extra={"visibility_delay": 0}
    )
    signing.spec_dict["target"]["collection"] = f"inputs-{uuid.uuid4().hex[:8]}"
    return signing


def weaviate_connection(server: Weaviate, name: str) -> Connection:
    extra = {"http_secure": server.secure, "grpc_port": server.grpc_port, "grpc_secure": server.secure}
    return Connection(name, "weaviate", server.host, server.port, password=server.api_key, extra=extra)


@pytest.fixture
def to_weaviate(signing: World, weaviate: Weaviate) -> World:
    signing.connections["target"] = weaviate_connection(weaviate, "target")
    signing.spec_dict["target"]["collection"] = f"Inputs{uuid.uuid4().hex[:8]}"
    return signing


@pytest.fixture
def from_weaviate(signing: World, weaviate: Weaviate) -> World:
    signing.connections["source"] = weaviate_connection(weaviate, "source")
    signing.spec_dict["source"]["collection"] = f"Inputs{uuid.uuid4().hex[:8]}"
    return signing


@pytest.mark.parametrize(
    ("world_name", "side"), [("to_pinecone", "target"), ("to_weaviate", "target"), ("from_weaviate", "source")]
)
def test_a_wrong_key(world_name: str, side: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(world_name)
    world.fill(rows_of("wave"))
    world.connections[side] = replace(world.connections[side], password="wrong-key")
    ran = on(world, "run")
    assert ran.code == BAD_INPUT
    assert f"check the connection '{side}'" in ran.text
    assert "wrong-key" not in ran.text


def odd(id_: str = "odd", metadata: str = "{}", sparse: dict[str, Any] | None = None) -> pa.RecordBatch:
    """A record of namespace asyncio that some database cannot hold."""
    vector = np.full((1, 384), 0.05, np.float32)
    return make_batch(["asyncio"], [id_], vector, [metadata], [sparse])


@pytest.mark.parametrize(
    ("world_name", "record", "reason"),
    [
        ("to_pinecone", odd("zzz-ü"), "the id is not ASCII"),
        ("to_pinecone", odd(metadata=json.dumps({"text": "x" * 41_000})), "the metadata is longer than 40960 bytes"),
        ("to_pinecone", odd(metadata='{"deep":{"a":1}}'), "metadata 'deep': object values are not supported"),
        ("to_weaviate", odd(sparse={"indices": [1], "values": [0.5]}), "sparse vectors are not supported"),
    ],
    ids=["id", "large metadata", "object", "sparse"],
)
@pytest.mark.parametrize("seen", [True, False], ids=["in the sample", "beyond the sample"])
def test_a_record_that_the_target_cannot_hold(
    world_name: str, record: pa.RecordBatch, reason: str, seen: bool, request: pytest.FixtureRequest
) -> None:
    """Named with its reason and the way out, before the load or during it."""
    world: World = request.getfixturevalue(world_name)
    id_ = fill_with(world, record, seen=seen)
    ran = on(world, "run", answers=APPROVE)
    assert ran.code == NO
    assert f"asyncio/{id_}: {reason}" in ran.text
    assert "limits.unheld" in ran.text
    assert phases(world) == ([] if seen else ["TRACK_A"])


def fill_with(world: World, record: pa.RecordBatch, *, seen: bool) -> str:
    """Fill the source with this record among others, so that it is in preflight's sample of 200 or beyond it; returns its id."""
    world.fill(rows_of("asyncio", "wave", most=20 if seen else 210))
    id_ = ("" if seen else "zzz-") + record.column("id")[0].as_py()
    with world.source() as store:
        store.upsert(record.set_column(1, record.schema.field("id"), pa.array([id_])))
    return id_


def test_a_record_that_stays_behind_is_counted_and_named(to_pinecone: World) -> None:
    id_ = fill_with(to_pinecone, odd("zzz-ü"), seen=True)
    limits = to_pinecone.spec_dict["limits"]
    to_pinecone.spec_dict["limits"] = limits | {"unheld": "excuse"}
    ran = on(to_pinecone, "run", answers=APPROVE)
    assert ran.code == NO
    assert "1 rows would stay behind, limits.excused allows 0" in ran.text
    to_pinecone.spec_dict["limits"] = limits | {"unheld": "excuse", "excused": 1}
    ran = on(to_pinecone, "run", answers=APPROVE)
    assert ran.code == 0, ran
    assert "excused 1" in ran.text
    compared = on(to_pinecone, "compare")
    assert compared.code == NO
    assert f"asyncio/{id_} missing" in compared.text
    assert ": 1 differences" in compared.text
    assert "`--excused`" in compared.text
    assert on(to_pinecone, "compare", "--excused").code == 0
    with opened(to_pinecone, "target", to_pinecone.spec.target.collection) as target:
        target.delete(FUTURE[0], [FUTURE[1]])
    lost = on(to_pinecone, "compare", "--excused")
    assert lost.code == NO
    assert ": 1 differences" in lost.text


def test_a_filter_that_the_target_cannot_express(to_weaviate: World) -> None:
    to_weaviate.fill(rows_of("wave"))
    to_weaviate.spec_dict["checks"]["filters"] = {"recorded": [{"title": {"$eq": "wave"}}]}
    ran = on(to_weaviate, "run")
    assert ran.code == NO
    assert "declare 'title' under `fields`" in ran.text
    assert rows_in(to_weaviate, "target", to_weaviate.spec.target.collection) is None


def test_partial_updates_that_the_target_cannot_merge_are_warned_of(to_weaviate: World) -> None:
    to_weaviate.fill(rows_of("wave", most=5))
    for writers, warned in (("none", False), ({"expected": 1}, True)):
        to_weaviate.spec_dict["writers"] = writers
        with to_weaviate.session() as session:
            assert any("partial updates" in text for text in pipeline.preflight(session).warnings) is warned


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_vector_that_is_no_number(from_weaviate: World, weaviate: Weaviate, value: float) -> None:
    from_weaviate.fill(rows_of("asyncio", most=20))
    collection = from_weaviate.spec.source.collection
    with raw_weaviate(weaviate, collection) as raw:
        _, metadata = raw.read(FUTURE)
        raw.write(("asyncio", "poisoned"), [value, *[0.1] * 383], metadata)
    ran = on(from_weaviate, "run")
    assert ran.code == BAD_INPUT
    assert "namespace 'asyncio', id 'poisoned': the vector holds NaN or infinity" in ran.text
    assert rows_in(from_weaviate, "target", "docs_moved") is None
    with raw_weaviate(weaviate, collection) as raw:
        raw.delete(("asyncio", "poisoned"))
    moved(from_weaviate)


@pytest.mark.parametrize("place", [uuid.UUID(int=7), uuid.UUID(int=2**128 - 7)], ids=["first", "last"])
def test_an_id_that_the_source_holds_twice(from_weaviate: World, weaviate: Weaviate, place: uuid.UUID) -> None:
    from_weaviate.fill(rows_of("asyncio", most=20))
    collection = from_weaviate.spec.source.collection
    with raw_weaviate(weaviate, collection) as raw:
        found = raw.object(FUTURE)
        raw.put(FUTURE, found.properties, found.vector["default"], place)
    ran = on(from_weaviate, "run")
    assert ran.code == NO
    assert f"a scan gives {'/'.join(FUTURE)} 2 times: keep one of these records" in ran.text
    assert rows_in(from_weaviate, "target", "docs_moved") is None
    with raw_weaviate(weaviate, collection) as raw:
        raw.delete_at(FUTURE, place)
    moved(from_weaviate)
