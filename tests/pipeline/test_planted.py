"""Faults planted in the loaded target through the vendor's own client: each fails the gate, naming exactly that id and field."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.planting import Key, Raw, RawQdrant, RawWeaviate, raw_postgres, raw_qdrant, raw_weaviate
from pipeline.worlds import World, postgres_connection, qdrant_connection, rows_of, small_spec, weaviate_connection
from vectorferry.core.errors import CheckFailed, NotApproved
from vectorferry.core.model import Verdict
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.checks.expectations import check as expectations
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.engine.signoff.gate import failures
from vectorferry.journal import Plan
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate

SPACE = "asyncio"
A: Key = (SPACE, "asyncio.events.AbstractEventLoop.run_forever")
B: Key = (SPACE, "asyncio.exceptions.CancelledError")
OTHER: Key = ("os/path", A[1])
NEW: Key = (SPACE, f"{A[1]} (copy)")
PLACE = uuid.UUID(int=7)

Named = set[tuple[str, str, str, str]]
"""Kind, namespace, id and field of differences."""


@dataclass(frozen=True)
class Fault:
    """What somebody did to the target, and what the checks must name."""

    name: str
    plant: Callable[[Any], None]
    named: Named

    def __str__(self) -> str:
        return self.name


def vector_of(raw: Raw, key: Key, change: Callable[[list[float]], list[float]]) -> None:
    vector, metadata = raw.read(key)
    raw.write(key, change(vector), metadata)


def metadata_of(raw: Raw, key: Key, **changed: Any) -> None:
    vector, metadata = raw.read(key)
    raw.write(key, vector, metadata | {name.replace("_", "-"): value for name, value in changed.items()})


def swap(raw: Raw) -> None:
    (one, mine), (other, yours) = raw.read(A), raw.read(B)
    raw.write(A, other, mine)
    raw.write(B, one, yours)


def move(raw: Raw, to: Key) -> None:
    record = raw.read(A)
    raw.delete(A)
    raw.write(to, *record)


def age(raw: Raw) -> None:
    vector, metadata = raw.read(A)
    raw.write(A, [x + 0.001 for x in vector], metadata | {"lines": 4711, "text": "an older text"})


def at(key: Key, kind: str, *fields: str) -> Named:
    return {(kind, *key, field) for field in fields or ("",)}


def half(vector: list[float]) -> list[float]:
    return [*vector[: len(vector) // 2], *[0.0] * (len(vector) - len(vector) // 2)]


EVERYWHERE = [
    Fault("dropped", lambda raw: raw.delete(A), at(A, "missing")),
    Fault("swapped", swap, at(A, "vector", "vector") | at(B, "vector", "vector")),
    Fault("truncated", lambda raw: vector_of(raw, A, half), at(A, "vector", "vector")),
    Fault("wrong id", lambda raw: move(raw, NEW), at(A, "missing") | at(NEW, "extra")),
    Fault("wrong namespace", lambda raw: move(raw, OTHER), at(A, "missing") | at(OTHER, "extra")),
    Fault("stale", age, at(A, "vector", "vector") | at(A, "metadata", "lines", "text")),
    Fault("not normalised", lambda raw: vector_of(raw, A, lambda v: [2 * x for x in v]), at(A, "vector", "vector")),
    Fault("changed value", lambda raw: metadata_of(raw, A, title="changed"), at(A, "metadata", "title")),
    Fault("changed declared value", lambda raw: metadata_of(raw, A, kind="changed"), at(A, "metadata", "kind")),
    Fault("wrong type", lambda raw: metadata_of(raw, A, doc_kind=1), at(A, "metadata", "doc-kind")),
    Fault("wrong declared type", lambda raw: metadata_of(raw, A, lines="1"), at(A, "metadata", "lines")),
    Fault("extra", lambda raw: raw.write(NEW, *raw.read(A)), at(NEW, "extra")),
]


def overflow_too(raw: RawWeaviate) -> None:
    assert raw.object(A).properties["public"] is True
    raw.change(A, raw.layout.overflow({"public": "true"}))


def twin(raw: RawWeaviate) -> None:
    found = raw.object(A)
    raw.put(A, found.properties, [-x for x in found.vector["default"]], PLACE)


ON_WEAVIATE = [
    Fault("property changed", lambda raw: raw.change(A, {"lines": 4711.0}), at(A, "metadata", "lines")),
    Fault("property gone", lambda raw: raw.change(A, {"lines": None}), at(A, "metadata", "lines")),
    Fault("in the overflow too", overflow_too, at(A, "metadata", "public")),
    Fault("own id renamed", lambda raw: raw.change(A, {"source_id": NEW[1]}), at(A, "missing") | at(NEW, "extra")),
    Fault("a second object of the same id", twin, at(A, "extra")),
]


def twin_point(raw: RawQdrant) -> None:
    found = raw.point(A)
    raw.put(A, found.payload, [-x for x in found.vector], PLACE)


ON_QDRANT = [
    # A vector of twice the length is the same point: the server keeps directions, and the payload tells the length.
    *(fault for fault in EVERYWHERE if fault.name != "not normalised"),
    Fault("length changed", lambda raw: raw.change(A, {"vf_norms": {"": 2.0}}), at(A, "vector", "vector")),
    Fault("key gone", lambda raw: raw.forget(A, "lines"), at(A, "metadata", "lines")),
    Fault("own id renamed", lambda raw: raw.rename(A, NEW[1]), at(A, "missing") | at(NEW, "extra")),
    Fault("a second point of the same id", twin_point, at(A, "extra")),
]


@dataclass
class Loaded:
    """A loaded migration: what was planted in its target can be undone."""

    world: World
    rows: pa.Table
    opened: Callable[[], Any]

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        with self.opened() as raw:
            fault.plant(raw)
        yield
        self._restore()

    def _restore(self) -> None:
        with self.opened() as raw:
            for key in (A, B, OTHER, NEW):
                raw.delete(key)
            if isinstance(raw, (RawQdrant, RawWeaviate)):
                raw.delete_at(A, PLACE)
        keys = zip(self.rows.column("namespace").to_pylist(), self.rows.column("id").to_pylist(), strict=True)
        wanted = self.rows.take([row for row, key in enumerate(keys) if key in (A, B)]).combine_chunks()
        with self.world.session() as session:
            assert session.target.upsert(wanted.to_batches()[0]).acknowledged == 2


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    found = rows_of(SPACE, "os/path", "wave", most=130)
    ids = set(zip(found.column("namespace").to_pylist(), found.column("id").to_pylist(), strict=True))
    assert {A, B} <= ids
    assert not {OTHER, NEW} & ids
    return found


SIDES = ("source", "target", "journal")


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    yield postgres.create_database("planted")
    postgres.drop_database("planted")


@pytest.fixture(scope="module")
def filled(database: str, tmp_path_factory: pytest.TempPathFactory, rows: pa.Table) -> World:
    """pgvector to pgvector, its source full."""
    folder = tmp_path_factory.mktemp("planted")
    world = World(folder, {name: postgres_connection(name, database) for name in SIDES}, small_spec(folder))
    world.fill(rows)
    return world


def load(world: World) -> None:
    with world.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.export_partition(session, plan, partition)
            pipeline.load_partition(session, plan, partition)


@pytest.fixture(scope="module")
def on_postgres(filled: World, database: str, rows: pa.Table) -> Loaded:
    load(filled)
    return Loaded(filled, rows, lambda: raw_postgres(database, "docs_moved"))


@pytest.fixture(scope="module")
def on_weaviate(filled: World, weaviate: Weaviate, rows: pa.Table) -> Loaded:
    """The same source to Weaviate."""
    spec = small_spec(filled.folder)
    spec |= {"migration": "planted", "target": {"connection": "target", "collection": "Planted"}}
    world = World(filled.folder, filled.connections | {"target": weaviate_connection(weaviate)}, spec)
    load(world)
    return Loaded(world, rows, lambda: raw_weaviate(weaviate, "Planted"))


@pytest.fixture(scope="module")
def on_qdrant(filled: World, qdrant: Qdrant, rows: pa.Table) -> Loaded:
    """The same source to Qdrant."""
    spec = small_spec(filled.folder)
    spec |= {"migration": "planted-qdrant", "target": {"connection": "target", "collection": "planted"}}
    world = World(filled.folder, filled.connections | {"target": qdrant_connection(qdrant)}, spec)
    load(world)
    return Loaded(world, rows, lambda: raw_qdrant(qdrant, "planted"))


def checked(session: Session, plan: Plan) -> list[str]:
    """Run every check, and return what the failed ones said."""
    said = []

    def run(step: Callable[..., Any], *more: Any) -> None:
        try:
            step(session, plan, *more)
        except CheckFailed as error:
            said.append(str(error))

    for partition in plan.partitions:
        run(pipeline.check_partition, partition)
    pipeline.wait_and_merge(session, plan)
    for partition in plan.partitions:
        run(pipeline.check_recall, partition)
    run(pipeline.check_collection)
    run(pipeline.check_expectations)
    return said


def named(verdicts: Sequence[Verdict]) -> Named:
    """What counts, content and extras name."""
    read = [d for v in verdicts if v.check in ("counts", "content", "extras") for d in v.differences]
    return {(d.kind, d.namespace, d.id, d.field) for d in read}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Great Expectations, which takes seconds and would only repeat that verdicts failed."""
    passed = (Verdict("expectations", "overall", True, {"expectations": 1}),)
    monkeypatch.setattr(expectations, "check_expectations", lambda *_: passed)


def assert_refused(loaded: Loaded, fault: Fault) -> None:
    with loaded.planted(fault), loaded.world.session() as session:
        plan = session.plan()
        said = checked(session, plan)
        found = session.journal.evidence.verdicts(plan.id, session.run_id)
        assert named(found) == fault.named
        ids = {(namespace, id_) for _, namespace, id_, _ in fault.named}
        failed = [verdict for verdict in found if not verdict.passed]
        # A count names no record.
        assert {(d.namespace, d.id) for v in failed for d in v.differences if v.check != "held"} == ids
        for _, namespace, id_, field in fault.named:
            assert any(f"{namespace}/{id_}" in text and field in text for text in said)
        with pytest.raises(CheckFailed, match="NO-GO"):
            pipeline.evidence(session, plan)
        evidence = session.journal.evidence.latest(session.migration)
        assert evidence is not None
        assert not evidence.approvable
        with pytest.raises(NotApproved, match="failed checks"):
            record_answer(session, evidence.hash, "approve", person="approver", reason="blind", via="airflow")


@pytest.mark.parametrize("fault", [*EVERYWHERE, *ON_WEAVIATE], ids=str)
@pytest.mark.usefixtures("quick")
def test_weaviate(on_weaviate: Loaded, fault: Fault) -> None:
    assert_refused(on_weaviate, fault)


@pytest.mark.parametrize("fault", EVERYWHERE, ids=str)
@pytest.mark.usefixtures("quick")
def test_pgvector(on_postgres: Loaded, fault: Fault) -> None:
    assert_refused(on_postgres, fault)


@pytest.mark.parametrize("fault", ON_QDRANT, ids=str)
@pytest.mark.usefixtures("quick")
def test_qdrant(on_qdrant: Loaded, fault: Fault) -> None:
    assert_refused(on_qdrant, fault)


@pytest.mark.parametrize("side", ["on_weaviate", "on_postgres", "on_qdrant"])
def test_a_target_without_a_fault_passes(side: str, request: pytest.FixtureRequest) -> None:
    loaded: Loaded = request.getfixturevalue(side)
    with loaded.world.session() as session:
        plan = session.plan()
        assert checked(session, plan) == []
        made = pipeline.evidence(session, plan)
        assert made.approvable
        assert made.body["go"]
        answer = record_answer(session, made.hash, "approve", person="approver", reason="seen", via="airflow")
        assert answer.decision == "approve"


UNLUCKY, LUCKY = "unlucky", ("a", "b", "c")
GRAPH = {"ef": 10, "maxConnections": 4, "efConstruction": 4}


def test_an_index_that_finds_little_in_one_small_namespace_is_refused(
    database: str, weaviate: Weaviate, tmp_path: Path, quick: None
) -> None:
    """Its graph has four links a record and is searched no wider than k: too few among 150 far from each other, enough among 12."""
    spec = small_spec(tmp_path) | {"migration": "unlucky", "fields": {}}
    spec |= {"source": {"connection": "source", "collection": "unlucky"}}
    spec |= {"target": {"connection": "target", "collection": "Unlucky", "index": GRAPH}}
    connections = {name: postgres_connection(name, database) for name in SIDES}
    world = World(tmp_path, connections | {"target": weaviate_connection(weaviate)}, spec)
    world.fill(pa.Table.from_batches([far_apart(name, 150 if name == UNLUCKY else 12) for name in (*LUCKY, UNLUCKY)]))
    load(world)
    with world.session() as session:
        plan = session.plan()
        said = checked(session, plan)
        failed = {
            (v.check, v.scope) for v in session.journal.evidence.verdicts(plan.id, session.run_id) if not v.passed
        }
        own = {p.name for p in plan.partitions if p.namespaces == (UNLUCKY,)}
        assert ("recall", f"namespace:{UNLUCKY}") in failed
        assert failed <= {("recall", scope) for scope in (f"namespace:{UNLUCKY}", "overall", *own)}
        assert any(f"namespace:{UNLUCKY}: " in text for text in said)
        with pytest.raises(CheckFailed, match=f"recall of namespace:{UNLUCKY}"):
            pipeline.evidence(session, plan)


def far_apart(namespace: str, rows: int) -> pa.RecordBatch:
    vectors = np.random.default_rng(rows).normal(size=(rows, 128)).astype(np.float32)
    return make_batch([namespace] * rows, [f"r{n:03}" for n in range(rows)], vectors, ["{}"] * rows)


# Evidence that proves nothing


def test_a_missing_and_an_empty_verdict_are_failures(on_postgres: Loaded, quick: None) -> None:
    with on_postgres.world.session() as session:
        plan = session.plan()
        checked(session, plan)
        keep = session.journal.evidence
        every = keep.verdicts(plan.id, session.run_id)
        (left_out, *others) = [v for v in every if v.check == "content"]
        lines = list(failures(plan, session.spec.checks, [v for v in every if v is not left_out]))
        assert f"content of {left_out.scope}: not run" in lines
        (line,) = failures(
            plan, session.spec.checks, [replace(v, total_differences=1) if v is left_out else v for v in every]
        )
        assert line == f"content of {left_out.scope}: passed, and yet there are 1 differences"
        keep.save_verdicts(plan.id, session.run_id, [replace(others[0] if others else left_out, figures={})])
        with pytest.raises(CheckFailed, match=r"content of p\d+: empty, nothing was measured"):
            pipeline.evidence(session, plan)
        assert_unsigned(session)


def assert_unsigned(session: Session) -> None:
    made = session.journal.evidence.latest(session.migration)
    assert made is not None
    assert made.run_id == session.run_id
    with pytest.raises(NotApproved, match="subset, a dry run or failed checks"):
        record_answer(session, made.hash, "approve", person="approver", reason="blind", via="airflow")
    with pytest.raises(NotApproved):
        pipeline.cut_over(session, session.plan(), made.hash)


@pytest.mark.parametrize("check", ["counts", "recall", "extras", "held", "filters", "latency", "expectations"])
def test_evidence_without_a_check_is_refused(
    on_postgres: Loaded, check: str, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """As if a task had been marked a success: nothing ran, so nothing is in the journal."""
    with on_postgres.world.session() as session:
        plan = session.plan()
        keep = type(session.journal.evidence).save_verdicts
        monkeypatch.setattr(
            type(session.journal.evidence),
            "save_verdicts",
            lambda self, p, r, found: keep(self, p, r, [v for v in found if v.check != check]),
        )
        checked(session, plan)
        with pytest.raises(CheckFailed, match=f"{check} of .*: not run"):
            pipeline.evidence(session, plan)
        assert_unsigned(session)


def test_a_subset_proves_nothing(on_postgres: Loaded, quick: None) -> None:
    with on_postgres.world.session() as session:
        plan = session.plan()
        part = pipeline.subset(plan, [plan.partitions[0].name])
        for partition in part.partitions:
            pipeline.check_partition(session, part, partition)
        made = pipeline.evidence(session, part, approvable=False)
        assert not made.approvable
        assert not made.body["go"]
        assert_unsigned(session)
