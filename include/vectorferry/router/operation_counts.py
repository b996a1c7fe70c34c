"""Operation counter of one router: counts and times operations where they end, and tells the journal every few seconds."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from vectorferry.core.errors import JournalError, NotDone, VectorferryError
from vectorferry.core.model import Phase, Side
from vectorferry.journal import Counted, Journal, Latencies
from vectorferry.journal.shadow_reads import step_of
from vectorferry.router.membership import Ticket

TELL_SECONDS = 5.0

_Place = tuple[str, str, Phase]
"""Member, cohort and phase."""


@dataclass(slots=True)
class _Tally:
    """What was counted in one place; times by kind, side and the step of the scale that `Latencies` has."""

    operations: int = 0
    failed: int = 0
    times: Counter[tuple[str, Side, int]] = field(default_factory=Counter)

    def add(self, other: "_Tally") -> None:
        """Count the other's too."""
        self.operations += other.operations
        self.failed += other.failed
        self.times += other.times

    def counted(self, cohort: str, phase: Phase) -> Counted:
        """As the journal keeps it."""
        places = {(kind, side) for kind, side, _ in self.times}
        times = {
            place: Latencies({n: count for (*at, n), count in self.times.items() if (*at,) == place})
            for place in places
        }
        return Counted(cohort, phase, self.operations, self.failed, times)


class OperationCounter:
    """Counts the operations of one router. Thread-safe. What cannot be told is kept, and told later."""

    def __init__(self, journal: Journal, migration: str) -> None:
        self._journal = journal
        self._migration = migration
        self._lock = threading.Lock()
        self._tallies: dict[_Place, _Tally] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="router traffic", daemon=True)

    def start(self) -> None:
        """Tell from now on."""
        self._thread.start()

    @contextmanager
    def counting(self, ticket: Ticket) -> Iterator[None]:
        """Count one operation, which failed if it ends in an error that is not of the caller's making."""
        failed = False
        try:
            yield
        except VectorferryError as error:
            failed = not (isinstance(error, NotDone) and not error.retryable)
            raise
        finally:
            with self._lock:
                tally = self._tally(ticket)
                tally.operations += 1
                tally.failed += failed

    @contextmanager
    def timing(self, ticket: Ticket, kind: str, side: Side) -> Iterator[None]:
        """Time what one side is asked for one operation; what ends in an error was not answered, and is not timed."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        with self._lock:
            self._tally(ticket).times[kind, side, step_of(seconds)] += 1

    def close(self) -> None:
        """Tell what is left; where the journal is away it is lost."""
        self._stopped.set()
        self._thread.join()
        with suppress(JournalError):
            self._tell()

    def _tally(self, ticket: Ticket) -> _Tally:
        return self._tallies.setdefault((ticket.name, ticket.row.cohort, ticket.phase), _Tally())

    def _keep(self) -> None:
        while not self._stopped.wait(TELL_SECONDS):
            with suppress(JournalError):
                self._tell()

    def _tell(self) -> None:
        with self._lock:
            taken, self._tallies = self._tallies, {}
        try:
            for member in {place[0] for place in taken}:
                places = [place for place in taken if place[0] == member]
                counted = [taken[place].counted(*place[1:]) for place in places]
                self._journal.traffic.add(self._migration, member, counted)
                for place in places:
                    del taken[place]
        finally:
            with self._lock:
                for place, tally in taken.items():
                    self._tallies.setdefault(place, _Tally()).add(tally)
