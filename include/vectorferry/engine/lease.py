"""Lease on a partition: an attempt holds it while it works, and renews it in the background."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vectorferry.core.errors import JournalError, JournalUnavailable, LeaseLost
from vectorferry.core.model import Partition
from vectorferry.engine.session import Session, StepProgress
from vectorferry.journal import Attempt, Plan


class HeldPartition:
    """One attempt at one step of one partition; `check` before each send, `note` after each acknowledged batch.

    `held_until` is on this process's monotonic clock, counted from before a renewal was sent: the journal counts from when it
    arrived, so this worker falls silent first, also when a renewal hangs or the process was paused.
    """

    def __init__(self, session: Session, attempt: Attempt, held_until: float) -> None:
        self._session = session
        self._attempt = attempt
        self._held_until = held_until
        self._ended = threading.Event()
        self._lost: LeaseLost | None = None
        self._thread = threading.Thread(target=self._renew, name=f"lease {attempt.id}", daemon=True)
        self._thread.start()

    @property
    def number(self) -> int:
        """Which attempt this is, from 1: no other one at this step of this partition has the same."""
        return self._attempt.number

    @property
    def resumes(self) -> bool:
        """Whether an earlier attempt may have sent something that it did not note."""
        return self._attempt.number > 1

    def check(self) -> None:
        """Raise LeaseLost once this worker may no longer send."""
        if self._lost is None and time.monotonic() < self._held_until:
            return
        why = self._lost or "the lease ran out before it could be renewed"
        raise LeaseLost(f"{self._attempt.partition} {self._attempt.step}: {why}") from self._lost

    def note(self, batch: int, rows: int, excused: int = 0, detail: Mapping[str, Any] | None = None) -> None:
        """Record a batch as done; raises LeaseLost where another worker took over."""
        self._session.journal.attempts.progress(self._attempt, batch, rows, excused, detail)

    def finish(self, unanswered_seconds_ago: float | None, settle_after: float) -> None:
        """End the attempt cleanly: from then on only a request that was never answered can still land."""
        self.stop()
        self._session.journal.attempts.finish(
            self._attempt, unanswered_seconds_ago=unanswered_seconds_ago, settle_after=settle_after, detail=None
        )

    def stop(self) -> None:
        """Stop renewing; the lease then runs out by itself."""
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        # A third of the lease: two renewals may fail before the lease does.
        while not self._ended.wait(self._session.lease / 3):
            asked = time.monotonic()
            try:
                self._session.journal.attempts.renew(self._attempt, self._session.lease)
            except JournalUnavailable:
                continue
            except JournalError as error:
                self._lost = error if isinstance(error, LeaseLost) else LeaseLost(str(error))
                return
            self._held_until = asked + self._session.lease


@contextmanager
def hold_partition(session: Session, plan: Plan, partition: Partition, step: str) -> Iterator[HeldPartition]:
    """Work on a partition: an earlier attempt that still lives is superseded and can record nothing from now on."""
    asked = time.monotonic()
    attempt = session.journal.attempts.begin(plan.id, partition.name, step, session.owner, session.lease)
    work = HeldPartition(session, attempt, asked + session.lease)
    try:
        yield work
    finally:
        work.stop()


def wait_landed(session: Session, scope: str, left: Callable[[], float]) -> None:
    """Wait until no request of any attempt can land any more; `left` tells by the journal's clock how many seconds that is from now."""
    while (seconds := left()) > 0:
        session.report(StepProgress("wait", scope, 0, None, f"{seconds:.0f} s until no earlier request can land"))
        time.sleep(min(seconds, 5.0))
