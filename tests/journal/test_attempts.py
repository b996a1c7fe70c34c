"""Attempts: leases, superseding, idempotent progress, and when nothing can land any more."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from journal.helpers import MIGRATION, Database, make_plan
from vectorferry.core.errors import LeaseLost, PlanMismatch
from vectorferry.journal import Attempt, BatchProgress, Journal, Plan, StepDone

P, LOAD = "p0", "load"


def begin(journal: Journal, plan: Plan, lease: float = 60.0, owner: str = "w1", partition: str = P) -> Attempt:
    return journal.attempts.begin(plan.id, partition, LOAD, owner, lease)


def settled(journal: Journal, plan: Plan, deadline: float = 10.0) -> float:
    return journal.attempts.settled_at(plan.id, P, LOAD, deadline)


def test_a_lease_can_be_renewed_until_it_lapses(journal: Journal, plan: Plan) -> None:
    held = begin(journal, plan)
    journal.attempts.renew(held, 60)
    journal.attempts.renew(held, 0.05)
    time.sleep(0.1)
    for call in (lambda: journal.attempts.renew(held, 60), lambda: journal.attempts.progress(held, 0, 10)):
        with pytest.raises(LeaseLost, match=r"attempt 1 of w1 at load of p0 lapsed at .* UTC: begin a new one"):
            call()
    assert journal.attempts.done_batches(plan.id, P, LOAD) == {}


def test_a_newer_attempt_supersedes_at_once(journal: Journal, plan: Plan) -> None:
    old, new = begin(journal, plan), begin(journal, plan, owner="w2")
    assert (old.number, new.number) == (1, 2)
    with pytest.raises(LeaseLost, match="superseded by attempt 2 of w2"):
        journal.attempts.renew(old, 60)
    with pytest.raises(LeaseLost, match="superseded by attempt 2 of w2"):
        journal.attempts.progress(old, 0, 10)
    journal.attempts.progress(new, 0, 10)
    begin(journal, plan, partition="p1")
    journal.attempts.renew(new, 60)


def test_attempts_that_begin_at_once_have_different_numbers(journal: Journal, plan: Plan) -> None:
    barrier = threading.Barrier(8, timeout=120)

    def run(_: int) -> Attempt:
        barrier.wait()
        return begin(journal, plan)

    def lives(held: Attempt) -> bool:
        try:
            journal.attempts.renew(held, 60)
        except LeaseLost:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        held = sorted(pool.map(run, range(8)), key=lambda each: each.number)
    assert [each.number for each in held] == list(range(1, 9))
    assert [lives(each) for each in held] == [False] * 7 + [True]


def test_an_unknown_plan(journal: Journal) -> None:
    with pytest.raises(PlanMismatch, match="no plan nope"):
        journal.attempts.begin("nope", P, LOAD, "w", 1)


def test_progress_is_idempotent(journal: Journal, plan: Plan) -> None:
    held = begin(journal, plan)
    for _ in range(2):
        journal.attempts.progress(held, 1, 10, 2, {"digest": "ab", "x": 1.5})
        journal.attempts.progress(held, 0, 7)
    journal.attempts.progress(begin(journal, plan, owner="w2"), 0, 8)
    assert journal.attempts.done_batches(plan.id, P, LOAD) == {
        0: BatchProgress(0, 8, 0, None),
        1: BatchProgress(1, 10, 2, {"digest": "ab", "x": 1.5}),
    }
    assert journal.attempts.done_batches(plan.id, "p1", LOAD) == {}


def test_nothing_can_land_before_the_first_attempt(journal: Journal, plan: Plan) -> None:
    assert settled(journal, plan) == 0


def test_after_a_death_lease_and_deadline_must_pass(journal: Journal, plan: Plan) -> None:
    begin(journal, plan, lease=5)
    assert settled(journal, plan, deadline=10) == pytest.approx(15, abs=2)
    assert settled(journal, plan, deadline=0) == pytest.approx(5, abs=2)


def test_a_lease_that_lapsed_long_ago_is_settled(journal: Journal, plan: Plan, behind: Database) -> None:
    begin(journal, plan, lease=5)
    behind.age("attempt", 16, "lease_until")
    assert settled(journal, plan, deadline=10) == 0
    assert settled(journal, plan, deadline=20) == pytest.approx(9, abs=2)


def test_after_a_clean_end_only_an_unanswered_request_is_waited_for(journal: Journal, plan: Plan) -> None:
    journal.attempts.finish(begin(journal, plan), unanswered_seconds_ago=None, settle_after=10)
    assert settled(journal, plan) == 0
    journal.attempts.finish(begin(journal, plan), unanswered_seconds_ago=12, settle_after=10)
    assert settled(journal, plan) == 0
    journal.attempts.finish(begin(journal, plan), unanswered_seconds_ago=4, settle_after=10)
    assert settled(journal, plan) == pytest.approx(6, abs=2)


def test_the_latest_of_all_attempts_counts(journal: Journal, plan: Plan) -> None:
    dead = begin(journal, plan, lease=20)
    journal.attempts.finish(begin(journal, plan), unanswered_seconds_ago=0, settle_after=10)
    assert settled(journal, plan, deadline=10) == pytest.approx(30, abs=2)
    journal.attempts.finish(dead, unanswered_seconds_ago=None, settle_after=10)  # superseded, but it ended cleanly
    assert settled(journal, plan, deadline=10) == pytest.approx(10, abs=2)


def test_over_all_plans_of_a_migration(journal: Journal, plan: Plan) -> None:
    assert journal.attempts.all_settled_at(MIGRATION, 10) == 0
    begin(journal, plan, lease=20)
    journal.plans.retire(MIGRATION)
    journal.plans.save(make_plan("plan-2"))
    assert journal.attempts.all_settled_at(MIGRATION, 10) == pytest.approx(30, abs=2)
    assert journal.attempts.all_settled_at("other", 10) == 0


def test_the_first_end_counts(journal: Journal, plan: Plan) -> None:
    held = begin(journal, plan)
    journal.attempts.finish(held, unanswered_seconds_ago=0, settle_after=10, detail={"rows": 3})
    journal.attempts.finish(held, unanswered_seconds_ago=None, settle_after=10)
    assert settled(journal, plan) == pytest.approx(10, abs=2)
    with pytest.raises(LeaseLost, match="was finished at"):
        journal.attempts.progress(held, 0, 1)


def test_a_step_is_completed_once_and_for_all(journal: Journal, plan: Plan) -> None:
    assert journal.attempts.completed(plan.id, P, LOAD) is None
    journal.attempts.complete(plan.id, P, LOAD, 10, 1, {"digest": "ab"})
    journal.attempts.complete(plan.id, P, LOAD, 99, 9, {})
    done = journal.attempts.completed(plan.id, P, LOAD)
    assert done is not None
    assert done == StepDone(10, 1, {"digest": "ab"}, done.at)
    assert done.at is not None


def test_a_reset_undoes_progress_but_not_the_attempts(journal: Journal, plan: Plan) -> None:
    journal.attempts.progress(begin(journal, plan, lease=30), 0, 10)
    journal.attempts.complete(plan.id, P, LOAD, 10, 0)
    journal.attempts.reset(plan.id, P, LOAD, actor="bob")
    assert journal.attempts.completed(plan.id, P, LOAD) is None
    assert journal.attempts.done_batches(plan.id, P, LOAD) == {}
    assert settled(journal, plan, deadline=10) > 30
    last = journal.audit.trail(MIGRATION)[-1]
    assert (last.actor, last.action, last.detail["partition"]) == ("bob", "reset", P)


def test_the_summary_has_every_partition_by_every_step(journal: Journal, plan: Plan) -> None:
    assert journal.attempts.summary(plan.id) == []
    exporting = journal.attempts.begin(plan.id, "p1", "export", "w", 60)
    journal.attempts.progress(exporting, 0, 4)
    journal.attempts.progress(exporting, 1, 5)
    journal.attempts.finish(exporting, unanswered_seconds_ago=None, settle_after=0)
    journal.attempts.complete(plan.id, "p1", "export", 9, 0)
    loading = begin(journal, plan, partition="p1")
    journal.attempts.progress(loading, 0, 3, 1)
    begin(journal, plan, lease=0)
    states = journal.attempts.summary(plan.id)
    assert [(s.partition, s.step, s.state, s.rows, s.excused) for s in states] == [
        ("p0", "export", "pending", 0, 0),
        ("p0", "load", "pending", 0, 0),
        ("p1", "export", "done", 9, 0),
        ("p1", "load", "running", 3, 1),
    ]
    assert [s.updated_at is None for s in states] == [True, False, False, False]
