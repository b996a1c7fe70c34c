"""Membership of a router: its lease, the phase in which each cohort's operations begin, and what is still under way in the last one.

The journal knows of every phase in which this router may have an operation before one begins there: a phase is acknowledged, with the
old one as draining, before new operations begin in it; the old one is given up once nothing is under way there.
"""

import math
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vectorferry import __version__
from vectorferry.core.errors import JournalError, JournalUnavailable, LeaseLost, NotDone
from vectorferry.core.model import Phase, cohort_of
from vectorferry.journal import ControlRow, Journal
from vectorferry.router.telemetry import fenced_off, followed, leased

POLL_SECONDS = 0.5
# From its intent on a tracked write has this long to send all that it sends, to the follower too; its intent ends by itself D later.
WRITE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to carry out one operation, which the member `name` began in `row`'s phase; it sends nothing after `until`."""

    name: str
    row: ControlRow
    until: float = math.inf

    @property
    def phase(self) -> Phase:
        """The phase that the operation belongs to from beginning to end."""
        return self.row.phase


def new_name() -> str:
    """A name for a router of this process that no other ever has."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class Membership:
    """One process's place in a migration. Thread-safe. `lease` and `deadline` (D) are in seconds.

    It joins under `name`; who never heard the answer tries again with that name, lest a member is left behind that nobody is.
    """

    def __init__(self, journal: Journal, migration: str, name: str, *, lease: float, deadline: float) -> None:
        self._journal = journal
        self._migration = migration
        self._lease = lease
        self._deadline = deadline
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._closing = False
        self._fenced_off = ""
        self._rows: dict[str, ControlRow] = {}
        self._moving: set[str] = set()
        self._unsure: set[str] = set()
        self._draining: dict[str, Phase | None] = {}
        self._under_way: Counter[tuple[str, str, Phase]] = Counter()
        self._landing: list[tuple[float, tuple[str, str, Phase]]] = []
        self._name = ""
        self._former: set[str] = set()
        self._next_name = name
        self._until = 0.0
        self._join()
        self._threads = [
            threading.Thread(target=self._keep, name="router lease", daemon=True),
            threading.Thread(target=self._listen, name="router news", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def name(self) -> str:
        """What the journal calls this router; a new name after a lease that lapsed."""
        return self._name

    @property
    def live(self) -> bool:
        """Whether operations may begin: the lease holds, and the journal is the one that it was."""
        return not self._fenced_off and not self._closing and time.monotonic() < self._until

    def reading(self, namespace: str) -> Ticket:
        """The right to one read of a namespace; ask `check` again before its answer is given away. Raises NotDone without a lease.

        Waits while the journal's answer to an acknowledgement of another authority is on its way.
        """
        with self._changed:
            while (row := self._live_row(namespace)).cohort in self._unsure:
                self._await_change(self._until - time.monotonic())
            return Ticket(self._name, row)

    def reading_all(self) -> tuple[Ticket, ...]:
        """The right to one read of every cohort, in their order, as `reading` gives it."""
        with self._changed:
            while self._unsure:
                self._await_change(self._until - time.monotonic())
            self._require_lease()
            return tuple(Ticket(self._name, row) for row in self._rows.values())

    @contextmanager
    def writing(self, namespace: str) -> Iterator[Ticket]:
        """The right to one write to a namespace. Waits during a hold, until its time is over.

        Raises NotDone, to be tried again, if the hold takes longer or the lease has lapsed.
        """
        ticket = self._enter(namespace)
        key = (ticket.name, ticket.row.cohort, ticket.phase)
        landed = 0.0
        try:
            yield ticket
        except NotDone:
            raise
        except BaseException:
            # Untracked, nothing but this router knows that it may still land.
            landed = time.monotonic() + self._deadline if ticket.phase is Phase.OFF else 0.0
            raise
        finally:
            self._exit(key, landed)

    def has_lease(self, ticket: Ticket) -> bool:
        """Whether this router may still send and answer for the operation."""
        with self._changed:
            return (
                not self._fenced_off and ticket.name == self._name and time.monotonic() < min(self._until, ticket.until)
            )

    def check(self, ticket: Ticket) -> None:
        """Raise LeaseLost where this router may no longer send or answer for the operation."""
        if not self.has_lease(ticket):
            raise LeaseLost(f"router {ticket.name} has lost its lease, or took too long: it may not go on")

    def fence_off(self, what: str) -> None:
        """Begin, send and answer nothing more: the journal is not the one that this router has written to, or an older state of it.

        It may have forgotten what the follower lacks, and which side has the authority. Only a person can know.
        """
        fenced_off(self._migration, self._name)
        with self._changed:
            self._fenced_off = (
                f"{what}: the journal of {self._migration} was restored from an older state, or is another one. Nothing is read or "
                "written before an operator has looked (docs/protocol.md), and this router was made anew"
            )
            self._changed.notify_all()

    def drain(self) -> None:
        """Begin nothing more, and wait until nothing is under way, at most D."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._under_way, timeout=self._deadline + 2 * POLL_SECONDS)

    def close(self) -> None:
        """Let go of the lease; where something is still under way it runs out by itself."""
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        if not self._under_way:
            self._journal.members.leave(self._name)
            self._leave_former()

    # --- Operations

    def _enter(self, namespace: str) -> Ticket:
        with self._changed:
            while True:
                if self._closing:
                    raise NotDone("the router is closed", retryable=False)
                row = self._live_row(namespace)
                if row.cohort not in self._moving and not row.phase.blocks_writes:
                    break
                # The hold's time is the journal's: somebody steps back when it is over, this router too.
                left = self._until - time.monotonic() if row.hold_left is None else row.hold_left + POLL_SECONDS
                self._await_change(left)
            self._under_way[(self._name, row.cohort, row.phase)] += 1
            return Ticket(self._name, row, time.monotonic() + WRITE_SECONDS if row.phase.tracks else math.inf)

    def _live_row(self, namespace: str) -> ControlRow:
        self._require_lease()
        return cohort_of(self._rows.values(), namespace)

    def _require_lease(self) -> None:
        if self._fenced_off:
            raise NotDone(self._fenced_off, retryable=False)
        if time.monotonic() >= self._until:
            raise NotDone(f"router {self._name} has lost its lease: the journal cannot be reached", retryable=True)

    def _await_change(self, seconds: float) -> None:
        if not self._changed.wait(timeout=max(seconds, 0.0)):
            self._wake.set()
            raise NotDone(f"{self._migration} is between its two stores: nothing was done", retryable=True)

    def _exit(self, key: tuple[str, str, Phase], landed: float) -> None:
        with self._changed:
            if landed:
                self._landing.append((landed, key))
            else:
                self._forget_operation(key)
            _, cohort, phase = key
            # Somebody waits for the end of operations in an earlier phase; otherwise there is no news for the journal, nor from it.
            row = self._rows.get(cohort)
            if row is None or cohort in self._moving or phase is not row.phase:
                self._wake.set()

    def _forget_operation(self, key: tuple[str, str, Phase]) -> None:
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        self._changed.notify_all()

    # --- The lease and the phases

    def _join(self) -> None:
        name, asked = self._next_name, time.monotonic()
        rows = self._journal.members.join(
            self._migration,
            name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            lease=self._lease,
            deadline=self._deadline,
        )
        with self._changed:
            if self._name:
                self._former.add(self._name)
            self._name, self._until = name, asked + self._lease
            self._next_name = new_name()
            # In the order in which namespaces are given to cohorts; while this router is a member, none of that changes.
            self._rows = {row.cohort: row for row in rows}
            self._draining, self._moving, self._unsure = {}, set(), set()
            self._changed.notify_all()
        leased(self._migration, name, "joined")

    def _keep(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            self._heartbeat()

    def _heartbeat(self) -> None:
        """Renew the lease when it is time, or join again, and follow the phases."""
        if self._fenced_off:
            return
        asked = time.monotonic()
        if 0.0 < self._until <= asked:
            self._lapsed()
        try:
            if asked >= self._until:
                self._join()
            elif asked >= self._until - self._lease * 2 / 3:
                rows = self._journal.members.renew(self._migration, self._name, self._lease)
                self._until = asked + self._lease
                leased(self._migration, self._name, "renewed")
                self._follow(rows)
            else:
                self._follow(self._journal.control.all(self._migration))
        except LeaseLost:
            # What was under way belongs to the old name; its ids are dirty, and the journal waits for them.
            self._lapsed()
            self._next_name = new_name()
        except JournalError:
            # What is left of the lease goes on; the next turn is another try.
            return

    def _lapsed(self) -> None:
        self._until = 0.0
        leased(self._migration, self._name, "lapsed")

    def _leave_former(self) -> None:
        """Give up the names of leases that lapsed, once nothing under them can land: of what was untracked, only this router knows."""
        with self._changed:
            busy = {name for name, _, _ in self._under_way}
        for name in self._former - busy:
            self._journal.members.leave(name)
            self._former.discard(name)

    def _follow(self, rows: tuple[ControlRow, ...]) -> None:
        self._give_up_landed()
        self._leave_former()
        for row in rows:
            if row.cohort not in self._rows:
                # The cohorts were changed, so this router is no member any more: it will hear that its lease is lost.
                continue
            if row.epoch < self._rows[row.cohort].epoch:
                self.fence_off(f"cohort {row.cohort} went from epoch {self._rows[row.cohort].epoch} to {row.epoch}")
                return
            if row.hold_left is not None and row.hold_left < 0:
                self._journal.control.step_back(row, f"router {self._name}")
                self._wake.set()
            self._move(row)

    def _move(self, row: ControlRow) -> None:
        with self._changed:
            here = self._rows[row.cohort]
            if row.epoch == here.epoch:
                self._rows[row.cohort] = row
                draining = self._busy_elsewhere(row)
                if row.cohort not in self._moving and draining is self._draining.get(row.cohort):
                    return
            else:
                # New operations wait for a moment, so that a phase without any need not be acknowledged twice. They wait on where
                # the journal's answer is lost: it may have stopped to expect operations in the old phase.
                self._moving.add(row.cohort)
                if row.phase.source_is_authority != here.phase.source_is_authority:
                    # From the acknowledgement on, and until it is known, nobody waits for reads of either side.
                    self._unsure.add(row.cohort)
                draining = self._busy_elsewhere(row)
        if self._journal.members.acknowledge(self._name, row, draining):
            with self._changed:
                self._rows[row.cohort] = row
                self._draining[row.cohort] = draining
                self._moving.discard(row.cohort)
                self._unsure.discard(row.cohort)
                self._changed.notify_all()
            if row.epoch != here.epoch:
                followed(self._migration, self._name, row.cohort, row.phase)

    def _busy_elsewhere(self, row: ControlRow) -> Phase | None:
        busy = {phase for name, cohort, phase in self._under_way if (name, cohort) == (self._name, row.cohort)}
        # At most one: a phase moves on only once every router is in it, or in the one before.
        return next(iter(busy - {row.phase}), None)

    def _give_up_landed(self) -> None:
        now = time.monotonic()
        with self._changed:
            over = [key for landed, key in self._landing if landed <= now]
            self._landing = [each for each in self._landing if each[0] > now]
            for key in over:
                self._forget_operation(key)

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._journal.database.news() as heard:
                    while not self._stopped.is_set():
                        if heard(POLL_SECONDS):
                            self._wake.set()
            except JournalUnavailable:
                # Polling goes on meanwhile.
                self._stopped.wait(POLL_SECONDS)
