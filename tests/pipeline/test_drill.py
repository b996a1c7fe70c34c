"""The restore drill: what it proves, what it leaves, and that the end of a migration wants one."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline.commanding import on
from pipeline.dying import after, start
from pipeline.dying import vectorferry as vectorferry_process
from pipeline.test_backup import Place, changed, gateway, places
from pipeline.test_live import approve
from pipeline.worlds import World, rows_of
from vectorferry.core.audited import RESTORE_DRILL
from vectorferry.core.errors import CheckFailed, GateError, LeaseLost, NotFound
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric, Verdict
from vectorferry.engine import pipeline
from vectorferry.engine.backup import drill as drilling
from vectorferry.engine.backup.create import backup
from vectorferry.engine.backup.drill import clear_scratch, drill, scratch_name
from vectorferry.engine.backup.format import BEGUN, complete
from vectorferry.engine.backup.restore import Loaded, Rules
from vectorferry.engine.session import Session
from vectorferry.questions.cutover import question
from vectorferry.stores.base import VectorStore
from vectorferry.stores.registry import open_store

__all__ = ["gateway", "places"]

SCRATCH = scratch_name("small", "target", "docs_moved")


@pytest.fixture
def moved(world: World) -> Iterator[tuple[World, Session]]:
    """Cut over, with nobody writing."""
    world.spec_dict["limits"] = {"request_deadline": "1s", "lease": "3s"}
    world.fill(rows_of("", "wave", most=60))
    with world.session() as session:
        pipeline.run(session, approve)
    with world.session() as session:
        yield world, session


def tables(database: str) -> set[str]:
    with psycopg.connect(database) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def drills(session: Session) -> list[Any]:
    return [row.detail for row in session.journal.audit.trail("small") if row.action == RESTORE_DRILL]


@pytest.mark.parametrize("collection", ["Docs", "docs-v2", "docs_moved", "d" * 60, "größe" * 12])
def test_the_scratch_has_a_name_that_every_product_takes(collection: str) -> None:
    name = scratch_name("small", "target", collection)
    assert len(name.encode()) <= 45
    assert name.startswith(collection[:5])
    assert name[-13:].isalnum()
    assert name[-13:].islower()
    assert name != scratch_name("small", "source", collection)


def test_the_end_wants_a_drill_that_passed_and_is_recent(moved: tuple[World, Session], database: str) -> None:
    world, session = moved
    with pytest.raises(
        GateError, match=r"no restore drill of pgvector docs_moved was ever run.*`vectorferry drill SPEC`"
    ):
        pipeline.finalize(session, approve)
    before, old = tables(database), backup(session)
    ran = on(world, "drill", "--json")
    assert ran.code == 0, ran.err
    told: Any = ran.json()
    assert tables(database) == before, "nothing of it is left"
    assert (told["rows"], told["backup"]) == (session.target.count(), old.manifest.id)
    assert min(told[name] for name in ("load_rate", "verify_rate", "load_seconds", "verify_seconds")) > 0
    [kept] = drills(session)
    assert kept["passed"]
    assert kept["scratch"] == SCRATCH
    evidence = pipeline.prepare_finalize(session)
    asked = question(session, evidence).body
    assert f"| Restore\N{NO-BREAK SPACE}drill | passed at {datetime.now(UTC):%Y-%m-%d}" in asked
    assert f"backup `{told['backup']}`, **{told['rows']}** rows loaded at" in asked
    world.spec_dict["backup"] = {"drill_age": "0.001s"}
    with world.session() as later:
        with pytest.raises(GateError, match=r"is older than backup\.drill_age"):
            pipeline.prepare_finalize(later)
        assert drill(later).figures["backup"] != told["backup"], "an old backup proves nothing of today"
    world.spec_dict["backup"] = {"drill_age": "0.001s", "require_drill": False}
    with world.session() as later:
        assert "is older than backup.drill_age" in question(later, pipeline.prepare_finalize(later)).body
        assert pipeline.finalize(later, approve)


@pytest.mark.parametrize("product", ["pinecone", "weaviate"])
def test_it_runs_beside_a_collection_of_every_product(world: World, places: dict[str, Place], product: str) -> None:
    world.connections["target"] = places[product].connection
    world.spec_dict["target"]["collection"] = places[product].name(f"drilled{os.getpid()}{product}")
    world.spec_dict["budgets"] = {"target": {"requests_per_second": 500}}
    world.fill(rows_of("wave", "", "email", most=20))
    with world.session() as session:
        pipeline.prepare(session)
        for namespace in ("wave", "", "email"):
            session.target.upsert(next(session.source.scan(KeyRange(namespace))))
        found = drill(session, fresh=True)
        assert found.figures["rows"] == session.source.count()
        scratch = open_store(places[product].connection, drills(session)[-1]["scratch"])
        with pytest.raises(NotFound):
            scratch.describe()
        scratch.close()
        session.target.drop()


def test_a_drill_of_before_the_cut_over_does_not_count(world: World) -> None:
    world.fill(rows_of("wave", most=30))
    with world.session() as session:
        pipeline.prepare(session)
        session.target.upsert(next(session.source.scan(KeyRange("wave"))))
        first = drill(session).figures
        pipeline.run(session, approve)
    with world.session() as session:
        with pytest.raises(GateError, match="was of a backup from before the cut-over"):
            pipeline.prepare_finalize(session)
        assert drill(session).figures["backup"] != first["backup"]
        pipeline.prepare_finalize(session)


def test_a_planted_difference_fails_it(
    moved: tuple[World, Session], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    world, session = moved
    real, before = drilling.verify, tables(database)

    def planted(saved: Any, store: VectorStore, *more: Any, **named: Any) -> Verdict:
        record = next(store.scan(KeyRange("wave"))).slice(0, 1)
        store.upsert(changed(record, "metadata", '{"kind":"planted"}'))
        return real(saved, store, *more, **named)

    assert drill(session).passed
    with monkeypatch.context() as patch:
        patch.setattr(drilling, "verify", planted)
        with pytest.raises(
            CheckFailed, match=r"restore_drill of target: 1 namespaces have other counts or digests.*wave/"
        ):
            drill(session)
    assert tables(database) == before
    assert not drills(session)[-1]["passed"]
    with pytest.raises(GateError, match=r"cannot be finished: the last restore drill, of .* failed: 1 namespaces"):
        pipeline.prepare_finalize(session)
    world.spec_dict["backup"] = {"require_drill": False}
    with world.session() as later:
        assert "| **failed** at" in question(later, pipeline.prepare_finalize(later)).body
    [newest] = complete(session.staging, "target")
    (Path(newest.files.url) / newest.manifest.parts[0].path).unlink()
    with pytest.raises(CheckFailed, match="is missing"):
        drill(session)
    assert "is missing" in drills(session)[-1]["reason"]
    assert drill(session, fresh=True).passed
    pipeline.prepare_finalize(session)


def test_an_empty_collection_proves_nothing(world: World) -> None:
    world.fill(rows_of("wave", most=30))
    with world.session() as session:
        pipeline.prepare(session)
        with pytest.raises(CheckFailed, match="the backup holds no record, so nothing was proved"):
            drill(session)


def test_it_does_not_fill_the_database(moved: tuple[World, Session], database: str) -> None:
    world, session = moved
    before = tables(database)
    world.spec_dict["capacity"] = {"target": {"rows": session.target.count()}}
    with (
        world.session() as full,
        pytest.raises(CheckFailed, match="there is no room for a second copy of the collection: target rows"),
    ):
        drill(full)
    assert tables(database) == before


def test_what_a_killed_drill_left_is_known_and_dropped(moved: tuple[World, Session], database: str) -> None:
    world, session = moved
    before, log = tables(database), world.folder / "killed.log"
    arguments = ("drill", str(world.spec_file))
    point = after("stores.pgvector.store:PgvectorStore.upsert")
    process = start(vectorferry_process, *arguments, environment=world.environment(), log=log, points=[point])
    process.join(60)
    assert process.exitcode == -9, log.read_text()
    assert tables(database) - before == {SCRATCH}
    assert session.journal.audit.trail("small")[-1].action == BEGUN
    assert clear_scratch(session)
    assert tables(database) == before
    assert not clear_scratch(session)
    store = open_store(world.connection("target"), SCRATCH)
    store.create(CollectionDefinition(3, Metric.COSINE))
    with pytest.raises(GateError, match="no drill of small made it"):
        clear_scratch(session)
    store.drop()
    store.close()
    assert drill(session).passed
    assert tables(database) == before


def test_a_collection_of_somebody_else_is_left_alone(moved: tuple[World, Session]) -> None:
    world, session = moved
    assert drill(session).passed
    store = open_store(world.connection("target"), SCRATCH)
    store.create(CollectionDefinition(3, Metric.COSINE))
    with pytest.raises(GateError, match=f"{SCRATCH} is there, and no drill of small made it"):
        drill(session)
    assert store.describe().dimension == 3
    store.close()
    assert on(world, "drill").code == 1


def test_who_lost_its_lease_drops_nothing(
    moved: tuple[World, Session], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    _, session = moved
    real = drilling.load

    def taken_over(saved: Any, store: VectorStore, rules: Rules) -> Loaded:
        loaded = real(saved, store, rules)
        session.journal.attempts.begin(session.plan().id, "drill-target", "drill", "another", 3)
        with pytest.raises(LeaseLost):
            while True:
                rules.check()
                time.sleep(0.02)
        return loaded

    monkeypatch.setattr(drilling, "load", taken_over)
    with pytest.raises(LeaseLost, match="superseded"):
        drill(session)
    assert SCRATCH in tables(database)
    assert drills(session) == []
