"""Members: leases, acknowledgements, eviction, and the locks between them and a change of phase."""

import threading

import pytest

from journal.helpers import MIGRATION, Database
from vectorferry.core.errors import GateError, JournalError, LeaseLost, NotSettled, PhaseConflict
from vectorferry.core.model import Phase
from vectorferry.journal import Journal, Write

from .conftest import Move


def join(journal: Journal, name: str = "r1", lease: float = 30, deadline: float = 5) -> None:
    journal.members.join(MIGRATION, name, host="h", pid=7, version="1", lease=lease, deadline=deadline)


def expire(behind: Database, seconds: float = 1) -> None:
    behind.run("UPDATE vectorferry.member SET lease_until = clock_timestamp() - :s * interval '1 s'", s=seconds)


def test_a_router_joins_in_the_phase_of_the_moment(journal: Journal, move: Move) -> None:
    move(Phase.TRACK_A)
    join(journal)
    [member] = journal.members.all(MIGRATION)
    assert (member.id, member.host, member.pid, member.deadline) == ("r1", "h", 7, 5)
    assert member.cohorts["all"].phase is Phase.TRACK_A
    assert 25 < member.lease_left <= 30


def test_who_never_heard_the_answer_joins_again_under_the_same_name(journal: Journal, move: Move) -> None:
    join(journal, lease=0)
    move(Phase.TRACK_A)
    join(journal)
    [member] = journal.members.all(MIGRATION)
    assert member.cohorts["all"].phase is Phase.TRACK_A
    assert member.lease_left > 0


def test_a_name_that_was_evicted_is_not_used_again(journal: Journal, move: Move) -> None:
    move(Phase.TRACK_A)
    join(journal, lease=0, deadline=0)
    assert journal.members.evict_lapsed(MIGRATION, "ann") == ("r1",)
    with pytest.raises(LeaseLost, match="must join under another name"):
        join(journal)
    assert journal.members.all(MIGRATION) == ()


def test_an_unknown_migration_has_no_routers(journal: Journal) -> None:
    with pytest.raises(JournalError, match="knows no migration 'other'"):
        journal.members.join("other", "r", host="h", pid=1, version="1", lease=1, deadline=1)


def test_a_phase_is_left_only_by_all(journal: Journal, move: Move) -> None:
    join(journal)
    move(Phase.TRACK_A)
    with pytest.raises(PhaseConflict, match=r"r1 on h \(in OFF"):
        move(Phase.HOLD_A)
    [row] = journal.members.renew(MIGRATION, "r1", 30)
    assert row.phase is Phase.TRACK_A
    assert journal.members.acknowledge("r1", row, draining=Phase.OFF)
    with pytest.raises(PhaseConflict, match=r"r1 on h \(in OFF"):
        move(Phase.HOLD_A)
    assert journal.members.acknowledge("r1", row)
    move(Phase.HOLD_A)


def test_a_phase_that_is_over_is_not_acknowledged(journal: Journal, move: Move) -> None:
    join(journal)
    old = journal.control.get(MIGRATION, "all")
    move(Phase.TRACK_A)
    assert not journal.members.acknowledge("r1", old)


def test_a_lapsed_lease_is_not_renewed(journal: Journal, behind: Database) -> None:
    join(journal)
    expire(behind)
    with pytest.raises(LeaseLost, match="must join again"):
        journal.members.renew(MIGRATION, "r1", 30)


def test_a_router_is_evicted_once_nothing_of_it_can_land(journal: Journal, move: Move, behind: Database) -> None:
    move(Phase.TRACK_A)
    join(journal)
    write = Write(MIGRATION, "all", "r1", Phase.TRACK_A, "ns")
    journal.intents.open(write, ["a"])
    expire(behind, 4)
    assert journal.members.evict_lapsed(MIGRATION, "ann") == ()
    assert journal.claims.backlog(MIGRATION, "all").open == 1
    expire(behind, 6)
    assert journal.members.evict_lapsed(MIGRATION, "ann") == ("r1",)
    backlog = journal.claims.backlog(MIGRATION, "all")
    assert (backlog.dirty, backlog.open) == (1, 0)
    assert journal.members.all(MIGRATION) == ()
    assert "evict" in [row.action for row in journal.audit.trail(MIGRATION)]


def test_only_a_person_removes_a_router_that_wrote_untracked(journal: Journal, behind: Database) -> None:
    join(journal)
    expire(behind, 3600)
    assert journal.members.evict_lapsed(MIGRATION, "ann") == ()
    journal.members.forget(MIGRATION, "r1", "ann")
    assert journal.members.all(MIGRATION) == ()


def test_a_router_that_may_still_write_is_not_removed(journal: Journal) -> None:
    join(journal)
    with pytest.raises(GateError, match=r"may still write for 3\d s"):
        journal.members.forget(MIGRATION, "r1", "ann")
    with pytest.raises(GateError, match="has no router r2"):
        journal.members.forget(MIGRATION, "r2", "ann")


def test_joining_and_moving_at_once_never_part(journal: Journal, move: Move) -> None:
    """Whoever joins while a phase moves is either seen by the move or joins in the new phase."""
    started = threading.Barrier(5)

    def run(number: int) -> None:
        started.wait()
        join(journal, f"r{number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    move(Phase.TRACK_A)
    for thread in threads:
        thread.join()
    phases = {member.cohorts["all"].phase for member in journal.members.all(MIGRATION)}
    assert phases <= {Phase.OFF, Phase.TRACK_A}


# --- Holds whose time is over


def test_a_hold_whose_time_is_over_steps_back_to_where_it_came_from(journal: Journal, move: Move) -> None:
    move(Phase.TRACK_A)
    row = journal.control.get(MIGRATION, "all")
    row = journal.control.advance(row, Phase.HOLD_A, actor="ann", reason="x", hold_seconds=60)
    assert row.came_from is Phase.TRACK_A
    assert row.hold_left is not None
    assert 55 < row.hold_left <= 60
    assert not journal.control.step_back(row, "router r1")


@pytest.mark.parametrize(
    ("start", "holds", "back"),
    [
        (Phase.TRACK_A, [Phase.HOLD_A], [Phase.TRACK_A]),
        (Phase.TRACK_A, [Phase.HOLD_A, Phase.HOLD_B], [Phase.HOLD_A, Phase.TRACK_A]),
        (Phase.TRACK_B, [Phase.HOLD_B], [Phase.TRACK_B]),
        (Phase.TRACK_B, [Phase.HOLD_B, Phase.HOLD_A], [Phase.HOLD_B, Phase.TRACK_B]),
    ],
)
def test_the_way_back(journal: Journal, move: Move, start: Phase, holds: list[Phase], back: list[Phase]) -> None:
    move(start)
    row = journal.control.get(MIGRATION, "all")
    for phase in holds:
        row = journal.control.advance(row, phase, actor="ann", reason="x", hold_seconds=0)
    for phase in back:
        assert journal.control.step_back(row, "router r1")
        assert not journal.control.step_back(row, "router r2")
        row = journal.control.get(MIGRATION, "all")
        assert row.phase is phase
    assert (row.came_from, row.hold_deadline) == (None, None)
    trail = [line for line in journal.audit.trail(MIGRATION) if line.action == "phase"]
    assert (trail[-1].actor, trail[-1].epoch, trail[-1].detail["to"]) == ("router r1", row.epoch, start)


def test_nobody_steps_back_past_a_router_that_is_elsewhere(journal: Journal, move: Move) -> None:
    move(Phase.HOLD_A)
    row = journal.control.get(MIGRATION, "all")
    journal.control.advance(row, Phase.HOLD_B, actor="ann", reason="x", hold_seconds=0)
    join(journal)
    row = journal.control.get(MIGRATION, "all")
    assert journal.control.step_back(row, "x")
    assert not journal.control.step_back(journal.control.get(MIGRATION, "all"), "x")


# --- Leaving and loading


def test_who_left_in_off_needs_no_person(journal: Journal, behind: Database) -> None:
    join(journal)
    journal.members.leave("r1")
    assert journal.members.evict_lapsed(MIGRATION, "ann") == ()
    behind.run("UPDATE vectorferry.member SET lease_until = clock_timestamp() - interval '1 h'")
    assert journal.members.evict_lapsed(MIGRATION, "ann") == ("r1",)


def test_a_load_begins_once_every_router_tracks_and_no_settler_writes(journal: Journal, behind: Database) -> None:
    row = journal.control.get(MIGRATION, "all")
    with pytest.raises(PhaseConflict, match="loaded in TRACK_A only"):
        journal.control.begin_load(MIGRATION, "all")
    join(journal)
    row = journal.control.advance(row, Phase.TRACK_A, actor="ann", reason="x")
    with pytest.raises(PhaseConflict, match="cannot be loaded: not every router is in TRACK_A: r1"):
        journal.control.begin_load(MIGRATION, "all")
    journal.members.acknowledge("r1", row)
    journal.claims.mark_dirty(MIGRATION, "all", "ns", ["a"])
    claimed = "claim = 't', claim_until = clock_timestamp() + interval '9 s'"
    behind.run(f"UPDATE vectorferry.record_state SET {claimed}")
    with pytest.raises(NotSettled, match="a settler may still write 1 records"):
        journal.control.begin_load(MIGRATION, "all")
    behind.run("UPDATE vectorferry.record_state SET claim_until = clock_timestamp()")
    first = journal.control.begin_load(MIGRATION, "all")
    second = journal.control.begin_load(MIGRATION, "all")
    with pytest.raises(PhaseConflict, match=f"load {first} of cohort 'all' .* is out of date"):
        journal.control.mark_loaded(MIGRATION, "all", loads=first)
    journal.control.mark_loaded(MIGRATION, "all", loads=second)
    assert journal.control.get(MIGRATION, "all").loaded
