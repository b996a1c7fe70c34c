"""Settle loops: settle until nothing is dirty, up to now, or continuously."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from vectorferry.core.errors import GateError, JournalUnavailable, LeaseLost, PartialWrite, RetryableError
from vectorferry.core.model import SIDES, Phase, Side
from vectorferry.engine.backpressure import CapacityGate
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.backlog import BacklogSampler
from vectorferry.engine.sync.rejected import refuse_rejected, rejected_text
from vectorferry.engine.sync.settle import REJECTED_AGAIN_SECONDS, settle_batch
from vectorferry.journal import Backlog, Journal

# What changes here is in other processes: routers that acknowledge, requests that end.
POLL_SECONDS = 0.02
IDLE_SECONDS = 0.5
# A turn goes on through shorter pauses of the applications: each turn is a run in Airflow.
QUIET_SECONDS = 10.0
AGAIN_SECONDS = 5.0
SETTLERS = 2


def settle_until_clean(
    session: Session, cohort: str, until: Callable[[Backlog], None], *, upto: int | None = None
) -> None:
    """Settle a cohort until nothing is dirty and nothing open, of writes up to the generation `upto` where it is given.

    `until` is told in between what is left, and raises where there is no more time.
    """

    most = 0

    def left() -> Backlog:
        nonlocal most
        found = session.journal.claims.backlog(session.migration, cohort, upto=upto)
        most = max(most, found.dirty)
        session.report(StepProgress("settle", cohort, most - found.dirty, most, f"{found.open} writes open"))
        return found

    def some() -> bool:
        try:
            return settle_batch(session, cohort) is not None
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


def settle_up_to_now(session: Session) -> None:
    """Settle everything that was written until now; what is written meanwhile may stay dirty.

    Raises GateError, saying what is left, once nothing more has become clean for as long as a lost request or router is waited for; at
    once where all that is left is rejected by the follower.
    """
    upto = session.journal.records.watermark()
    for cohort in session.spec.cohorts:
        _settle_cohort(session, cohort.name, upto)


def _settle_cohort(session: Session, cohort: str, upto: int) -> None:
    if not session.control(cohort).loaded:
        raise GateError(f"cohort {cohort} of {session.migration} is not loaded yet: nothing is settled before it is")
    patience, room = Patience(session), _room(session, cohort)

    def await_room() -> None:
        # In a hold writes wait: it is better stepped back from than prolonged.
        if not session.control(cohort).phase.blocks_writes and room.wait(lambda: None, partial(_tell, session, cohort)):
            patience.begin_again()

    def until(left: Backlog) -> None:
        if left.rejected == left.dirty and not left.open:
            refuse_rejected(session, cohort)
        await_room()
        session.journal.members.evict_lapsed(session.migration, session.actor)
        if patience.lost(left.dirty + left.open):
            rejected = rejected_text(session, cohort)
            raise GateError(
                f"settling comes to no end: {left.dirty} records stay dirty, {left.open} writes open; "
                + (rejected or "see `vectorferry members`")
            )

    await_room()
    settle_until_clean(session, cohort, until, upto=upto)


def to_settle(journal: Journal, migration: str) -> int | None:
    """How many records and open writes wait for a settler; None once the migration is DONE.

    Not what the follower rejected: that waits for a person, and is tried again in the course of every turn.
    """
    rows = journal.control.all(migration)
    if rows and all(row.phase is Phase.DONE for row in rows):
        return None
    settled = [row.cohort for row in rows if row.loaded and row.phase is not Phase.DONE]
    found = [journal.claims.backlog(migration, cohort) for cohort in settled]
    return sum(each.dirty - each.rejected + each.open for each in found)


def settle_continuously(session: Session, turn: float | None = None) -> None:
    """Settle whatever routers write, until the migration is DONE.

    Or for a `turn` of so many seconds, which also ends once nothing was written for a while. A database that is away, keeps only a part, or
    is too full is waited for; any other error is raised.
    """
    rooms = {side: CapacityGate(session, side) for side in SIDES}
    sampler = BacklogSampler(session.journal, session.migration)
    began = busy = time.monotonic()
    while turn is None or time.monotonic() < began + turn:
        try:
            left = to_settle(session.journal, session.migration)
            if left is None:
                return
            sampler.look()
            busy = time.monotonic() if left else busy
            if turn is not None and time.monotonic() > busy + QUIET_SECONDS:
                return
            session.journal.members.evict_lapsed(session.migration, session.actor)
            done = [_follow(session, cohort.name, rooms) for cohort in session.spec.cohorts]
        except (RetryableError, PartialWrite, JournalUnavailable, LeaseLost) as error:
            session.report(StepProgress("settle", session.migration, 0, None, f"waits: {error}"))
            time.sleep(AGAIN_SECONDS)
            continue
        if not any(done):
            time.sleep(IDLE_SECONDS)


def _follow(session: Session, cohort: str, rooms: Mapping[Side, CapacityGate]) -> bool:
    """Settle some, where there is room; whether there was anything."""
    phase = session.control(cohort).phase
    if not phase.blocks_writes and (why := rooms[phase.follower].blocked_by()):
        _tell(session, cohort, f"waits for room: {why}")
        return False
    done = settle_batch(session, cohort)
    if done is not None:
        told = [f"{done.moved} written meanwhile", rejected_text(session, cohort)]
        session.report(StepProgress("settle", cohort, done.clean, None, "; ".join(filter(None, told))))
    return done is not None


def _room(session: Session, cohort: str) -> CapacityGate:
    return CapacityGate(session, session.control(cohort).phase.follower)


def _tell(session: Session, cohort: str, why: str) -> None:
    session.report(StepProgress("settle", cohort, 0, None, why))


class Patience:
    """Time for as long as ever less is left to do: a claim or a router that died, and a record that is rejected, take theirs."""

    def __init__(self, session: Session) -> None:
        self._seconds = session.lease + 2 * session.deadline + REJECTED_AGAIN_SECONDS
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
