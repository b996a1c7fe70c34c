"""Rate budget of a connection: requests a second, shared by every process that uses the same journal."""

import threading
import time
from collections import deque

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.journal.database import Database
from vectorferry.journal.journal import Journal
from vectorferry.journal.tables import ahead, budget, clock, seconds_until

BURST = 1.0
MAX_BLOCK = 10


class JournalPacer:
    """Hands out the right to send requests at `per_second` over all processes. Thread-safe.

    The generic cell rate algorithm (ITU-T I.371): the row holds the theoretical arrival time of the next request; one may be
    sent up to `BURST` seconds before its time. Slots are reserved in blocks of a tenth of a second, so that fast callers do not ask the
    journal for every request; what is left of a block a second after its time is forfeited, so that it cannot pile up.
    """

    def __init__(self, journal: Journal, connection: str, per_second: float) -> None:
        if per_second <= 0:
            raise ValueError(f"a budget of {per_second} requests/s lets nothing through")
        self._database: Database = journal.database
        self._connection = connection
        self._rate = per_second
        self._block = max(1, min(MAX_BLOCK, int(per_second / 10)))
        self._lock = threading.Lock()
        self._slots: deque[float] = deque()  # earliest send times, on time.monotonic

    def reserve(self, requests: int) -> float:
        """Reserve some requests; returns the seconds to wait before sending them. Raises JournalUnavailable."""
        with self._lock:
            self._forfeit()
            while len(self._slots) < requests:
                self._slots.extend(self._take(max(self._block, requests - len(self._slots))))
            last = 0.0
            for _ in range(requests):
                last = self._slots.popleft()
        return max(0.0, last - time.monotonic())

    def _forfeit(self) -> None:
        stale = time.monotonic() - BURST - 1.0
        while self._slots and self._slots[0] < stale:
            self._slots.popleft()

    def _take(self, count: int) -> list[float]:
        seconds = count / self._rate
        new = insert(budget).values(connection=self._connection, next_free=ahead(seconds))
        later = sa.func.greatest(budget.c.next_free, clock()) + (ahead(seconds) - clock())
        query = new.on_conflict_do_update(index_elements=["connection"], set_={"next_free": later})
        with self._database.statement() as connection:
            end = connection.execute(query.returning(seconds_until(budget.c.next_free))).scalar_one()
        first = time.monotonic() + end - seconds - BURST
        return [first + number / self._rate for number in range(count)]
