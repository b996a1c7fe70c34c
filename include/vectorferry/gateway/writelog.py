"""The order of an index's writes: their log positions (LSN), and when reads may see them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vectorferry.core.errors import RetryableError, VectorferryError

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Entry:
    lsn: int
    due: float
    apply: Callable[[], None]


class SharedLock:
    """Many may hold it shared, or one alone; whoever waits to be alone goes before new sharers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharers = 0
        self._alone = False
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it together with other sharers."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._sharers += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharers -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold it with nobody else."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._alone and not self._sharers)
            self._waiting -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


class WriteLog:
    """Applies writes at once, or, while there is a lag, later and in order by a thread of its own.

    `refusals` are the errors of a write that is refused for what it is: a late one has been acknowledged, and is left out.
    An acknowledged write that has not been applied is lost if the process is killed, as long as a lag is injected.
    """

    def __init__(self, *refusals: type[Exception]) -> None:
        self._refusals = refusals
        # Positions only grow, also over restarts: no index takes a thousand writes a second for ever.
        self._last = int(time.time() * 1000)
        self._running: set[int] = set()
        self._late: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._broken: VectorferryError | None = None

    @property
    def position(self) -> int:
        """Position of the last write taken."""
        return self._last

    @property
    def indexed(self) -> int:
        """Position up to which reads see every write."""
        with self._changed:
            open_positions = [*self._running, *(entry.lsn for entry in self._late)]
            return min(open_positions) - 1 if open_positions else self._last

    def submit(self, apply: Callable[[], None], lag: float) -> int:
        """Apply a write now, or `lag` seconds later and after all before it; returns its position."""
        with self._changed:
            self._refuse_broken()
            self._last += 1
            lsn = self._last
            # A write behind late ones must wait for them, or it would be overwritten by what came before it.
            if lag or self._late:
                self._postpone(_Entry(lsn, time.monotonic() + lag, apply))
                return lsn
            self._running.add(lsn)
        try:
            apply()
        finally:
            with self._changed:
                self._running.discard(lsn)
        return lsn

    def close(self) -> None:
        """Apply what is late at once, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread:
            thread.join()

    def _refuse_broken(self) -> None:
        if self._broken:
            raise VectorferryError(f"A write that was acknowledged under an injected lag failed: {self._broken}")

    def _postpone(self, entry: _Entry) -> None:
        self._late.append(entry)
        self._changed.notify_all()
        if not self._thread:
            self._thread = threading.Thread(target=self._apply_late, name="late-writes", daemon=True)
            self._thread.start()

    def _apply_late(self) -> None:
        while entry := self._next():
            try:
                entry.apply()
            except RetryableError as error:
                log.warning("a late write failed and is tried again: %s", error)
                if not self._rest():
                    return
                continue
            except self._refusals as refusal:
                log.warning("a late write was acknowledged and is refused now: %s", refusal)
            except VectorferryError as error:
                self._broken = error
            with self._changed:
                self._late.popleft()

    def _rest(self) -> bool:
        """Wait before another attempt; False when the log is closing meanwhile."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closing, _RETRY_SECONDS)

    def _next(self) -> _Entry | None:
        """The oldest late write once it is due; None when there is none and the log is closing."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._late or self._closing)
                if not self._late:
                    return None
                wait = self._late[0].due - time.monotonic()
                if wait <= 0 or self._closing:
                    return self._late[0]
                self._changed.wait(wait)
