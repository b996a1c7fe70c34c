"""Shadow reads: repeat a share of the reads on the follower, off the caller's path, and compare what both answer.

The follower's answers are never given to anybody. A slow or failing follower fills a queue, and then reads are not shadowed.
"""

import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from vectorferry.core.equality import Equality
from vectorferry.core.errors import JournalError, JournalUnavailable, LeaseLost, NotDone, VectorferryError
from vectorferry.core.model import Phase
from vectorferry.journal import Journal, Latencies, ShadowFigures
from vectorferry.router.answer_comparison import AnswerComparison
from vectorferry.router.membership import Membership, Ticket
from vectorferry.router.operation_counts import OperationCounter
from vectorferry.router.telemetry import LOG, shadowed
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import permitted_by

THREADS = 2
WAITING = 100
RECORD_SECONDS = 30.0
# Between the moment at which we note how long ago a read began, and that at which the journal's clock is asked.
_ASKING_SECONDS = 5.0
_IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Read:
    """One read that the authority has answered: `again` repeats it on a store, `began` is when (time.monotonic), `seconds` its time."""

    ticket: Ticket
    comparison: AnswerComparison[Any]
    again: Callable[[VectorStore], Any]
    answer: Any
    began: float
    seconds: float


@dataclass(slots=True)
class _Tally:
    began: float
    figures: ShadowFigures = field(default_factory=ShadowFigures)


_Place = tuple[str, str, Phase, str]
"""Member, cohort, phase and kind of reads."""


class ShadowReader:
    """Shadows the reads of one router. Thread-safe. `share` is the share of reads, 0 for none."""

    def __init__(
        self,
        journal: Journal,
        migration: str,
        membership: Membership,
        sides: tuple[VectorStore, VectorStore],
        share: float,
        traffic: OperationCounter,
    ) -> None:
        self._journal = journal
        self._migration = migration
        self._membership = membership
        self._source, self._target = sides
        self._share = share
        self._traffic = traffic
        self._waiting: queue.Queue[Read] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._tallies: dict[_Place, _Tally] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def wants(self, ticket: Ticket) -> bool:
        """Whether a read is to be shadowed: drawn anew at each call; never in a hold, or before the follower has everything."""
        row = ticket.row
        return row.phase.tracks and row.loaded and random.random() < self._share  # noqa: S311 (a sample)

    def offer(self, read: Read) -> None:
        """Have a read repeated, later. Never waits: where the queue is full it is dropped, and counted."""
        self._start()
        try:
            self._waiting.put_nowait(read)
        except queue.Full:
            self._note(read, ShadowFigures(dropped=1))

    def close(self) -> None:
        """Give up what waits, end what is under way, and tell the journal."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        # Without the journal, what was found since the last time is lost: it is a sample.
        with suppress(JournalError):
            self._record(older_than=0.0)

    # --- In threads of its own

    def _start(self) -> None:
        with self._lock:
            if self._threads or self._stopping.is_set():
                return
            self._threads = [threading.Thread(target=self._work, name="shadow", daemon=True) for _ in range(THREADS)]
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                self._shadow(self._waiting.get(timeout=_IDLE_SECONDS))
            # Kept for the next time where the journal is away.
            with suppress(JournalUnavailable):
                self._record(older_than=RECORD_SECONDS)

    def _shadow(self, read: Read) -> None:
        if not self._is_current(read):
            return
        follower = self._target if read.ticket.phase.source_is_authority else self._source
        began = time.monotonic()
        try:
            with (
                permitted_by(lambda: self._membership.check(read.ticket)),
                self._traffic.timing(read.ticket, read.comparison.kind, read.ticket.phase.follower),
            ):
                found = read.again(follower)
        except LeaseLost:
            return
        except VectorferryError:
            self._note(read, ShadowFigures(failed=1))
            return
        seconds = time.monotonic() - began
        try:
            aside = self._set_aside(read, found)
        except JournalError:
            aside = None
        if aside is None or not self._is_current(read):
            return
        agreed = read.comparison.figures(read.answer, found, aside, self._equality()) or ShadowFigures()
        times = ShadowFigures(
            set_aside=len(aside), authority=Latencies.of(read.seconds), follower=Latencies.of(seconds)
        )
        self._note(read, agreed + times)

    def _is_current(self, read: Read) -> bool:
        """Whether the same side still has the authority, as far as this router knows, and under the same name."""
        try:
            now = self._membership.reading(read.comparison.namespace)
        except NotDone:
            return False
        return (now.name, now.row.cohort, now.row.epoch) == (
            read.ticket.name,
            read.ticket.row.cohort,
            read.ticket.row.epoch,
        )

    def _set_aside(self, read: Read, found: Any) -> frozenset[str] | None:
        """Ids that the sides need not have alike; None where that cannot be told.

        The journal is asked after both reads, about all of the time since the first began: a write is noted there before it is sent, and
        a record that has been clean and unwritten throughout was the same on both sides.
        """
        delay = max(store.capabilities.visibility_delay for store in (self._source, self._target))
        asked = time.monotonic()
        back = asked - read.began + delay + _ASKING_SECONDS
        ids = read.comparison.ids(read.answer, found)
        aside = self._journal.records.unsettled_lately(self._migration, read.comparison.namespace, ids, back)
        return aside if time.monotonic() - asked < _ASKING_SECONDS else None

    def _equality(self) -> Equality:
        return Equality.between(self._source.capabilities, self._target.capabilities)

    def _note(self, read: Read, figures: ShadowFigures) -> None:
        kind = read.comparison.kind
        outcome = (
            "compared"
            if figures.reads
            else "failed"
            if figures.failed
            else "dropped"
            if figures.dropped
            else "set_aside"
        )
        shadowed(self._migration, kind, outcome, figures.overlap if figures.reads else None)
        place = (read.ticket.name, read.ticket.row.cohort, read.ticket.phase, kind)
        with self._lock:
            tally = self._tallies.setdefault(place, _Tally(time.monotonic()))
            tally.figures += figures

    def _record(self, *, older_than: float) -> None:
        now = time.monotonic()
        with self._lock:
            due = [place for place, tally in self._tallies.items() if now - tally.began >= older_than]
            taken = {place: self._tallies.pop(place) for place in due}
        while taken:
            place, tally = taken.popitem()
            member, cohort, phase, kind = place
            try:
                self._journal.shadows.add(
                    self._migration, member, kind, tally.figures, cohort=cohort, phase=phase, seconds=now - tally.began
                )
            except JournalUnavailable:
                self._put_back({place: tally, **taken})
                raise
            except JournalError as error:
                # It will not take the next ones either, and nobody's reads are worth a failure here.
                self._share = 0.0
                LOG.error("no more shadow reads: %s", error, extra={"migration": self._migration, "router": member})

    def _put_back(self, tallies: dict[_Place, _Tally]) -> None:
        with self._lock:
            for place, tally in tallies.items():
                newer = self._tallies.get(place)
                figures = tally.figures + newer.figures if newer else tally.figures
                self._tallies[place] = _Tally(tally.began, figures)
