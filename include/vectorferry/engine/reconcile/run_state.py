"""State of a reconciliation run: how far it is, kept after each step, and whether it may read on."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from vectorferry.core.model import SIDES, Side, Usage
from vectorferry.engine.session import Session
from vectorferry.journal import Reconciliation
from vectorferry.staging import Staging


def folder_of(session: Session, reconciliation: int) -> Staging:
    """Where the files of a reconciliation lie."""
    return session.staging.at(f"reconcile/{reconciliation:06}")


class ReconciliationRun:
    """The state of one reconciliation; safe to use from the threads that read both sides."""

    def __init__(self, session: Session, run: Reconciliation) -> None:
        self.session, self.run = session, run
        self.folder: Staging = folder_of(session, run.id)
        self._state = dict(run.state)
        self._lock = threading.Lock()
        self._began, self._used = time.monotonic(), session.usage
        self._failed: BaseException | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """What was kept under a name."""
        return self._state.get(name, default)

    def keep(self, **values: Any) -> None:
        """Keep values. Raises LeaseLost where another process has taken over."""
        with self._lock:
            self._state |= values
            self.session.journal.reconciliations.keep(self.run, self._state)

    def check(self) -> None:
        """Raise what the other side's reader has failed with."""
        if self._failed is not None:
            raise self._failed

    def both(self, read: Callable[[Side], bool]) -> bool:
        """Read both sides at a time, by their names; whether both came to their end. A failure of one ends the other."""
        with ThreadPoolExecutor(len(SIDES), thread_name_prefix="reconcile") as pool:
            running = [pool.submit(self._noting, read, side) for side in SIDES]
            try:
                wait(running)
            except BaseException as error:
                self._failed = error
                raise
        if self._failed is not None:
            raise self._failed
        return all(each.result() for each in running)

    def _noting(self, read: Callable[[Side], bool], side: Side) -> bool:
        try:
            return read(side)
        except BaseException as error:
            self._failed = self._failed or error
            raise

    def forget_read(self) -> None:
        """Remove what was read of both sides, once it is compared: keys of production records need not lie about."""
        for name in (*SIDES, "suspects"):
            self.folder.remove(name)

    @property
    def usage(self) -> Usage:
        """What this process has used for it: requests, read units."""
        now = self.session.usage
        return Usage(requests=now.requests - self._used.requests, read_units=now.read_units - self._used.read_units)

    @property
    def seconds(self) -> float:
        """For how long this process has been reading."""
        return time.monotonic() - self._began

    def exhausted(self) -> str:
        """Which ceiling of the spec is reached; empty while it may read on."""
        ceiling, used = self.session.spec.reconcile.ceiling, self.usage
        if ceiling.requests is not None and used.requests >= ceiling.requests:
            return f"{used.requests} requests of {ceiling.requests}"
        if ceiling.read_units is not None and used.read_units >= ceiling.read_units:
            return f"{used.read_units:.0f} read units of {ceiling.read_units:.0f}"
        if ceiling.time is not None and self.seconds >= ceiling.time.total_seconds():
            return f"{self.seconds:.0f} s of {ceiling.time.total_seconds():.0f} s"
        return ""
