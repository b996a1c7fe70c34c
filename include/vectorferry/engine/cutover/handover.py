"""Handover: moves the authority from one side to the other through a short hold, or steps back; the same both ways. Rules 1 and 7."""

import time
from dataclasses import dataclass

from vectorferry.core.errors import GateError, NotSettled, PhaseConflict, VectorferryError
from vectorferry.core.model import Phase
from vectorferry.engine.members import live_members
from vectorferry.engine.session import Session
from vectorferry.engine.sync.rejected import refuse_rejected, rejected_text
from vectorferry.engine.sync.settle import settle_batch
from vectorferry.engine.sync.settle_loop import POLL_SECONDS, settle_until_clean
from vectorferry.journal import Backlog, ControlRow, Member

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
    row = session.control(cohort)
    if row.phase is to:
        return Moved(to, 0.0)
    if row.phase not in (start, first, second) or (row.phase is not start and row.came_from is not start):
        raise GateError(
            f"cohort {cohort} of {session.migration} is in {row.phase}, on another way: {to} is not reached from there"
        )
    if row.phase is start:
        _require_ready(session, cohort, hold)
        row = _begin_hold(session, row, first, reason, hold)
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
    except VectorferryError as error:  # whatever it is, a record that cannot be read too: writers wait meanwhile
        step_back(session, cohort, start, f"stepped back: {error}")
        raise
    return Moved(row.phase, time.monotonic() - began)


def _begin_hold(session: Session, row: ControlRow, first: Phase, reason: str, hold: float) -> ControlRow:
    try:
        return _step(session, row, first, reason, hold)
    except PhaseConflict:  # nothing was changed: a hold that stands now is somebody else's
        raise
    except VectorferryError as error:  # it may have begun without an answer
        step_back(session, row.cohort, row.phase, f"stepped back: {error}")
        raise


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
    refuse_rejected(session, cohort)
    most = session.spec.switch.backlog
    if backlog.dirty > most:
        raise GateError(f"{backlog.dirty} records are still to be settled: a hold begins with at most {most}")


def _await_routers(session: Session, row: ControlRow) -> None:
    while waiting := [member for member in _members(session) if not member.follows(row)]:
        names = ", ".join(f"{member.id} on {member.host}" for member in waiting)
        _require_time(session, row, f"not every router has followed: {names}")
        time.sleep(POLL_SECONDS)


def _members(session: Session) -> tuple[Member, ...]:
    return live_members(session.journal, session.migration, session.actor)


def _drain(session: Session, row: ControlRow) -> None:
    def until(left: Backlog) -> None:
        if left.rejected:
            # In a hold nobody writes it anew: to wait would only keep writers waiting.
            refuse_rejected(session, row.cohort)
        _require_time(session, row, _backlog_text(left))

    settle_until_clean(session, row.cohort, until)


def _backlog_text(backlog: Backlog) -> str:
    return f"{backlog.dirty} records are not settled, {backlog.open} writes may still land"


def _require_time(session: Session, row: ControlRow, why: str) -> None:
    now = session.control(row.cohort)
    if now.epoch != row.epoch:
        raise GateError(
            f"the hold was ended by somebody else: cohort {row.cohort} of {session.migration} is in {now.phase}"
        )
    if now.hold_left is not None and now.hold_left <= 0:
        raise GateError(f"the time of the hold is over: {why}")


def _new_authority_delay(session: Session, to: Phase) -> float:
    return (session.source if to.source_is_authority else session.target).capabilities.visibility_delay


def step_back(session: Session, cohort: str, start: Phase, reason: str) -> None:
    """End a cohort's hold that was entered from `start` by the way it came; nothing was written in it, so each step can be taken.

    A router may still be on its way from the phase before: it follows, or is evicted. And others may step back, too.
    """
    _, first, second = next(way for way in _WAYS.values() if way[0] is start)
    while (row := session.control(cohort)).phase in (first, second) and row.came_from is start:
        if row.phase is second:
            # What a check, or a write that was never sent, marked meanwhile would keep the authority here.
            while settle_batch(session, cohort) is not None:
                pass
        try:
            _step(session, row, first if row.phase is second else start, reason)
        except NotSettled as error:
            raise NotSettled("; ".join(filter(None, (str(error), rejected_text(session, cohort))))) from error
        except PhaseConflict:
            session.journal.members.evict_lapsed(session.migration, session.actor)
            time.sleep(POLL_SECONDS)
