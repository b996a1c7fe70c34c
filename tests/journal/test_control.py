"""Phases: compare-and-set, the chain, the members' rule, the hold's deadline and the audit."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from journal.helpers import MIGRATION, SPEC, Database
from vectorferry.core.errors import GateError, JournalError, PhaseConflict
from vectorferry.core.model import Cohort, Phase
from vectorferry.journal import ControlRow, Journal
from vectorferry.journal.control import may_follow

Move = Callable[..., None]


def get(journal: Journal) -> ControlRow:
    return journal.control.get(MIGRATION, "all")


def step(journal: Journal, to: Phase, row: ControlRow | None = None, **options: float) -> ControlRow:
    return journal.control.advance(row or get(journal), to, actor="ann", reason="because", **options)


def test_the_chain() -> None:
    steps = {(old, new) for old in Phase for new in Phase if may_follow(old, new)}
    forward = [
        (Phase.OFF, Phase.TRACK_A),
        (Phase.TRACK_A, Phase.HOLD_A),
        (Phase.HOLD_A, Phase.HOLD_B),
        (Phase.HOLD_B, Phase.TRACK_B),
    ]
    assert steps == {*forward, *((b, a) for a, b in forward), (Phase.TRACK_B, Phase.DONE)}


def test_registering_again_changes_nothing(journal: Journal) -> None:
    step(journal, Phase.TRACK_A)
    journal.control.register(MIGRATION, SPEC, [Cohort()], "bob")
    assert [(r.cohort, r.phase, r.epoch) for r in journal.control.all(MIGRATION)] == [("all", Phase.TRACK_A, 1)]
    assert [r.action for r in journal.audit.trail(MIGRATION)] == ["register", "phase"]


CANARY = [Cohort("canary", ("beta", "b-*")), Cohort()]


def test_cohorts_keep_their_order_and_namespaces(journal: Journal) -> None:
    journal.control.register(MIGRATION, SPEC, [Cohort("z", ("beta",)), *CANARY], "bob")
    rows = journal.control.all(MIGRATION)
    assert [(r.cohort, r.patterns) for r in rows] == [("z", ("beta",)), ("canary", ("beta", "b-*")), ("all", ("*",))]
    journal.control.register(MIGRATION, SPEC, CANARY, "bob")
    assert [r.cohort for r in journal.control.all(MIGRATION)] == ["canary", "all"]


def test_cohorts_are_fixed_once_something_moves(journal: Journal) -> None:
    journal.control.register(MIGRATION, SPEC, CANARY, "bob")
    journal.control.advance(journal.control.get(MIGRATION, "canary"), Phase.TRACK_A, actor="ann", reason="x")
    with pytest.raises(GateError, match=r"cannot change any more: canary .* in TRACK_A"):
        journal.control.register(MIGRATION, "spec-2", [Cohort()], "bob")
    assert [r.cohort for r in journal.control.all(MIGRATION)] == ["canary", "all"]
    assert journal.audit.trail(MIGRATION)[-1].action == "phase"


def test_cohorts_are_fixed_once_a_router_has_joined(journal: Journal, behind: Database) -> None:
    behind.join("r1", Phase.OFF)
    with pytest.raises(GateError, match="1 routers write by them"):
        journal.control.register(MIGRATION, SPEC, CANARY, "bob")
    behind.evict("r1")
    journal.control.register(MIGRATION, SPEC, CANARY, "bob")


def test_a_cohort_that_comes_back_uses_no_epoch_twice(journal: Journal) -> None:
    step(journal, Phase.TRACK_A)
    step(journal, Phase.OFF)
    journal.control.register(MIGRATION, SPEC, CANARY, "bob")
    assert journal.control.get(MIGRATION, "all").epoch == 3


def test_a_changed_spec_is_taken_over_and_audited(journal: Journal) -> None:
    journal.control.register(MIGRATION, "spec-2", [Cohort()], "bob")
    last = journal.audit.trail(MIGRATION)[-1]
    assert (last.actor, last.action, last.detail) == ("bob", "register", {"spec": "spec-2", "before": SPEC})


def test_an_unknown_cohort_is_named(journal: Journal) -> None:
    assert journal.control.all("other") == ()
    with pytest.raises(JournalError, match="no cohort 'beta' of 'docs'"):
        journal.control.get(MIGRATION, "beta")


def test_each_step_has_an_epoch_and_an_audit_row(journal: Journal) -> None:
    step(journal, Phase.TRACK_A)
    step(journal, Phase.OFF)
    row = step(journal, Phase.TRACK_A)
    assert (row.phase, row.epoch) == (Phase.TRACK_A, 3)
    assert row == get(journal)
    trail = [
        (r.cohort, r.epoch, r.actor, r.detail["to"]) for r in journal.audit.trail(MIGRATION) if r.action == "phase"
    ]
    assert trail == [("all", 1, "ann", "TRACK_A"), ("all", 2, "ann", "OFF"), ("all", 3, "ann", "TRACK_A")]


@pytest.mark.parametrize("to", [Phase.OFF, Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B, Phase.DONE])
def test_a_leap_is_refused(journal: Journal, to: Phase) -> None:
    with pytest.raises(PhaseConflict, match="not a step along OFF - TRACK_A"):
        step(journal, to)
    assert get(journal).phase is Phase.OFF


def test_done_has_no_way_back(journal: Journal, move: Move) -> None:
    move(Phase.DONE)
    with pytest.raises(PhaseConflict, match="leads back from DONE"):
        step(journal, Phase.TRACK_B)


def test_a_stale_row_is_told_who_moved(journal: Journal) -> None:
    stale = get(journal)
    step(journal, Phase.TRACK_A)
    with pytest.raises(PhaseConflict, match=r"ann moved it to TRACK_A \(epoch 1\) at .* UTC: because"):
        step(journal, Phase.TRACK_A, stale)


def test_the_epoch_counts_even_if_the_phase_is_the_same_again(journal: Journal) -> None:
    stale = get(journal)
    step(journal, Phase.TRACK_A)
    step(journal, Phase.OFF)
    with pytest.raises(PhaseConflict, match="no longer in OFF"):
        step(journal, Phase.TRACK_A, stale)


def test_of_many_at_once_exactly_one_wins(journal: Journal) -> None:
    for to in (Phase.TRACK_A, Phase.HOLD_A, Phase.TRACK_A, Phase.OFF):
        row, barrier = get(journal), threading.Barrier(8, timeout=120)

        def attempt(_: int, row: ControlRow = row, to: Phase = to, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                step(journal, to, row)
            except PhaseConflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(attempt, range(8))) == 1
        assert get(journal).epoch == row.epoch + 1


def test_the_hold_has_a_deadline_on_the_journals_clock(journal: Journal, move: Move) -> None:
    move(Phase.TRACK_A)
    held = step(journal, Phase.HOLD_A, hold_seconds=10)
    assert held.hold_deadline is not None
    assert timedelta(seconds=9.9) < held.hold_deadline - held.changed_at < timedelta(seconds=10.1)
    assert step(journal, Phase.HOLD_B).hold_deadline == held.hold_deadline
    assert step(journal, Phase.TRACK_B).hold_deadline is None


def test_routers_must_be_near(journal: Journal, behind: Database) -> None:
    behind.join("r1", Phase.OFF)
    behind.join("r2", None)
    with pytest.raises(PhaseConflict, match=r"r2 on host \(has acknowledged no phase, lease lapsed\)"):
        step(journal, Phase.TRACK_A)
    behind.acknowledge("r2", Phase.OFF)
    step(journal, Phase.TRACK_A)
    behind.acknowledge("r2", Phase.TRACK_A)
    with pytest.raises(PhaseConflict, match=r"not every router.* r1 on host \(in OFF") as caught:
        step(journal, Phase.HOLD_A)
    assert "r2" not in str(caught.value)
    assert get(journal).phase is Phase.TRACK_A
    step(journal, Phase.OFF)  # a step back never waits for stragglers


def test_a_router_with_operations_of_an_earlier_phase_is_not_near(journal: Journal, behind: Database) -> None:
    step(journal, Phase.TRACK_A)
    behind.join("r1", Phase.TRACK_A, draining=Phase.OFF)
    with pytest.raises(PhaseConflict, match="in OFF"):
        step(journal, Phase.HOLD_A)
    behind.acknowledge("r1", Phase.TRACK_A)
    step(journal, Phase.HOLD_A)


def test_an_evicted_router_and_other_cohorts_do_not_count(journal: Journal, behind: Database) -> None:
    journal.control.register(MIGRATION, SPEC, [Cohort("canary", ("beta",)), Cohort()], "ann")
    behind.join("gone", None)
    behind.evict("gone")
    behind.join("r1", Phase.OFF, cohort="all")
    step(journal, Phase.TRACK_A)
    with pytest.raises(PhaseConflict, match="r1"):
        journal.control.advance(journal.control.get(MIGRATION, "canary"), Phase.TRACK_A, actor="ann", reason="x")


def test_a_router_that_is_joining_is_waited_for(journal: Journal, behind: Database) -> None:
    """Without the lock, the check would miss a router whose transaction commits a moment later."""
    began = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with journal.database.transaction() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO vectorferry.member (id, migration, host, pid, version, deadline_seconds) "
                    f"VALUES ('late', '{MIGRATION}', 'host', 1, '0', 1)"
                )
            )

            def move() -> ControlRow:
                began.set()
                return step(journal, Phase.TRACK_A)

            moving = pool.submit(move)
            began.wait()
            with pytest.raises(TimeoutError):
                moving.result(timeout=0.3)
        with pytest.raises(PhaseConflict, match="late"):
            moving.result(timeout=120)
