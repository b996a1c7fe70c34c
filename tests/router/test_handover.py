"""The authority moves forward and back under live writes, and nothing that was acknowledged is lost."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.writing import Writers
from router.conftest import Pair
from vectorferry.core.errors import GateError, LeaseLost, NotDone, VectorferryError
from vectorferry.core.model import COHORT, Phase
from vectorferry.core.records import make_batch
from vectorferry.engine.cutover import handover
from vectorferry.engine.cutover.handover import move_authority, step_back
from vectorferry.engine.sync import settle_loop
from vectorferry.engine.sync.settle_loop import settle_until_clean, settle_up_to_now
from vectorferry.journal import Backlog
from vectorferry.journal.claims import Claims
from vectorferry.router import Record

HOLD = 10.0


KEYS = [("n", f"w{number}") for number in range(123)]


def small(id_: str, value: float) -> Record:
    return Record(id_, [value, 1, 1, 1])


def equal(pair: Pair) -> None:
    """Both sides hold the same, and all of it."""
    sides = []
    for store in (pair.session.source, pair.session.target):
        ids = sorted(pair.ids("source") | pair.ids("target"))
        batch = store.fetch("n", ids)
        sides.append({row["id"]: row["vector"] for row in batch.to_pylist()})
    assert sides[0] == sides[1]


def test_what_is_left_is_asked_for_once_a_round(tracked: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, backlog = [], Claims.backlog

    def counted(*args: Any, **named: Any) -> Backlog:
        asked.append(named)
        return backlog(*args, **named)

    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", ["a"])
    monkeypatch.setattr(Claims, "backlog", counted)
    settle_up_to_now(tracked.session)
    # Of two settlers one had something to do.
    assert len(asked) == 2


def test_ten_switches_under_live_writes_lose_nothing(tracked: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    writers = Writers([tracked.router() for _ in range(3)], KEYS, made_of=small, pause=0)
    holds = []
    for _ in range(5):
        for to in (Phase.TRACK_B, Phase.TRACK_A):
            before = writers.written
            while writers.written < before + 30 and not writers.errors:
                time.sleep(0.01)
            holds.append(move_authority(tracked.session, COHORT, to, reason="test", hold=HOLD).hold_seconds)
    writers.stop()
    assert writers.errors == []
    settle_until_clean(tracked.session, COHORT, lambda _: None)
    equal(tracked)
    present = {name for (_, name), value in writers.expected.items() if value is not None}
    assert tracked.ids("source") == present
    with capsys.disabled():
        print(f" {writers.written} writes, longest {writers.longest:.2f} s, holds {max(holds):.2f} s at most", end=" ")


def test_a_hold_whose_time_is_over_names_what_is_in_the_way(tracked: Pair) -> None:
    journal = tracked.session.journal
    journal.members.join("small", "asleep", host="far", pid=1, version="0", lease=60, deadline=5)
    with pytest.raises(GateError, match="not every router has followed: asleep on far"):
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=0.3)
    assert tracked.phase() is Phase.TRACK_A


def test_a_dead_router_is_waited_for_and_then_left_behind(tracked: Pair) -> None:
    journal = tracked.session.journal
    journal.members.join("small", "dead", host="far", pid=1, version="0", lease=0.3, deadline=0.3)
    moved = move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    assert moved.phase is Phase.TRACK_B
    assert "evict" in [line.action for line in journal.audit.trail("small")]


@pytest.mark.parametrize("to", [Phase.TRACK_B, Phase.TRACK_A])
def test_a_switch_that_was_cut_short_goes_on(tracked: Pair, to: Phase) -> None:
    if to is Phase.TRACK_A:
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    first, second = (Phase.HOLD_A, Phase.HOLD_B) if to is Phase.TRACK_B else (Phase.HOLD_B, Phase.HOLD_A)
    tracked.step(first, hold=HOLD)
    tracked.step(second)
    assert move_authority(tracked.session, COHORT, to, reason="test", hold=HOLD).phase is to
    assert move_authority(tracked.session, COHORT, to, reason="test", hold=HOLD).hold_seconds == 0


def test_a_hold_too_short_for_the_stores_is_not_begun(tracked: Pair) -> None:
    with pytest.raises(GateError, match="too short"):
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=0)
    assert tracked.phase() is Phase.TRACK_A


def test_a_large_backlog_is_settled_before_a_hold_begins(tracked: Pair) -> None:
    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", [f"i{n}" for n in range(1001)])
    with pytest.raises(GateError, match="1001 records are still to be settled"):
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    settle_until_clean(tracked.session, COHORT, lambda _: None)
    assert move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD).phase is Phase.TRACK_B


def test_a_failure_in_the_hold_steps_back(tracked: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectorferry.engine.sync.settle_loop.settle_batch", failing)
    with pytest.raises(GateError, match="on purpose"):
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    assert tracked.phase() is Phase.TRACK_A
    tracked.router().upsert("n", [Record("a", [1, 2, 3, 4])])


def every_error(kind: type[VectorferryError] = VectorferryError) -> Iterator[type[VectorferryError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from every_error(each)


def made(kind: type[VectorferryError]) -> VectorferryError:
    error = kind.__new__(kind, "on purpose")
    Exception.__init__(error, "on purpose")
    return error


def nth(number: int, error: VectorferryError, real: Callable[..., Any]) -> Callable[..., Any]:
    """The call of that number raises, all others are as ever."""
    calls = count(1)

    def called(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            raise error
        return real(*arguments, **named)

    return called


@pytest.mark.parametrize("to", [Phase.TRACK_B, Phase.TRACK_A])
def test_whatever_is_raised_in_a_hold_the_phase_is_left(tracked: Pair, to: Phase) -> None:
    router, session = tracked.router(), tracked.session
    start = Phase.TRACK_A if to is Phase.TRACK_B else Phase.TRACK_B
    if start is Phase.TRACK_B:
        move_authority(session, COHORT, start, reason="test", hold=HOLD)
    # A settler that loses its lease is no failure of the hold: its ids are claimed again.
    errors = [kind for kind in every_error() if not issubclass(kind, LeaseLost)]
    assert len(errors) > 25
    for number, kind in enumerate(errors):
        for module, name, call in ((settle_loop, "settle_batch", 1), (handover, "live_members", 1 + number % 2)):
            router.upsert("n", [Record(f"w{number}", [1, 2, 3, 4])])
            with pytest.MonkeyPatch.context() as patch, pytest.raises(kind, match="on purpose"):
                patch.setattr(module, name, nth(call, made(kind), getattr(module, name)))
                move_authority(session, COHORT, to, reason="test", hold=HOLD)
            assert tracked.phase() is start, kind
    router.upsert("n", [Record("after", [1, 2, 3, 4])])
    assert move_authority(session, COHORT, to, reason="test", hold=HOLD).phase is to
    quiet(tracked, lambda: tracked.dirty() == 0)
    equal(tracked)


def test_a_step_back_waits_for_routers_that_are_still_a_step_behind(tracked: Pair) -> None:
    tracked.step(Phase.HOLD_A, hold=HOLD)
    tracked.step(Phase.HOLD_B)
    tracked.session.journal.members.join("small", "dead", host="far", pid=1, version="0", lease=0.3, deadline=0.3)
    step_back(tracked.session, COHORT, Phase.TRACK_A, "on purpose")
    assert tracked.phase() is Phase.TRACK_A
    assert tracked.session.journal.members.all("small") == ()


def failing(*_: object) -> None:
    raise GateError("on purpose")


def test_rows_that_the_new_side_cannot_hold_come_back_whole(tracked: Pair) -> None:
    """An excused record stays in the source through the switch and back, whatever else is written."""
    router = tracked.router()
    router.upsert("n", [Record("kept", [1, 2, 3, 4]), Record("both", [2, 2, 3, 4])])
    quiet(tracked, lambda: tracked.dirty() == 0)
    tracked.session.target.delete("n", ["kept"])
    with tracked.session.journal.database.statement() as connection:
        connection.exec_driver_sql("UPDATE vectorferry.record_state SET excused = true WHERE id = 'kept'")
    move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    router.upsert("n", [Record("new", [3, 2, 3, 4])])
    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", ["kept", "both"])
    move_authority(tracked.session, COHORT, Phase.TRACK_A, reason="test", hold=HOLD)
    assert tracked.ids("source") == {"kept", "both", "new"}
    assert list(router.fetch("n", ["kept"])) == ["kept"]


@pytest.mark.parametrize("forward", [True, False])
def test_an_excused_record_that_is_written_anew_is_as_written(tracked: Pair, forward: bool) -> None:
    """A put or a delete that was acknowledged counts on both sides, whatever was excused before."""
    router = tracked.router()
    for name in ("put", "deleted"):
        tracked.session.source.upsert(batch_of(name))
        tracked.session.journal.claims.mark_dirty("small", COHORT, "n", [name])
    with tracked.session.journal.database.statement() as connection:
        connection.exec_driver_sql("UPDATE vectorferry.record_state SET excused = true, dirty = false")
    if not forward:
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    router.upsert("n", [Record("put", [9, 9, 9, 9])])
    router.delete("n", ["deleted"])
    quiet(tracked, lambda: tracked.dirty() == 0)
    move_authority(tracked.session, COHORT, Phase.TRACK_A if not forward else Phase.TRACK_B, reason="test", hold=HOLD)
    assert tracked.ids("source") == tracked.ids("target") == {"put"}
    assert router.fetch("n", ["put"])["put"].vector == [9, 9, 9, 9]
    equal(tracked)


@pytest.mark.parametrize("phase", [Phase.TRACK_A, Phase.TRACK_B])
def test_an_excused_record_is_not_updated(tracked: Pair, phase: Phase) -> None:
    """What it comes to may not fit the other side, or would be made of what that side has in its place."""
    router = tracked.router()
    tracked.session.source.upsert(batch_of("kept"))
    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", ["kept"])
    with tracked.session.journal.database.statement() as connection:
        connection.exec_driver_sql("UPDATE vectorferry.record_state SET excused = true, dirty = false")
    if phase is Phase.TRACK_B:
        move_authority(tracked.session, COHORT, phase, reason="test", hold=HOLD)
    with pytest.raises(NotDone, match="'kept' is excused") as refused:
        router.update("n", "kept", set_metadata={"kind": "y"})
    assert not refused.value.retryable
    quiet(tracked, lambda: tracked.session.journal.claims.backlog("small", COHORT).open == 0)
    found = tracked.session.source.fetch("n", ["kept"])
    assert found.column("metadata").to_pylist() == ["{}"]


def batch_of(name: str) -> pa.RecordBatch:
    return make_batch("n", [name], np.ones((1, 4), np.float32), ["{}"])


def quiet(pair: Pair, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        pair.settle()


def test_a_write_during_a_hold_that_is_never_ended_fails_as_not_done(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [Record("a", [1, 2, 3, 4])])
    quiet(tracked, lambda: tracked.dirty() == 0)
    row = tracked.session.journal.control.get("small", COHORT)
    tracked.session.journal.control.advance(row, Phase.HOLD_A, actor="ann", reason="x", hold_seconds=1)
    # Something that is not a router of ours keeps the way back shut.
    tracked.session.journal.members.join("small", "x", host="h", pid=1, version="0", lease=60, deadline=1)
    with tracked.session.journal.database.statement() as connection:
        connection.exec_driver_sql("UPDATE vectorferry.member_phase SET phase = 'HOLD_B' WHERE member = 'x'")
    time.sleep(0.1)
    with pytest.raises(NotDone) as refusal:
        router.upsert("n", [Record("b", [1, 2, 3, 4])])
    assert refusal.value.retryable
    assert tracked.ids("source") == {"a"}
