"""Moving the authority from one side to the other, through a short hold, or stepping back: the same both ways. Rules 1 and 7."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from vectorferry.core.errors import (
    GateError,
    JournalError,
    JournalUnavailable,
    LeaseLost,
    NotSettled,
    PartialWrite,
    PhaseConflict,
    RetryableError,
    StoreError,
)
from vectorferry.core.model import Phase
from vectorferry.engine.backpressure import Room
from vectorferry.engine.members import is_in, live_members
from vectorferry.engine.session import SIDES, Progress, Session, Side
from vectorferry.engine.sync.settle import REFUSED_AGAIN_SECONDS, settle_some
from vectorferry.journal import Backlog, ControlRow, Member

# What changes here is in other processes: routers that acknowledge, requests that end.
POLL_SECONDS = 0.02
IDLE_SECONDS = 0.5
AGAIN_SECONDS = 5.0
SETTLERS = 2
_WAYS = {
    Phase.TRACK_B: (Phase.TRACK_A, Phase.HOLD_A, Phase.HOLD_B),
    Phase.TRACK_A: (Phase.TRACK_B, Phase.HOLD_B, Phase.HOLD_A),
}


@dataclass(frozen=True, slots=True)
class Moved:
    """The phase reached, and for how many seconds writes waited; 0 where the authority had moved before."""

    phase: Phase
    hold_seconds: float


def move_authority(session: Session, cohort: str, to: Phase, *, reason: str, hold: float) -> Moved:
    """Move a cohort's authority to the side that has it in `to`, TRACK_B or TRACK_A; writes wait for at most `hold` seconds.

    Goes on from wherever an earlier call was cut short. Raises GateError naming what is in the way, or the error of a store or of the
    journal; writes then go on where they went before.
    """
    start, first, second = _WAYS[to]
    row = _row(session, cohort)
    if row.phase is to:
        return Moved(to, 0.0)
    if row.phase not in (start, first, second) or (row.phase is not start and row.came_from is not start):
        raise GateError(
            f"cohort {cohort} of {session.migration} is in {row.phase}, on another way: {to} is not reached from there"
        )
    if row.phase is start:
        _require_ready(session, cohort, hold)
        row = _step(session, row, first, reason, hold)
    began = time.monotonic()
    try:
        if row.phase is first:
            _await_routers(session, row)
            _drain(session, row)
            # What a settler wrote last must be seen by the first read of the new authority.
            time.sleep(_new_authority_delay(session, to))
            row = _step(session, row, second, reason)
        _await_routers(session, row)
        row = _step(session, row, to, reason)
    except (GateError, StoreError, JournalError) as error:
        step_back(session, cohort, start, f"stepped back: {error}")
        raise
    return Moved(row.phase, time.monotonic() - began)


def settle_all(session: Session, cohort: str, until: Callable[[Backlog], None], *, upto: int | None = None) -> None:
    """Settle a cohort until nothing is dirty and nothing open, of writes up to the generation `upto` where it is given.

    `until` is told in between what is left, and raises where there is no more time.
    """

    most = 0

    def left() -> Backlog:
        nonlocal most
        found = session.journal.claims.backlog(session.migration, cohort, upto=upto)
        most = max(most, found.dirty)
        session.report(Progress("settle", cohort, most - found.dirty, most, f"{found.open} writes open"))
        return found

    def some() -> bool:
        try:
            return settle_some(session, cohort) is not None
        except LeaseLost:
            # It took too long, as after a pause: what it held is claimed again once nothing of it can land.
            return True

    def work() -> None:
        while some():
            backlog = left()
            if not backlog.dirty:
                return
            until(backlog)

    with ThreadPoolExecutor(SETTLERS, thread_name_prefix="settle") as pool:
        while True:
            for running in [pool.submit(work) for _ in range(SETTLERS)]:
                running.result()
            backlog = left()
            if not backlog.dirty and not backlog.open:
                return
            until(backlog)
            time.sleep(POLL_SECONDS)


def settle_written(session: Session) -> None:
    """Settle everything that was written until now; what is written meanwhile may stay dirty.

    Raises GateError, saying what is left, once nothing more has become clean for as long as a lost request or router is waited for.
    """
    upto = session.journal.records.watermark()
    for cohort in session.spec.cohorts:
        _settle_written(session, cohort.name, upto)


def _settle_written(session: Session, cohort: str, upto: int) -> None:
    if not _row(session, cohort).loaded:
        raise GateError(f"cohort {cohort} of {session.migration} is not loaded yet: nothing is settled before it is")
    patience, room = Patience(session), _room(session, cohort)

    def await_room() -> None:
        # In a hold writes wait: it is better stepped back from than prolonged.
        if not _row(session, cohort).phase.holds and room.wait(lambda: None, partial(_tell, session, cohort)):
            patience.begin_again()

    def until(left: Backlog) -> None:
        await_room()
        session.journal.members.evict_lapsed(session.migration, session.actor)
        if patience.lost(left.dirty + left.open):
            raise GateError(
                f"settling comes to no end: {left.dirty} records stay dirty, {left.open} writes open; see `vectorferry members`"
            )

    await_room()
    settle_all(session, cohort, until, upto=upto)


def settle_follow(session: Session) -> None:
    """Settle whatever routers write, until the migration is DONE.

    A database that is away, keeps only a part, or is too full is waited for; any other error is raised.
    """
    rooms = {side: Room(session, side) for side in SIDES}
    while True:
        try:
            if {row.phase for row in session.journal.control.all(session.migration)} == {Phase.DONE}:
                return
            session.journal.members.evict_lapsed(session.migration, session.actor)
            done = [_follow(session, cohort.name, rooms) for cohort in session.spec.cohorts]
        except (RetryableError, PartialWrite, JournalUnavailable, LeaseLost) as error:
            session.report(Progress("settle", session.migration, 0, None, f"waits: {error}"))
            time.sleep(AGAIN_SECONDS)
            continue
        if not any(done):
            time.sleep(IDLE_SECONDS)


def _follow(session: Session, cohort: str, rooms: Mapping[Side, Room]) -> bool:
    """Settle some, where there is room; whether there was anything."""
    phase = _row(session, cohort).phase
    if not phase.holds and (why := rooms[_follower(phase)].full()):
        _tell(session, cohort, f"waits for room: {why}")
        return False
    done = settle_some(session, cohort)
    if done is not None:
        session.report(Progress("settle", cohort, done.clean, None, f"{done.moved} written meanwhile"))
    return done is not None


def _room(session: Session, cohort: str) -> Room:
    return Room(session, _follower(_row(session, cohort).phase))


def _follower(phase: Phase) -> Side:
    return "target" if phase.source_rules else "source"


def _tell(session: Session, cohort: str, why: str) -> None:
    session.report(Progress("settle", cohort, 0, None, why))


class Patience:
    """Time for as long as ever less is left to do: a claim or a router that died, and a record that is refused, take theirs."""

    def __init__(self, session: Session) -> None:
        self._seconds = session.lease + 2 * session.deadline + REFUSED_AGAIN_SECONDS
        self._least: int | None = None
        self._since = time.monotonic()

    def begin_again(self) -> None:
        """Forget the time that passed: something else was waited for."""
        self._since = time.monotonic()

    def lost(self, left: int) -> bool:
        """Whether nothing has moved for too long; `left` is how much there is to do now."""
        if self._least is None or left < self._least:
            self._least, self._since = left, time.monotonic()
        return time.monotonic() - self._since > self._seconds


def _row(session: Session, cohort: str) -> ControlRow:
    return session.journal.control.get(session.migration, cohort)


def _step(session: Session, row: ControlRow, to: Phase, reason: str, hold: float | None = None) -> ControlRow:
    return session.journal.control.advance(row, to, actor=session.actor, reason=reason, hold_seconds=hold)


def _require_ready(session: Session, cohort: str, hold: float) -> None:
    delays = session.source.capabilities.visibility_delay + session.target.capabilities.visibility_delay
    if hold <= delays:
        raise GateError(
            f"a hold of {hold:g} s is too short: both sides need {delays:g} s until they show what was written"
        )
    backlog = session.journal.claims.backlog(session.migration, cohort)
    if backlog.oldest_open > hold:
        raise GateError(
            f"a write has been open for {backlog.oldest_open:.0f} s, longer than a hold of {hold:g} s: wait for it"
        )
    most = session.spec.switch.backlog
    if backlog.dirty > most:
        raise GateError(f"{backlog.dirty} records are still to be settled: a hold begins with at most {most}")


def _await_routers(session: Session, row: ControlRow) -> None:
    while waiting := [member for member in _members(session) if not is_in(member, row)]:
        names = ", ".join(f"{member.id} on {member.host}" for member in waiting)
        _require_time(session, row, f"not every router has followed: {names}")
        time.sleep(POLL_SECONDS)


def _members(session: Session) -> tuple[Member, ...]:
    return live_members(session.journal, session.migration, session.actor)


def _drain(session: Session, row: ControlRow) -> None:
    settle_all(session, row.cohort, lambda left: _require_time(session, row, _backlog_text(left)))


def _backlog_text(backlog: Backlog) -> str:
    return f"{backlog.dirty} records are not settled, {backlog.open} writes may still land"


def _require_time(session: Session, row: ControlRow, why: str) -> None:
    now = _row(session, row.cohort)
    if now.epoch != row.epoch:
        raise GateError(
            f"the hold was ended by somebody else: cohort {row.cohort} of {session.migration} is in {now.phase}"
        )
    if now.hold_left is not None and now.hold_left <= 0:
        raise GateError(f"the time of the hold is over: {why}")


def _new_authority_delay(session: Session, to: Phase) -> float:
    return (session.source if to.source_rules else session.target).capabilities.visibility_delay


def step_back(session: Session, cohort: str, start: Phase, reason: str) -> None:
    """End a cohort's hold that was entered from `start` by the way it came; nothing was written in it, so each step can be taken.

    A router may still be on its way from the phase before: it follows, or is evicted. And others may step back, too.
    """
    _, first, second = next(way for way in _WAYS.values() if way[0] is start)
    while (row := _row(session, cohort)).phase in (first, second) and row.came_from is start:
        if row.phase is second:
            # What a check, or a write that was never sent, marked meanwhile would keep the authority here.
            while settle_some(session, cohort) is not None:
                pass
        try:
            _step(session, row, first if row.phase is second else start, reason)
        except NotSettled:
            raise
        except PhaseConflict:
            session.journal.members.evict_lapsed(session.migration, session.actor)
            time.sleep(POLL_SECONDS)
