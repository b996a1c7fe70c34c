"""Airflow's processes killed in the middle of a migration: the end is the same as without, and hardly anything is sent twice.

Where the kills land is drawn from a seed; VECTORFERRY_KILL_SEED draws other moments.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import oracle
from orchestration.conftest import IN_FLIGHT, KILLED, Stage, Story, alive, kill, some_docs, spec_of, wait_for
from vectorferry.core.model import Partition, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.session import open_session
from vectorferry.journal import Journal, Plan
from vectorferry.spec.migration import MigrationSpec

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long]

SEED = os.environ.get("VECTORFERRY_KILL_SEED", "1")
NAMESPACES, ROWS = ("asyncio", "email", "tkinter"), 300
BATCH, PARALLEL = KILLED["partitions"]["batch_rows"], KILLED["partitions"]["parallel"]
Told = set[tuple[str, str, bool, tuple[Any, ...]]]


@dataclass
class Killer:
    """Kills what works on a run; `kills` are those that landed between a partition's first and last noted batch."""

    run: Story
    journal: Journal
    moments: random.Random = field(default_factory=lambda: random.Random(SEED))
    kills: Counter[str] = field(default_factory=Counter)
    loads_hit: int = 0

    @property
    def scheduler(self) -> psutil.Process:
        return psutil.Process(self.run.stage.supervisor.pid("airflow-scheduler"))

    def plan(self) -> Plan:
        return wait_for(lambda: self.journal.plans.current(self.run.name), "a plan")

    def noted(self, partition: Partition, step: str) -> int:
        """Rows of a partition that are noted as done."""
        done = self.journal.attempts.done_batches(self.plan().id, partition.name, step)
        return sum(batch.rows for batch in done.values())

    def kill(self, what: str, step: str, victims: Callable[[psutil.Process], list[psutil.Process]]) -> None:
        """Kill when a partition is some batches into a step, until it was hit before its last one."""
        while not self.kills[what]:
            partition, worker = self.await_worker(step)
            self.loads_hit += (PARALLEL if what == "scheduler" else 1) if step == "load" else 0
            kill(victims(worker))
            self.kills[what] += self.is_open(partition, step)
            if what == "scheduler":
                self.run.stage.supervisor.restart("airflow-scheduler")

    def await_worker(self, step: str) -> tuple[Partition, psutil.Process]:
        """A partition some batches after the first one, and the process that works on it."""
        rows = BATCH * self.moments.randint(1, 5)
        return wait_for(lambda: next(self.working(step, rows), None), f"a partition in the middle of {step}")

    def working(self, step: str, rows: int) -> Iterator[tuple[Partition, psutil.Process]]:
        running = {
            state.partition for state in self.journal.attempts.summary(self.plan().id) if is_running(state, step)
        }
        for partition in self.plan().partitions:
            if partition.name in running and rows <= self.noted(partition, step) and self.is_open(partition, step):
                worker = self.worker(partition, step)
                if worker is not None:
                    yield partition, worker

    def worker(self, partition: Partition, step: str) -> psutil.Process | None:
        """The process whose attempt is the newest, as its lease names it; None where that one is dead already."""
        query = sa.text(
            "SELECT owner FROM vectorferry.attempt WHERE plan_id = :plan AND partition = :name AND step = :step "
            "ORDER BY number DESC LIMIT 1"
        )
        with self.journal.database.statement() as connection:
            owner = connection.scalar(query, {"plan": self.plan().id, "name": partition.name, "step": step})
        return alive(int(owner.rpartition(":")[2]))

    def is_open(self, partition: Partition, step: str) -> bool:
        return 0 < self.noted(partition, step) < (partition.rows or 0)

    def kill_check(self) -> None:
        """Kill the process that watches a check's process: the check goes on, and nobody hears of its end."""
        task = wait_for(lambda: self.run.process("check"), "a running check")
        kill([task.parent()])
        self.kills["check"] += 1


def test_kills_lose_nothing(stage: Stage, tmp_path: Path) -> None:
    rows = some_docs(NAMESPACES, ROWS)
    stage.make("source_killed", rows)
    stage.make("target_killed")
    note_what_is_sent(stage, "target_killed")
    run = stage.begin("killed")
    with stage.journal() as journal:
        killer = Killer(run, journal)
        killer.kill("export", "export", lambda worker: [worker])
        killer.kill("upsert", "load", lambda worker: [worker])
        killer.kill("scheduler", "load", lambda _: [killer.scheduler, *killer.scheduler.children(recursive=True)])
        killer.kill_check()

        asked = run.question()
        assert asked.subject == "GO: cut over killed to pgvector target_killed?"
        signed = told(journal, "killed", run.run_id)
        run.answer("Approve")
        assert run.end() == "success"
        assert run.phase() is Phase.TRACK_B

        assert killer.kills == {"export": 1, "upsert": 1, "scheduler": 1, "check": 1}
        for partition in killer.plan().partitions:
            assert killer.noted(partition, "export") == killer.noted(partition, "load") == partition.rows
    assert signed == undisturbed(stage, tmp_path)
    assert {passed for _, _, passed, _ in signed} == {True}

    pq.write_table(rows, tmp_path / "expected.parquet")
    actual = oracle.read_pgvector("target_killed", url=stage.postgres.url("vectors"))
    assert oracle.compare(oracle.read_parquet(tmp_path / "expected.parquet"), actual) == []
    ((sent,),) = stage.sql("SELECT count(*) FROM sent")
    assert 0 <= sent - len(rows) <= killer.loads_hit * IN_FLIGHT * BATCH


def note_what_is_sent(stage: Stage, collection: str) -> None:
    """Make the database count every row that it is sent, also those that it has already."""
    stage.sql(
        f"""CREATE TABLE sent (namespace text, id text);
        CREATE FUNCTION note_sent() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO sent VALUES (NEW.namespace, NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER note_sent AFTER INSERT OR UPDATE ON "{collection}" FOR EACH ROW EXECUTE FUNCTION note_sent()"""
    )


def undisturbed(stage: Stage, folder: Path) -> Told:
    """The verdicts of the same migration into a table of its own, in this process and as fast as it can."""
    changes = {**KILLED, "budgets": {}, "staging": {"url": str(folder / "staging")}}
    spec = MigrationSpec.model_validate(spec_of("undisturbed", **changes))
    with open_session(spec, actor="operator", run_id="undisturbed", connections=stage.connection) as session:
        pipeline.run(session, lambda *_: False)
        return told(session.journal, "undisturbed", "undisturbed")


def told(journal: Journal, migration: str, run_id: str) -> Told:
    """What the verdicts that were signed say."""
    plan, evidence = journal.plans.current(migration), journal.evidence.latest(migration)
    assert plan is not None
    assert evidence is not None
    assert evidence.run_id == run_id
    return {(v.check, v.scope, v.passed, v.differences) for v in journal.evidence.verdicts(plan.id, run_id)}


def is_running(state: Any, step: str) -> bool:
    return (state.step, state.state) == (step, "running")
