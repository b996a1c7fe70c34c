"""Capacity gate: writers wait while a database is too full, or read-only, and go on once it is not."""

import threading
import time
from collections.abc import Callable

from vectorferry.core.capacity import Seen
from vectorferry.core.errors import NoRoom, RoomAwaited
from vectorferry.core.model import Side
from vectorferry.engine.capacity import measure
from vectorferry.engine.session import Session

_SLICE = 1.0


class CapacityGate:
    """Whether a side takes more, measured at most every `capacity.every`. Thread-safe: while one thread waits, all do.

    `waited`: for how many seconds its caller has come back in place of waiting here; None: it waits here.
    """

    def __init__(self, session: Session, side: Side, waited: float | None = None) -> None:
        self._waited = waited
        self._session = session
        self._side = side
        self._rules = session.spec.capacity
        self._lock = threading.Lock()
        self._next = 0.0
        self._full_at = float("-inf")
        self._why = ""
        self._lost: NoRoom | None = None

    def blocked_by(self) -> str:
        """Why it takes no more, empty where it does. Raises its StoreError."""
        with self._lock:
            return self._full()

    def leave_if_full(self) -> None:
        """Raise RoomAwaited, or NoRoom, where it takes no more and the caller comes back; never waits."""
        with self._lock:
            if self._waited is not None:
                self._leave_if_full(self._waited)

    def _leave_if_full(self, waited: float) -> None:
        why = self._full()
        if why and waited >= self._rules.wait.total_seconds():
            raise NoRoom(f"{why}. {self._way_out()}")
        if why:
            raise RoomAwaited(f"waits for room: {why}")
        self._waited = 0.0

    def blocked_since(self, since: float) -> bool:
        """Whether it took no more at some time after `since` (time.monotonic), or does not now, measured anew."""
        with self._lock:
            self._next = 0.0
            self._full()
            return self._full_at >= since

    def wait(self, check: Callable[[], None], tell: Callable[[str], None]) -> bool:
        """Return once it takes more; whether that had to be waited for. `check` is called in between, and may raise.

        Raises NoRoom after `capacity.wait`, to every thread that waits; RoomAwaited at once where the caller comes back.
        """
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._waited is not None:
                self._leave_if_full(self._waited)
                return False
            until = time.monotonic() + self._rules.wait.total_seconds()
            waited = False
            while why := self._full():
                if time.monotonic() >= until:
                    self._lost = NoRoom(f"{why}. {self._way_out()}")
                    raise self._lost
                waited = True
                tell(f"waits for room: {why}")
                self._rest(check, until)
            return waited

    def _full(self) -> str:
        if time.monotonic() >= self._next:
            seen: Seen = measure(self._session, self._side)
            self._why = seen.full(self._rules.pause)
            self._full_at = time.monotonic() if self._why else self._full_at
            self._next = time.monotonic() + self._rules.every.total_seconds()
        return self._why

    def _rest(self, check: Callable[[], None], until: float) -> None:
        while (left := min(self._next, until) - time.monotonic()) > 0:
            check()
            time.sleep(min(left, _SLICE))

    def _way_out(self) -> str:
        waited = self._rules.wait.total_seconds() / 60
        return (
            f"Nothing more was written, after {waited:.0f} min of waiting: make room or raise the limit under capacity.{self._side}, "
            "then clear the failed task, or run the command again: it goes on where it stopped"
        )
