"""Forgetting: all of an unfinished migration but its audit, nothing of others, never from HOLD_A on."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import pytest

from journal.helpers import MIGRATION, SPEC, Database, make_evidence, make_plan
from vectorferry.core.errors import GateError, JournalError, LeaseLost, PhaseConflict, PlanMismatch
from vectorferry.core.model import Cohort, Phase, Usage, Verdict
from vectorferry.journal import Counted, Journal, Scope, ShadowFigures
from vectorferry.journal.tables import metadata

Move = Callable[..., None]
KEPT = {"audit", "journal_meta", "budget"}


def fill(journal: Journal, behind: Database, migration: str, tag: str) -> None:
    plan = journal.plans.save(replace(make_plan(f"plan-{tag}"), migration=migration))
    held = journal.attempts.begin(plan.id, "p0", "load", "w", 60)
    journal.attempts.progress(held, 0, 1)
    journal.attempts.complete(plan.id, "p0", "load", 1, 0)
    journal.evidence.save_verdicts(plan.id, "run", [Verdict("c", "s", True)])
    journal.evidence.save(make_evidence(tag, migration=migration, plan_id=plan.id))
    journal.approvals.record(tag, "approve", "a", "a", "", "terminal", None, "run")
    journal.records.excuse(plan, "p0", [("", "x", "why")])
    behind.run(
        "INSERT INTO vectorferry.member (id, migration, host, pid, version, deadline_seconds, evicted_at) "
        "VALUES (:id, :migration, 'h', 1, '0', 1, clock_timestamp())",
        id=f"m-{tag}",
        migration=migration,
    )
    behind.acknowledge(f"m-{tag}", Phase.TRACK_A)
    journal.reconciliations.begin(migration, Scope.FULL, "run", 60, lease=60)
    journal.shadows.add(
        migration, f"m-{tag}", "search", ShadowFigures(reads=1), cohort="all", phase=Phase.TRACK_A, seconds=1
    )
    journal.usage.add(migration, "run", Usage(requests=1))
    journal.samples.write(migration, "backlog", "all", {"dirty": 1})
    journal.traffic.add(migration, f"m-{tag}", [Counted("all", Phase.TRACK_A, 1, 0)])
    behind.run(
        "INSERT INTO vectorferry.intent (generation, migration, cohort, namespace, id, member, phase) "
        "VALUES (nextval('vectorferry.generation'), :migration, 'all', '', 'x', 'm', 'TRACK_A')",
        migration=migration,
    )


def counts(behind: Database) -> dict[str, int]:
    names = [table.name for table in metadata.sorted_tables if table.name not in KEPT]
    return {name: int(str(behind.run(f"SELECT count(*) FROM vectorferry.{name}").scalar_one())) for name in names}


def test_all_rows_go_and_those_of_others_stay(journal: Journal, behind: Database, move: Move) -> None:
    journal.control.register("other", SPEC, [Cohort()], "ann")
    fill(journal, behind, "other", "o")
    before = counts(behind)
    assert min(before.values()) >= 1, "every table has a row, so that none is left out of this test"
    move(Phase.TRACK_A)
    fill(journal, behind, MIGRATION, "d")
    journal.forget(MIGRATION, actor="bob")
    after = counts(behind)
    assert after == {**before, "migration": 1, "control": 1}
    assert journal.control.all(MIGRATION) == ()
    assert journal.evidence.latest("other") is not None
    last = journal.audit.trail(MIGRATION)[-1]
    assert (last.actor, last.action, last.cohort, last.epoch, last.detail) == (
        "bob",
        "forget",
        "all",
        1,
        {"from": "TRACK_A"},
    )
    assert isinstance(last.at, datetime)


@pytest.mark.parametrize("phase", [Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B, Phase.DONE])
def test_not_from_hold_a_on(journal: Journal, behind: Database, move: Move, phase: Phase) -> None:
    fill(journal, behind, MIGRATION, "d")
    before = counts(behind)
    move(phase)
    with pytest.raises(GateError, match=f"cohort 'all' is in {phase}. Roll it back"):
        journal.forget(MIGRATION)
    assert counts(behind) == before


def test_not_under_live_routers(journal: Journal, behind: Database) -> None:
    behind.join("r1", Phase.OFF)
    with pytest.raises(GateError, match="routers still use it: r1"):
        journal.forget(MIGRATION)
    behind.evict("r1")
    journal.forget(MIGRATION)


def test_workers_of_a_forgotten_migration_stop(journal: Journal) -> None:
    journal.plans.save(make_plan())
    held = journal.attempts.begin("plan-1", "p0", "load", "w", 60)
    row = journal.control.get(MIGRATION, "all")
    journal.forget(MIGRATION)
    with pytest.raises(LeaseLost, match="abandoned"):
        journal.attempts.renew(held, 60)
    with pytest.raises(PlanMismatch, match="abandoned"):
        journal.attempts.begin("plan-1", "p0", "load", "w", 60)
    with pytest.raises(PhaseConflict, match="forgotten"):
        journal.control.advance(row, Phase.TRACK_A, actor="ann", reason="x")


def test_a_worker_that_records_meanwhile_fails_and_leaves_nothing(journal: Journal, behind: Database) -> None:
    """Progress of a live attempt may pass its check before the rows are deleted, and arrive after."""
    journal.plans.save(make_plan())
    held = journal.attempts.begin("plan-1", "p0", "load", "w", 60)

    def work() -> str:
        try:
            for batch in itertools.count():
                journal.attempts.progress(held, batch, 1)
        except JournalError as error:
            return type(error).__name__
        raise AssertionError("never")

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        time.sleep(0.1)
        journal.forget(MIGRATION)
        ends = [worker.result(timeout=120) for worker in workers]
    assert set(ends) <= {"LeaseLost", "JournalError"}
    assert counts(behind)["progress"] == 0


def test_epochs_go_on_after_forgetting(journal: Journal, move: Move) -> None:
    move(Phase.TRACK_A)
    old = journal.control.get(MIGRATION, "all")
    journal.forget(MIGRATION)
    journal.control.register(MIGRATION, SPEC, [Cohort()], "ann")
    assert journal.control.get(MIGRATION, "all").epoch == old.epoch + 1
    journal.forget(MIGRATION)
    journal.control.register(MIGRATION, SPEC, [Cohort()], "ann")
    assert journal.control.get(MIGRATION, "all").epoch == old.epoch + 2


def test_forgetting_nothing(journal: Journal) -> None:
    journal.forget("unheard of")
    assert journal.audit.trail("unheard of") == ()
