"""Plans: exact round trip, bound to the spec, one live plan a migration."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from journal.helpers import MIGRATION, SPEC, make_plan
from trail import left_in_trail
from vectorferry.core.errors import GateError, JournalError, LeaseLost, PlanMismatch
from vectorferry.core.model import KeyOrder, KeyRange, Partition
from vectorferry.journal import Journal


def test_a_plan_comes_back_as_it_was(journal: Journal) -> None:
    ranges = (KeyRange("", None, "b\x00", 3), KeyRange("名 / space", "b", None, None))
    partitions = (Partition("p1", 1, ranges, "canary"), Partition("p0", 0, (KeyRange("x"),)))
    made = replace(
        make_plan(), key_order=KeyOrder.UUID, partitions=partitions, details={"rows": 5, "f": 0.1, "n": None}
    )
    saved = journal.plans.save(made)
    assert saved.created_at is not None
    assert replace(saved, created_at=None) == replace(made, partitions=partitions[::-1])
    assert journal.plans.current(MIGRATION) == saved
    assert journal.plans.require(MIGRATION, SPEC) == saved
    assert saved.partition("p1") == partitions[0]
    with pytest.raises(PlanMismatch, match="no partition 'p9'"):
        saved.partition("p9")


def test_saving_again_keeps_the_first(journal: Journal) -> None:
    first = journal.plans.save(make_plan())
    assert journal.plans.save(make_plan()) == first
    assert journal.plans.save(make_plan("plan-2", partitions=5)) == first


def test_of_many_planners_one_wins(journal: Journal) -> None:
    barrier = threading.Barrier(6, timeout=120)

    def save(number: int) -> str:
        barrier.wait()
        return journal.plans.save(make_plan(f"plan-{number}")).id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(save, range(6)))) == 1


def test_a_plan_of_another_spec_is_refused(journal: Journal) -> None:
    journal.plans.save(make_plan())
    with pytest.raises(
        PlanMismatch,
        match=r"made from spec spec-1, the spec is now spec-2: restore the spec, cut the plan anew .* or abandon",
    ):
        journal.plans.save(make_plan("plan-2", fingerprint="spec-2"))
    with pytest.raises(PlanMismatch, match="spec-2"):
        journal.plans.require(MIGRATION, "spec-2")


def test_no_plan(journal: Journal) -> None:
    assert journal.plans.current(MIGRATION) is None
    with pytest.raises(PlanMismatch, match="has no plan"):
        journal.plans.require(MIGRATION, SPEC)


def test_an_unknown_migration(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no migration 'other': register it first"):
        journal.plans.save(replace(make_plan(), migration="other"))


def test_a_retired_plan_makes_room_and_does_not_come_back(journal: Journal) -> None:
    journal.plans.save(make_plan())
    journal.plans.retire(MIGRATION)
    journal.plans.retire(MIGRATION)
    with pytest.raises(PlanMismatch, match=r"plan-1 .*was retired"):
        journal.plans.save(make_plan())
    with pytest.raises(PlanMismatch, match=r"plan-1 .*was retired"):
        journal.attempts.begin("plan-1", "p0", "load", "w", 10)
    assert journal.plans.save(make_plan("plan-2", fingerprint="spec-2")).id == "plan-2"


def test_another_plan_takes_the_place_of_one_under_which_nothing_was_done(journal: Journal) -> None:
    old, new = journal.plans.save(make_plan()), make_plan("plan-2", "spec-2", partitions=5)
    lapsed = journal.attempts.begin(old.id, "p0", "export", "w", 0.0)
    ended = journal.attempts.begin(old.id, "p1", "export", "w", 60.0)
    journal.attempts.finish(ended, unanswered_seconds_ago=None, settle_after=0)
    assert journal.plans.replace(old, new, "ann") == journal.plans.current(MIGRATION)
    assert len(journal.plans.require(MIGRATION, "spec-2").partitions) == 5
    told = left_in_trail(journal, "replan", MIGRATION)
    assert (told.actor, told.detail) == ("ann", {"from": "plan-1", "to": "plan-2", "partitions": [2, 5]})
    with pytest.raises(LeaseLost):
        journal.attempts.progress(lapsed, 0, 10)
    with pytest.raises(PlanMismatch, match="retired"):
        journal.attempts.begin(old.id, "p0", "export", "w", 60.0)
    with pytest.raises(PlanMismatch, match="no longer in force"):
        journal.plans.replace(old, make_plan("plan-3"), "ann")


@pytest.mark.parametrize("busy", ["held", "noted", "done"])
def test_no_plan_takes_the_place_of_one_that_is_worked_on(journal: Journal, busy: str) -> None:
    old = journal.plans.save(make_plan())
    attempt = journal.attempts.begin(old.id, "p1", "export", "w", 60.0)
    if busy == "noted":
        journal.attempts.progress(attempt, 0, 10)
    if busy != "held":
        journal.attempts.finish(attempt, unanswered_seconds_ago=None, settle_after=0)
    if busy == "done":
        journal.attempts.complete(old.id, "p1", "export", 0, 0)
    with pytest.raises(GateError, match="partition p1 was exported, or is being"):
        journal.plans.replace(old, make_plan("plan-2", "spec-2"), "ann")
    assert journal.plans.current(MIGRATION) == old
