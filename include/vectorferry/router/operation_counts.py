"""Operation counter of one router: counts operations where they end, and tells the journal every few seconds."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vectorferry.core.errors import JournalError, NotDone, VectorferryError
from vectorferry.core.model import Phase
from vectorferry.journal import Counted, Journal
from vectorferry.router.membership import Ticket

TELL_SECONDS = 5.0

_Place = tuple[str, str, Phase]
"""Member, cohort and phase."""


class OperationCounter:
    """Counts the operations of one router. Thread-safe. What cannot be told is kept, and told later."""

    def __init__(self, journal: Journal, migration: str) -> None:
        self._journal = journal
        self._migration = migration
        self._lock = threading.Lock()
        self._operations: Counter[_Place] = Counter()
        self._failed: Counter[_Place] = Counter()
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
                place = (ticket.name, ticket.row.cohort, ticket.phase)
                self._operations[place] += 1
                self._failed[place] += failed

    def close(self) -> None:
        """Tell what is left; where the journal is away it is lost."""
        self._stopped.set()
        self._thread.join()
        with suppress(JournalError):
            self._tell()

    def _keep(self) -> None:
        while not self._stopped.wait(TELL_SECONDS):
            with suppress(JournalError):
                self._tell()

    def _tell(self) -> None:
        with self._lock:
            operations, failed = self._operations, self._failed
            self._operations, self._failed = Counter(), Counter()
        try:
            for member in {place[0] for place in operations}:
                places = [place for place in operations if place[0] == member]
                counted = [
                    Counted(cohort, phase, operations[m, cohort, phase], failed[m, cohort, phase])
                    for m, cohort, phase in places
                ]
                self._journal.traffic.add(self._migration, member, counted)
                for place in places:
                    del operations[place]
        finally:
            with self._lock:
                self._operations += operations
                self._failed += Counter({place: failed[place] for place in operations})
