"""State of a reconciliation run: how far it is, kept after each step, and whether it may read on."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

from vectorferry.core.errors import JournalUnavailable, LeaseLost
from vectorferry.core.model import SIDES, Side, Usage
from vectorferry.engine.session import Session
from vectorferry.journal import Reconciliation
from vectorferry.staging import Staging

# Kept once or twice, and large where there are many namespaces: not to be written with each step.
SETTING = frozenset({"namespaces", "tokens", "skipped", "vouched"})


def folder_of(session: Session, reconciliation: int) -> Staging:
    """Where the files of a reconciliation lie."""
    return session.staging.at(f"reconcile/{reconciliation:06}")


class ReconciliationRun:
    """The state of one reconciliation; safe to use from the threads that read both sides."""

    def __init__(self, session: Session, run: Reconciliation) -> None:
        self.session, self.run = session, run
        self.folder: Staging = folder_of(session, run.id)
        self._state = dict(run.state)
        self._setting_kept = False
        self._lock = threading.Lock()
        self._began, self._used = time.monotonic(), session.usage
        self._failed: BaseException | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """What was kept under a name."""
        return self._state.get(name, default)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Tell the journal that this worker lives, until it ends: one that was killed is told of once its lease is over."""
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(ended,), name="reconcile lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            # One that failed is at an end now. Where the journal cannot be told, its lease ends by itself.
            with suppress(JournalUnavailable, LeaseLost):
                self.session.journal.reconciliations.renew(self.run, 0.0)

    def _renew(self, ended: threading.Event) -> None:
        lease = self.session.lease
        # A third of the lease: two renewals may fail before it is over.
        while not ended.wait(lease / 3):
            try:
                self.session.journal.reconciliations.renew(self.run, lease)
            except JournalUnavailable:
                continue
            except LeaseLost:
                return  # its next step hears of it, too

    def keep(self, **values: Any) -> None:
        """Keep values. Raises LeaseLost where another process has taken over."""
        with self._lock:
            self._state |= values
            steps = {name: value for name, value in self._state.items() if name not in SETTING}
            whole = {name: self._state[name] for name in SETTING & self._state.keys()}
            changed = not self._setting_kept or SETTING & values.keys()
            self.session.journal.reconciliations.keep(self.run, steps, whole if changed else None)
            self._setting_kept = True

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
        return self.session.usage - self._used

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
