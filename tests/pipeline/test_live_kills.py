"""SIGKILL of any one process at any step of a live run: the phase has a name, and the same command goes on from there.

The pipeline, applications with a router and settlers die at named points; the servers while the pipeline stands still at one.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest

import oracle
from pipeline.applications import Applications, lost, possible
from pipeline.dying import PATIENCE, Point, after, before, start, vectorferry
from pipeline.worlds import World, postgres_connection, qdrant_connection, rows_of, small_spec
from vectorferry.core.model import COHORT, CollectionDefinition, Metric, Phase
from vectorferry.engine.plan.register import register
from vectorferry.journal import Journal, open_journal
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.stack import JOURNAL_DATABASE, PGVECTOR_DATABASE, Databases, databases
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.spec.connections import Connection

pytestmark = pytest.mark.slow

# So many that what is written between the evidence and the switch stays below a fifth of them.
SPACES, ROWS = ("asyncio", "email"), 200
OFF, TRACK_A, HOLD_A, HOLD_B, TRACK_B = Phase.OFF, Phase.TRACK_A, Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B
SPEC: dict[str, Any] = {
    "writers": {"expected": 2},
    "limits": {"request_deadline": "1s", "lease": "2s"},
    "switch": {"hold": "60s", "wait_for_routers": "2s"},
    "shadow": {"share": 0},
    "approval": {"terminal": True, "four_eyes": False, "approvers": []},
    "partitions": {"rows": 150, "batch_rows": 100, "parallel": 1},
    "checks": {
        "recall": {"sample": 5, "min_queries": 2, "threshold": 0.0},
        "latency": {"queries": 10, "rate": 1000},
    },
}
ROLLBACK = ("rollback", "--reason", "on purpose", "--yes")

ADVANCE = "journal.control:Control.advance"
ACKNOWLEDGE = "journal.members:Members.acknowledge"
OPEN = "journal.intents:Intents.open"
MIRROR = "router.writer:Writer._mirrored"
UPSERT = "stores.pgvector.store:PgvectorStore.upsert"
FORTH: tuple[tuple[Point, Phase], ...] = (
    (after("stores.pgvector.store:PgvectorStore.create"), OFF),
    (after(ADVANCE, "TRACK_A"), TRACK_A),
    (before("journal.plans:Plans.save"), TRACK_A),
    (after("journal.attempts:Attempts.progress"), TRACK_A),
    (after(UPSERT), TRACK_A),
    (before("journal.control:Control.mark_loaded"), TRACK_A),
    (before("journal.claims:Claims.settled"), TRACK_A),
    (before("journal.record_states:RecordStates.touched"), TRACK_A),
    (after("journal.approvals:Approvals.record"), TRACK_A),
    (after(ADVANCE, "HOLD_A"), HOLD_A),
    (before(ADVANCE, "HOLD_B"), HOLD_A),
    (after(ADVANCE, "HOLD_B"), HOLD_B),
    (before(ADVANCE, "TRACK_B"), HOLD_B),
    (after(ADVANCE, "TRACK_B"), TRACK_B),
)
BACK: tuple[tuple[Point, Phase], ...] = (
    (before(ADVANCE, "HOLD_B"), TRACK_B),
    (after(ADVANCE, "HOLD_B"), HOLD_B),
    (before(ADVANCE, "HOLD_A"), HOLD_B),
    (after(ADVANCE, "HOLD_A"), HOLD_A),
    (before(ADVANCE, "TRACK_A"), HOLD_A),
    (after(ADVANCE, "TRACK_A"), TRACK_A),
)
LANCE_UPSERT = "stores.lancedb.store:LanceStore.upsert"
LANCE_FORTH: tuple[tuple[Point, Phase], ...] = (
    (after("stores.lancedb.client:Database.merge", times=2), TRACK_A),
    (after(ADVANCE, "HOLD_A"), HOLD_A),
    (before(ADVANCE, "TRACK_B"), HOLD_B),
)


def settler(upsert: str) -> tuple[Point, ...]:
    """Where a settler dies, `upsert` being that of the follower."""
    claims = "journal.claims:Claims"
    return (after(f"{claims}.take"), before(upsert), after(upsert), before(f"{claims}.settled"))


HOLDS = (after(ADVANCE, "HOLD_A"), after(ADVANCE, "HOLD_B"))


@dataclass(frozen=True)
class Target:
    """A target whose server is killed: where it is moved to, at which point of the load, and how the oracle reads it."""

    product: str
    upsert: str
    connection: Callable[[Databases], Connection]
    read: Callable[[Databases], oracle.Rows]
    tolerance: float = 0.0

    @property
    def stops(self) -> tuple[Point, ...]:
        """Where the pipeline stands still: in the load, and in each hold."""
        return tuple(replace(point, signal=signal.SIGSTOP) for point in (before(self.upsert), *HOLDS))


COLLECTION = "docs-moved"


def to_pinecone(servers: Databases) -> Connection:
    assert servers.pinecone is not None
    return Connection(
        "target",
        "pinecone",
        servers.pinecone.url,
        password=servers.pinecone.api_key,
        extra={"visibility_delay": 0.2},
    )


def in_pinecone(servers: Databases) -> oracle.Rows:
    assert servers.pinecone is not None
    return oracle.read_pinecone(COLLECTION, url=servers.pinecone.url, api_key=servers.pinecone.api_key)


def to_qdrant(servers: Databases) -> Connection:
    assert servers.qdrant is not None
    return qdrant_connection(servers.qdrant)


def in_qdrant(servers: Databases) -> oracle.Rows:
    server = servers.qdrant
    assert server is not None
    return oracle.read_qdrant(COLLECTION, url=server.url, grpc_port=server.grpc_port, api_key=server.api_key)


PINECONE = Target("pinecone", "stores.pinecone.store:PineconeStore.upsert", to_pinecone, in_pinecone)
QDRANT = Target("qdrant", "stores.qdrant.store:QdrantStore.upsert", to_qdrant, in_qdrant, tolerance=1e-6)


@dataclass
class Show:
    """A live migration: its applications, and its commands, each a process."""

    world: World
    journal: Journal
    applications: Applications
    read: Callable[[str], oracle.Rows]
    tolerance: float = 0.0

    def phase(self) -> Phase:
        return self.journal.control.get("small", COHORT).phase

    def begin(self, *arguments: str, points: Sequence[Point] = ()) -> BaseProcess:
        """Begin a command of the command line."""
        verb, *options = arguments
        line = (verb, str(self.world.spec_file), *options)
        log = self.world.folder / "commands.log"
        return start(vectorferry, *line, environment=self.world.environment(), log=log, points=points)

    def end(self, process: BaseProcess) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        process.join(PATIENCE)
        assert process.exitcode is not None, f"it goes on\n{self.log()}"
        return process.exitcode

    def command(self, *arguments: str) -> int:
        return self.end(self.begin(*arguments))

    def kill_at(self, point: Point, *arguments: str) -> Phase:
        code = self.end(self.begin(*arguments, points=[point]))
        assert code == -signal.SIGKILL, f"{point}: exit code {code}\n{self.log()}"
        return self.phase()

    def log(self) -> str:
        return (self.world.folder / "commands.log").read_text()

    def judge(self) -> None:
        """Nothing acknowledged is lost, and both sides are equal, as an independent reader sees them."""
        self.applications.stop()
        assert self.command("settle") == 0, self.log()
        wanted = self.applications.possible()
        assert wanted
        source, target = self.read("source"), self.read("target")
        assert lost(source, wanted) == []
        assert lost(target, wanted) == []
        assert oracle.compare(source, target, self.tolerance) == []


@contextmanager
def shown(
    world: World, read: Callable[[str], oracle.Rows], tolerance: float = 0.0, *, most: int = 16
) -> Iterator[Show]:
    world.spec_dict |= SPEC
    rows = rows_of(*SPACES, most=ROWS)
    world.fill(rows)
    old = list(zip(rows.column("namespace").to_pylist(), rows.column("id").to_pylist(), strict=True))
    new = [(name, f"new {n}") for name in ("asyncio", "made meanwhile") for n in range(12)]
    with open_journal(world.connection("journal"), upgrade=True) as journal:
        register(journal, world.spec, "ann")
        found = Show(world, journal, Applications(world, [*old[:: len(old) // 40], *new], most=most), read, tolerance)
        try:
            yield found
        finally:
            found.applications.kill()


@pytest.fixture
def show(world: World, database: str) -> Iterator[Show]:
    """Between two tables."""
    world.spec_dict["target"]["index"] = {"type": "none"}
    names = {"source": "docs", "target": "docs_moved"}
    with shown(world, lambda side: oracle.read_pgvector(names[side], url=database)) as found:
        yield found


@pytest.fixture
def lance_show(world: World, database: str, tmp_path: Path) -> Iterator[Show]:
    """From a table of PostgreSQL to one of LanceDB, which has no server to kill: whoever writes is the database."""
    folder = tmp_path / "lance"
    world.connections["target"] = Connection("target", "lancedb", extra={"uri": str(folder)})

    def read(side: str) -> oracle.Rows:
        if side == "source":
            return oracle.read_pgvector("docs", url=database)
        return oracle.read_lancedb("docs_moved", uri=str(folder))

    # More keys for each application: one that is written several times a second never stands still for as long as a read takes here.
    with shown(world, read, most=4) as found:
        yield found


@pytest.fixture
def qdrant_show(world: World, database: str, qdrant: Qdrant) -> Iterator[Show]:
    """From a table of PostgreSQL to Qdrant."""
    world.connections["target"] = qdrant_connection(qdrant)
    collection = world.spec_dict["target"]["collection"] = f"settled-{world.folder.name}"

    def read(side: str) -> oracle.Rows:
        if side == "source":
            return oracle.read_pgvector("docs", url=database)
        return oracle.read_qdrant(collection, url=qdrant.url, grpc_port=qdrant.grpc_port, api_key=qdrant.api_key)

    with shown(world, read, QDRANT.tolerance) as found:
        yield found


def test_a_lost_and_a_resurrected_record_would_be_seen() -> None:
    history = [
        (1, "begun", "n", "a", 0.5),
        (1, "done", "n", "a", 0.5),
        (2, "begun", "n", "b", None),
        (2, "done", "n", "b", None),
    ]
    unknown = [(3, "begun", "n", "a", 0.7), (4, "begun", "n", "a", 0.9), (4, "not done", "n", "a", 0.9)]
    wanted = possible([*history, *unknown])
    assert wanted == {("n", "a"): {0.5, 0.7}, ("n", "b"): {None}}
    rows: oracle.Rows = {}
    oracle.add(rows, ("n", "b"), [0.1], {})
    assert [key for key, *_ in lost(rows, wanted)] == [("n", "a"), ("n", "b")]
    right: oracle.Rows = {}
    oracle.add(right, ("n", "a"), [0.7], {})
    assert lost(right, wanted) == []


def test_the_pipeline_dies_at_every_step(show: Show) -> None:
    show.applications.start("one")
    show.applications.start("two")
    show.applications.some()
    for point, phase in FORTH:
        assert show.kill_at(point, "run") is phase, point
    assert show.command("run") == 0, show.log()
    show.applications.some()
    for point, phase in BACK:
        assert show.kill_at(point, *ROLLBACK) is phase, point
    assert show.command(*ROLLBACK) == 1
    assert "is in TRACK_A: there is nothing to roll back" in show.log()
    show.applications.some()
    show.judge()


@pytest.mark.long
def test_applications_die_at_every_step(show: Show) -> None:
    begin = show.applications.start
    begin("one")
    begin("two")
    show.applications.some()
    # In OFF nothing tells what a dead router has under way: begin names it, and a person says that it is gone.
    begin("untracked", after(UPSERT)).join(PATIENCE)
    dead = [begin("lags", before(ACKNOWLEDGE, "TRACK_A")), begin("follows", after(ACKNOWLEDGE, "TRACK_A"))]
    show.applications.some()
    assert show.command("run") == 1
    assert show.phase() is TRACK_A
    forget_named(show)

    dead += [
        begin(str(point), point) for point in (before(OPEN), after(OPEN), after(UPSERT), before(MIRROR), after(MIRROR))
    ]
    dead += [begin(str(point), point) for point in (before(ACKNOWLEDGE, "HOLD_A"), after(ACKNOWLEDGE, "HOLD_A"))]
    dead += [begin(str(point), point) for point in (after(ACKNOWLEDGE, "HOLD_B"), after(ACKNOWLEDGE, "TRACK_B"))]
    assert show.command("run") == 0, show.log()
    dead.append(begin("in the rollback window", after(OPEN, "TRACK_B")))
    for each in dead:
        assert show.end(each) == -signal.SIGKILL
    assert show.command(*ROLLBACK) == 0, show.log()
    show.applications.some()
    show.judge()


def forget_named(show: Show) -> None:
    """Forget the routers that `begin` named, as its refusal says."""
    named = [member.id for member in show.journal.members.all("small") if member.id in show.log()]
    # One that follows may still be named, where an untracked write of it was under way.
    assert len(named) in (2, 3)
    assert "stop those that are gone and `vectorferry members " in show.log()
    assert " --forget ID`" in show.log()
    for name in named:
        end = time.monotonic() + PATIENCE
        while show.command("members", "--forget", name):
            assert time.monotonic() < end


def test_settlers_die_at_every_step(show: Show) -> None:
    kill_settlers(show, settler(UPSERT))


@pytest.mark.long
def test_settlers_that_write_to_lancedb_die_at_every_step(lance_show: Show) -> None:
    kill_settlers(lance_show, settler(LANCE_UPSERT))


@pytest.mark.long
def test_settlers_that_write_to_qdrant_die_at_every_step(qdrant_show: Show) -> None:
    kill_settlers(qdrant_show, settler(QDRANT.upsert))


@pytest.mark.long
def test_a_run_to_lancedb_dies_in_the_load_and_the_switch_and_is_rolled_back(
    lance_show: Show,
) -> None:
    show = lance_show
    show.applications.start("one")
    show.applications.start("two")
    show.applications.some()
    for point, phase in LANCE_FORTH:
        assert show.kill_at(point, "run") is phase, point
    assert show.command("run") == 0, show.log()
    assert show.phase() is TRACK_B
    show.applications.some()
    assert show.kill_at(before(ADVANCE, "HOLD_A"), *ROLLBACK) is HOLD_B
    assert show.command(*ROLLBACK) == 0, show.log()
    show.applications.some()
    show.judge()


def kill_settlers(show: Show, points: Sequence[Point]) -> None:
    with show.world.session() as session:
        session.target.create(CollectionDefinition(384, Metric.COSINE, session.spec.fields))
    control = show.journal.control
    control.advance(control.get("small", COHORT), TRACK_A, actor="ann", reason="test")
    control.mark_loaded("small", COHORT)
    show.applications.start("one")
    show.applications.some()
    rows = rows_of(*SPACES, most=ROWS).select(["namespace", "id"]).to_pylist()
    for number, point in enumerate(points):
        for name in SPACES:
            some = [row["id"] for row in rows if row["namespace"] == name][number :: len(points)]
            show.journal.claims.mark_dirty("small", COHORT, name, some)
        assert show.kill_at(point, "settle", "--follow") is TRACK_A
    show.judge()


@pytest.mark.parametrize(
    "target", [PINECONE, pytest.param(QDRANT, marks=pytest.mark.long)], ids=lambda target: target.product
)
def test_servers_die_during_the_load_and_the_holds(tmp_path: Path, target: Target) -> None:
    servers = databases(tmp_path / "servers", frozenset({target.product}))
    vectors, journal = (servers.postgres.url(name) for name in (PGVECTOR_DATABASE, JOURNAL_DATABASE))
    connections = {
        "source": postgres_connection("source", vectors),
        "journal": postgres_connection("journal", journal),
        "target": target.connection(servers),
    }
    spec = small_spec(tmp_path)
    spec["target"] = {"connection": "target", "collection": COLLECTION}

    def read(side: str) -> oracle.Rows:
        if side == "source":
            return oracle.read_pgvector("docs", url=vectors)
        return target.read(servers)

    with Supervisor(tmp_path / "servers") as supervisor:
        supervisor.start(servers.services())
        with shown(World(tmp_path, connections, spec), read, target.tolerance) as show:
            show.applications.start("one")
            show.applications.start("two")
            show.applications.some()
            run = show.begin("run", points=target.stops)
            deaths = ((target.product, TRACK_A), (target.product, HOLD_A), ("postgres", HOLD_B))
            for n, (server, phase) in enumerate(deaths):
                run = stopped(show, run, target.stops[n:])
                os.kill(supervisor.pid(server), signal.SIGKILL)
                supervisor.restart(server)
                assert show.phase() is phase
                os.kill(run.pid, signal.SIGCONT)
            ended = show.end(run)
            # It has gone on by itself, or says that trying again may help.
            assert ended == 0 or (ended, show.command("run")) == (3, 0), show.log()
            assert show.phase() is TRACK_B
            show.applications.some()
            show.judge()


def stopped(show: Show, run: BaseProcess, points: Sequence[Point]) -> BaseProcess:
    """The run once it stands still; one that ended, saying that trying again may help, is begun anew."""
    end = time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < end
        if run.exitcode is not None:
            assert run.exitcode == 3, show.log()
            run = show.begin("run", points=points)
        elif psutil.Process(run.pid).status() == psutil.STATUS_STOPPED:
            return run
        time.sleep(0.02)
