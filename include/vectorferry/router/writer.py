"""Writer: carries out one write with intent, authority, answer, and then, off the caller's path, mirror and close. Rules 3, 4 and 10."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from vectorferry.core.errors import (
    JournalError,
    JournalUnavailable,
    LeaseLost,
    NotDone,
    OutcomeUnknown,
    PartialWrite,
    RecordError,
    RetryableError,
    StoreError,
    Unknown,
)
from vectorferry.core.model import Phase
from vectorferry.journal import Intent, Journal, Write
from vectorferry.journal.intents import unrecordable
from vectorferry.router.changes import Change
from vectorferry.router.membership import WRITE_SECONDS, Membership, Ticket
from vectorferry.router.operation_counts import OperationCounter
from vectorferry.router.telemetry import journal_call, mirrored, operation
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import permitted_by

# More would keep their intents open for longer than a settler takes, which copies many records at a time.
MOST_WAITING = 32
MIRRORS = 4
CLOSERS = 2
RECORD_AGAIN_SECONDS = 0.5


class Writer:
    """Carries out the writes of one router. Thread-safe. `deadline` is D in seconds; `known` is a generation that never comes again."""

    def __init__(
        self,
        journal: Journal,
        migration: str,
        membership: Membership,
        source: VectorStore,
        target: VectorStore,
        deadline: float,
        traffic: OperationCounter,
        known: Callable[[], int] = lambda: 0,
    ) -> None:
        self._journal = journal
        self._migration = migration
        self._membership = membership
        self._source = source
        self._target = target
        self._deadline = deadline
        self._traffic = traffic
        self._mirrors = ThreadPoolExecutor(MIRRORS, thread_name_prefix="mirror")
        # What is not mirrored does not wait behind what is.
        self._closers = ThreadPoolExecutor(CLOSERS, thread_name_prefix="close")
        self._waiting = BoundedSemaphore(MOST_WAITING)
        self._newest = 0
        self._known = known

    def write(self, change: Change) -> None:
        """Carry out a change; returns once the authority has acknowledged it.

        Raises NotDone (nothing was written) or Unknown (it may have been, or may still be).
        """
        with (
            operation(self._migration, change.kind) as made,
            self._membership.writing(change.namespace) as ticket,
            self._traffic.counting(ticket),
        ):
            made.waited(ticket.phase)
            if ticket.phase.tracks:
                self._tracked(ticket, change)
            else:
                self._send(ticket, change, self._sides(ticket.phase)[0])

    def close(self) -> None:
        """Wait for the mirrored writes, and for the journal to know of all."""
        self._mirrors.shutdown()
        self._closers.shutdown()

    def _sides(self, phase: Phase) -> tuple[VectorStore, VectorStore]:
        return (self._source, self._target) if phase.source_is_authority else (self._target, self._source)

    def _tracked(self, ticket: Ticket, change: Change) -> None:
        authority, follower = self._sides(ticket.phase)
        write = Write(self._migration, ticket.row.cohort, ticket.name, ticket.phase, change.namespace)
        self._require_accepted(change, authority, follower)
        if why := unrecordable(write, change.ids):
            raise NotDone(f"not written: {why}", retryable=False)
        intents = list(self._open(write, change.ids).values())
        try:
            _refuse_excused(change, intents)
            self._send(ticket, change, authority)
            self._clear_excused(write, intents)
        except NotDone:
            self._later(ticket, lambda: self._journal.intents.close(write, intents))
            raise
        except BaseException:
            self._later(ticket, lambda: self._journal.intents.leave_open(intents, self._deadline))
            raise
        if change.is_full_write and self._waiting.acquire(blocking=False):
            self._mirrors.submit(self._mirror, ticket, write, intents, change, follower)
        else:
            # The follower is slow, or would make something else of it: a settler will do it.
            mirrored(self._migration, "left")
            self._later(ticket, lambda: self._journal.intents.close(write, intents))

    def _require_accepted(self, change: Change, *stores: VectorStore) -> None:
        try:
            change.require_accepted(*stores)
        except (StoreError, RecordError) as error:
            # A store that is asked for the first time looks for its collection.
            raise NotDone(f"not written: {error}", retryable=isinstance(error, RetryableError)) from error

    def _open(self, write: Write, ids: Sequence[str]) -> dict[str, Intent]:
        newest = max(self._newest, self._known())
        try:
            with journal_call(self._migration, "open"):
                opened = self._journal.intents.open(write, ids, seconds=WRITE_SECONDS + self._deadline)
        except JournalError as error:
            # Whether or not the intent was committed: nothing is sent without its answer, and it ends by itself.
            again = isinstance(error, JournalUnavailable)
            raise NotDone(f"the write could not be recorded: {error}", retryable=again) from error
        drawn = [intent.generation for intent in opened.values()]
        if min(drawn) <= newest:
            # What was drawn before this call is lower than what is drawn by it, whatever other threads do.
            self._membership.fence_off(f"generation {min(drawn)} was drawn after {newest}")
            raise NotDone("the journal was restored from an older state, or is another one", retryable=False)
        self._newest = max(newest, *drawn)
        return opened

    def _clear_excused(self, write: Write, intents: Sequence[Intent]) -> None:
        excused = [intent for intent in intents if intent.excused]
        if not excused:
            return
        try:
            self._journal.intents.clear_excused(write, excused)
        except JournalError as error:
            raise Unknown(f"written, but the journal could not be told: {error}", within=self._deadline) from error

    def _send(self, ticket: Ticket, change: Change, store: VectorStore) -> None:
        sent = 0

        def permission() -> None:
            nonlocal sent
            self._membership.check(ticket)
            sent += 1

        try:
            with permitted_by(permission), self._traffic.timing(ticket, "write", ticket.phase.authority):
                change.apply(store)
            self._membership.check(ticket)
        except LeaseLost as error:
            raise self._failed(change, store, error, definite=not sent) from error
        except (StoreError, RecordError) as error:
            # Of several requests, those before the one that failed have taken effect.
            definite = sent <= 1 and not isinstance(error, (OutcomeUnknown, PartialWrite))
            raise self._failed(change, store, error, definite=definite) from error

    def _failed(self, change: Change, store: VectorStore, error: Exception, *, definite: bool) -> NotDone | Unknown:
        what = f"{len(change.ids)} ids of namespace {change.namespace!r} to {store.name}"
        if definite:
            return NotDone(f"not written: {what}: {error}", retryable=isinstance(error, (RetryableError, LeaseLost)))
        return Unknown(f"nobody knows whether it was written: {what}: {error}", within=self._deadline)

    # --- Off the caller's path

    def _later(self, ticket: Ticket, job: Callable[[], None]) -> None:
        self._closers.submit(self._until_recorded, ticket, job)

    def _until_recorded(self, ticket: Ticket, job: Callable[[], None]) -> None:
        """Do it, again and again while the journal is away: an intent that stays open would keep the authority from moving."""
        while True:
            try:
                return job()
            except JournalUnavailable:
                time.sleep(RECORD_AGAIN_SECONDS)
                if not self._membership.has_lease(ticket):
                    # Without its lease, the journal closes this router's intents.
                    return None

    def _mirror(
        self, ticket: Ticket, write: Write, intents: list[Intent], change: Change, follower: VectorStore
    ) -> None:
        outcome: bool | None = None
        try:
            outcome = self._mirrored(ticket, change, follower)
        finally:
            self._waiting.release()
            mirrored(self._migration, {True: "done", False: "failed", None: "unknown"}[outcome])
            self._until_recorded(ticket, lambda: self._close(write, intents, outcome))

    def _mirrored(self, ticket: Ticket, change: Change, follower: VectorStore) -> bool | None:
        """Whether the follower took it for certain; None where it may still land."""
        try:
            with (
                permitted_by(lambda: self._membership.check(ticket)),
                self._traffic.timing(ticket, "write", ticket.phase.follower),
            ):
                change.apply(follower)
        except OutcomeUnknown:
            return None
        except (StoreError, LeaseLost):
            return False
        return True

    def _close(self, write: Write, intents: list[Intent], sure: bool | None) -> None:
        if sure is None:
            # It may land on top of what a settler writes: the intent keeps the settler away for as long.
            self._journal.intents.leave_open(intents, self._deadline)
        else:
            with journal_call(self._migration, "close"):
                self._journal.intents.close(write, intents, mirrored=intents if sure else ())


def _refuse_excused(change: Change, intents: Sequence[Intent]) -> None:
    """What a partial update makes of such a record may not fit the other side, or is made of what that side has in its place."""
    excused = [intent.id for intent in intents if intent.excused]
    if excused and not change.is_full_write:
        raise NotDone(
            f"{excused[0]!r} is excused, one of the two sides rejects it: it can be written whole, or deleted, not updated",
            retryable=False,
        )
