"""Holding a partition while working on it: an attempt whose lease is renewed in the background."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vectorferry.engine.session import Session
from vectorferry.errors import JournalError, LeaseLost
from vectorferry.journal import Attempt, Plan
from vectorferry.model import Partition


class Work:
    """One attempt at one step of one partition; `check` before each send, `note` after each acknowledged batch."""

    def __init__(self, session: Session, attempt: Attempt) -> None:
        self._session = session
        self._attempt = attempt
        self._ended = threading.Event()
        self._lost: JournalError | None = None
        self._thread = threading.Thread(target=self._renew, name=f"lease {attempt.id}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseLost once this worker may no longer send."""
        if self._lost is not None:
            raise LeaseLost(f"{self._attempt.partition} {self._attempt.step}: {self._lost}") from self._lost

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
            try:
                self._session.journal.attempts.renew(self._attempt, self._session.lease)
            except JournalError as error:
                self._lost = error
                return


@contextmanager
def working(session: Session, plan: Plan, partition: Partition, step: str) -> Iterator[Work]:
    """Work on a partition: an earlier attempt that still lives is superseded and can record nothing from now on."""
    attempt = session.journal.attempts.begin(plan.id, partition.name, step, session.owner, session.lease)
    work = Work(session, attempt)
    try:
        yield work
    finally:
        work.stop()
