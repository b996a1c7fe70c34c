"""How full the databases are: what preflight says, loads and settling that wait for room, and what people are told."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from pipeline.commanding import vectorferry
from pipeline.worlds import World, weaviate_connection
from stores.weaviate.tools import rest
from vectorferry.core.capacity import Seen
from vectorferry.core.errors import NoRoom, PreflightFailed, RoomAwaited, Unauthorized, Unavailable
from vectorferry.core.model import Capacity, Partition, WriteResult
from vectorferry.engine import pipeline
from vectorferry.engine.capacity import measured
from vectorferry.engine.monitor.alerts import alerts, new_alerts
from vectorferry.engine.monitor.capacity_alerts import MEASURED, capacity_alerts
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.export import export
from vectorferry.engine.transfer.load import load
from vectorferry.journal import Plan
from vectorferry.journal.tables import attempt
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.base import VectorStore
from vectorferry.testing.samples import new_name, records

DIMENSION = 384


@pytest.fixture
def exported(filled: World) -> World:
    """Planned and exported: what is left is the load."""
    return export_all(filled)


def export_all(filled: World) -> World:
    filled.spec_dict["limits"] = {"request_deadline": "1s", "lease": "5s"}
    filled.spec_dict["partitions"]["batch_rows"] = 50
    with filled.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            export(session, plan, partition)
    return filled


def limited(world: World, **rules: Any) -> World:
    """The same migration under other limits, which are no part of what was planned."""
    world.spec_dict["capacity"] = {"every": "0.01s"} | rules
    return world


def elsewhere(rows: int) -> pa.RecordBatch:
    return records("elsewhere", [f"x{row}" for row in range(rows)], np.ones((rows, DIMENSION), np.float32))


class Watched:
    """A session's progress; `waits(n)` returns once n notes said that there is no room."""

    def __init__(self, session: Session) -> None:
        self.session = replace(session, report=self._note)
        self.notes: list[str] = []
        self._changed = threading.Condition()

    def _note(self, progress: StepProgress) -> None:
        with self._changed:
            self.notes += [progress.note] if progress.note.startswith("waits for room") else []
            self._changed.notify_all()

    def waits(self, times: int) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.notes) >= times, 60)
            return self.notes[-1]


class Reporting:
    """A store that says of its capacity what the test says: one that `becomes_read_only` tells so after the first write that it fails."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._failed = False
        self.becomes_read_only = False
        self.tells = True
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def capacity(self, *, count: bool = True) -> Capacity:
        del count
        if not self.tells:
            raise Unauthorized("may only read records", store=self.name)
        return Capacity(read_only=self.becomes_read_only and self._failed)

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        if self.becomes_read_only or self.away:
            self._failed = True
            raise Unavailable("read-only, or away", store=self.name)
        return self._store.upsert(batch)


def silenced(session: Session) -> Session:
    """A session that may not ask its source how full it is."""
    source = Reporting(session.source)
    source.tells = False
    return replace(session, source=source)


def load_all(session: Session, plan: Plan, waited: float | None = None) -> int:
    return sum(load(session, plan, partition, waited)["rows"] for partition in plan.partitions)


def begun(session: Session, plan: Plan) -> Partition:
    """The partition whose load was begun and has no end."""
    done = session.journal.attempts.completed
    return next(each for each in plan.partitions if done(plan.id, each.name, "load") is None)


@contextmanager
def loading(session: Session) -> Iterator[Future[int]]:
    """A load of everything in another thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(load_all, session, session.plan())


def lease_end(session: Session) -> datetime:
    """When the newest attempt's lease ends, as the journal has it."""
    with session.journal.database.statement() as connection:
        found: datetime = connection.execute(sa.select(sa.func.max(attempt.c.lease_until))).scalar_one()
    return found


def test_preflight_shows_warns_and_refuses(filled: World) -> None:
    with filled.session() as session:
        found = pipeline.preflight(session)
        by_name = {fill.name: fill for fill in found.capacity}
        assert set(by_name) == {"source disk", "target disk"}, "nothing is judged where no limit is known"
        disk = by_name["target disk"]
        assert disk.used and disk.added and disk.limit is None and not found.warnings
        rows = found.rows
    for share, verdict in ((0.5, "fine"), (0.85, "warned"), (1.01, "refused")):
        limited(filled, target={"rows": int(rows / share), "disk": "1TB", "memory": "1GiB"})
        with filled.session() as session:
            if verdict == "refused":
                with pytest.raises(
                    PreflightFailed, match=r"target rows: 0 rows used, .* \(101%\) is more than there is"
                ):
                    pipeline.preflight(session)
                continue
            warnings = pipeline.preflight(session).warnings
        assert any("target rows" in text and "capacity.warn, 80%" in text for text in warnings) is (verdict == "warned")
        assert "capacity.target.memory cannot be watched" in " ".join(warnings)
    limited(filled, target={"disk": "1MB"})
    with filled.session() as session, pytest.raises(PreflightFailed, match=r"raise capacity.target.disk"):
        pipeline.preflight(session)


def test_the_command_line_shows_it(filled: World) -> None:
    limited(filled, target={"rows": 100_000})
    arguments = ("plan", str(filled.spec_file))
    shown: Any = vectorferry(*arguments, "--json", environment=filled.environment()).json()
    by_name = {f"{fill['side']} {fill['what']}": fill for fill in shown["capacity"]}
    assert by_name["target rows"]["limit"] == 100_000 and by_name["target rows"]["added"] == shown["rows"]
    text = vectorferry(*arguments, environment=filled.environment()).text
    assert "Capacity" in text and "projected to come" in text and "100,000 rows" in text


def test_a_load_waits_for_room_and_goes_on_by_itself(exported: World) -> None:
    with exported.session() as session:
        plan = session.plan()
        rows = plan.details["rows"]
        session.target.upsert(elsewhere(rows // 2))
    limited(exported, target={"rows": rows}, pause=1, warn=1, every="0.2s", wait="60s")
    with exported.session() as session:
        watched = Watched(session)
        with loading(watched.session) as load_of_all:
            note = watched.waits(1)
            ends, before = lease_end(session), session.target.count()
            assert "target rows" in note and f"of {rows:,} rows" in note and rows < before < rows + rows // 2
            while lease_end(session) <= ends:  # it is renewed while it waits
                watched.waits(len(watched.notes) + 1)
            assert session.target.count() == before and not load_of_all.done()
            session.target.delete("elsewhere", [f"x{row}" for row in range(rows)])
            assert load_of_all.result(60) == rows == session.target.count()


def state_of(session: Session, partition: str) -> str:
    found = pipeline.partition_map(session.journal, session.migration)
    return next(each.state for each in found if each.name == partition)


def test_a_load_that_comes_back_holds_nothing_meanwhile_and_sends_nothing_twice(exported: World) -> None:
    exported.spec_dict["budgets"] = {"target": {"in_flight": 1}}
    limited(exported, target={"rows": 80}, wait="60s", warn=0.5, pause=0.5)
    with exported.session() as session:
        plan = session.plan()
        with pytest.raises(RoomAwaited, match="waits for room: target rows"):
            load_all(session, plan, waited=0.0)
        partition, held = begun(session, plan), session.target.count()
        attempts = session.journal.attempts
        assert 0 < held < partition.rows < plan.details["rows"]
        assert attempts.settled_at(plan.id, partition.name, "load", session.deadline) == 0.0, "no lease"
        assert state_of(session, partition.name) == "waiting"
        assert sum(batch.rows for batch in attempts.done_batches(plan.id, partition.name, "load").values()) == held
        with pytest.raises(RoomAwaited):
            load_all(
                session, plan, waited=3600.0
            )  # batches went through meanwhile: the limit is of a wait, not of a load
        with session.journal.database.statement() as connection:
            tries = connection.scalar(sa.select(sa.func.max(attempt.c.number)).where(attempt.c.step == "load"))
        assert tries == 1, "where there is no room at the start none is begun"
        assert state_of(session, partition.name) == "waiting"
    limited(exported, target={"rows": 80}, wait="0s", warn=0.5, pause=0.5)
    with exported.session() as session:
        with pytest.raises(NoRoom, match="clear the failed task"):
            load_all(session, plan, waited=1.0)
        assert state_of(session, partition.name) == "failed", "it gave up"
    limited(exported, target={"rows": 100_000})
    with exported.session() as session:
        assert load_all(session, plan, waited=1.0) == plan.details["rows"] == session.target.count()


def test_a_load_that_gives_up_goes_on_once_its_task_is_cleared(exported: World) -> None:
    limited(exported, target={"rows": 120}, wait="0.3s", warn=0.5, pause=0.5)
    with exported.session() as session:
        plan = session.plan()
        with pytest.raises(NoRoom, match=r"(?s)raise the limit under capacity.target, then clear the failed task"):
            load_all(session, plan)
        assert 0 < session.target.count() < plan.details["rows"]
    limited(exported, target={"rows": 100_000})
    with exported.session() as session:
        assert load_all(session, plan) == plan.details["rows"] == session.target.count()


def test_a_load_whose_target_becomes_read_only_sends_again_once_it_is_not(exported: World) -> None:
    limited(exported, every="0.05s")
    with exported.session() as session:
        store = Reporting(session.target)
        watched = Watched(replace(session, target=store))
        plan = session.plan()
        store.becomes_read_only = True
        with loading(watched.session) as load_of_all:
            assert "read-only" in watched.waits(2)
            assert session.target.count() == 0
            store.becomes_read_only = False
            assert load_of_all.result(60) == plan.details["rows"] == session.target.count()


def test_a_load_waits_for_a_weaviate_whose_shard_is_read_only(filled: World, weaviate: Weaviate) -> None:
    name = new_name("Room")
    filled.connections["target"] = weaviate_connection(weaviate)
    filled.spec_dict["target"] |= {"collection": name, "namespaces_are": "property"}
    limited(export_all(filled), every="0.2s")

    def mark(status: str) -> None:
        [shard] = rest(weaviate, "GET", f"/schema/{name}/shards")
        rest(weaviate, "PUT", f"/schema/{name}/shards/{shard['name']}", {"status": status})

    mark("READONLY")
    with filled.session() as session:
        watched = Watched(session)
        with loading(watched.session) as load_of_all:
            assert watched.waits(2).endswith(f"weaviate {name} is read-only, as a database whose disk is full")
            mark("READY")
            assert load_of_all.result(60) == session.plan().details["rows"] == session.target.count()
        session.target.drop()


def test_a_target_that_is_away_and_not_full_is_an_error(exported: World) -> None:
    with exported.session() as session:
        store = Reporting(session.target)
        store.away = True
        with pytest.raises(Unavailable, match="away"):
            load_all(replace(session, target=store), session.plan())


def test_growth_is_told_from_a_measurement_before(filled: World) -> None:
    limited(filled, source={"rows": 10}, target={"disk": "1kB"})
    with filled.session() as session:
        journal, spec = session.journal, session.spec
        seen = measured(session)
        told = [alert.text for alert in new_alerts(journal, spec, "watch", seen)]
        assert [text.split(":")[0] for text in told] == ["source rows", "target disk"]
        assert "growing" not in told[0] and "Loads and settling wait: the source needs fewer rows, or" in told[0]
        assert new_alerts(journal, spec, "watch", seen) == () == alerts(journal, spec)
        kept = [row for row in journal.audit.trail("small") if row.action == MEASURED]
        assert len(kept) == 1
        later = kept[0].at + timedelta(hours=12)
        source = replace(seen[0], fills=tuple(replace(fill, used=(fill.used or 0) + 50) for fill in seen[0].fills))
        [(_, text)] = capacity_alerts(journal.audit.trail("small"), spec, source, later)
        assert "growing by 100 rows a day" in text


def test_a_side_that_cannot_be_asked_is_word_for_people_and_hides_nothing(filled: World) -> None:
    limited(filled, target={"disk": "1kB"})
    with filled.session() as session:
        session = silenced(session)
        told = [alert.text for alert in alerts(session.journal, session.spec, measured(session))]
        assert told[0] == "nobody knows how full the source is: pgvector docs: may only read records"
        assert told[1].startswith("target disk: ")
        stopped = Seen("target", "pgvector docs_moved", read_only=True)
        [text] = [alert.text for alert in alerts(session.journal, session.spec, [stopped])]
        assert text.startswith("target pgvector docs_moved takes no writes: it is read-only")
    limited(filled)
    with filled.session() as session:
        warnings = pipeline.preflight(silenced(session)).warnings
    assert warnings == (
        "the source's capacity cannot be measured: source pgvector docs: may only read records; check the connection 'source'",
    )
