"""Two routers, settlers, a loader and a controller on a real journal and two faulty stores, one step at a time.

The code under test is the real one: `Membership`, `Writer` and `settle_batch` run in actors, see `faulty`. After each step `check` looks
at what a reader would see and at what is called clean.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import sqlalchemy as sa

from journal.helpers import empty
from router.faulty import Actor, Clock, FaultyJournal, FaultyStore, Jobs, Late
from vectorferry.core.errors import NotDone, PhaseConflict
from vectorferry.core.model import COHORT, Cohort, CollectionDefinition, Metric, Phase
from vectorferry.core.records import make_batch, parse_json
from vectorferry.engine.session import Session
from vectorferry.engine.sync import settle
from vectorferry.journal import Journal
from vectorferry.router import membership as membership_module
from vectorferry.router import writer
from vectorferry.router.changes import Change, Delete, Put, Update
from vectorferry.router.membership import Membership
from vectorferry.router.operation_counts import OperationCounter
from vectorferry.router.writer import Writer
from vectorferry.stores import caller
from vectorferry.stores.caller import ONCE, Caller, RetryPolicy
from vectorferry.stores.memory import MemoryStore
from vectorferry.stores.row_limits import patch_of

D, LEASE = 1000.0, 3000.0
MIGRATION = "docs"
KEYS = ("x", "y")
Value = tuple[float, float | None] | None
"""What a record was put with and updated with last, None where it is not there."""
CHAIN = list(Phase)
_worlds = itertools.count()


class Wrong(AssertionError):
    """The protocol broke a promise."""


@dataclass(eq=False)
class Operation:
    """One write of an application: put, delete or update; `after` is what had been acknowledged when it began."""

    key: str
    kind: str
    value: float
    after: frozenset["Operation"]
    state: str = "running"


class Steered(Membership):
    """A membership whose turns are the test's."""

    def _keep(self) -> None:
        """No thread."""

    def _listen(self) -> None:
        """No thread."""

    def _await_change(self, seconds: float) -> None:
        raise NotDone("nobody waits here", retryable=True)


class Again:
    """An event that is never set; who waits for it tries again at once."""

    def wait(self, seconds: float) -> bool:
        return False


@dataclass
class Process:
    """One router's process."""

    membership: Membership
    writer: Writer
    actors: list[Actor] = field(default_factory=list)
    turn: Actor | None = None


class Stage:
    """Everything, and the steps that it can take."""

    def __init__(self, journal: Journal, clock: Clock, *, phase: Phase = Phase.TRACK_A, loaded: bool = True) -> None:
        self.journal = journal
        self.clock = clock
        self.late: list[Late] = []
        self.name = f"world{next(_worlds)}"
        empty(journal)
        journal.control.register(MIGRATION, "spec", [Cohort()], "ann")
        self.plain = {side: MemoryStore(self.name + side, "docs") for side in "AB"}
        for store in self.plain.values():
            store.create(CollectionDefinition(2, Metric.EUCLIDEAN))
        self.operations: list[Operation] = []
        self.values = itertools.count(1)
        self._begin_with(phase, loaded)
        self.actors: list[Actor] = []
        self.processes = [self._process(), self._process()]

    def _begin_with(self, phase: Phase, loaded: bool) -> None:
        value = float(next(self.values))
        for key in KEYS:
            self.operations.append(Operation(key, "put", value, frozenset(), "acked"))
            for side in "AB" if loaded else "A":
                self.plain[side].upsert(_batch(key, value))
        if loaded:
            self.journal.control.mark_loaded(MIGRATION, COHORT)
        while self.phase is not phase:
            self.advance_phase(+1)

    # --- Steps

    def write(self, router: int, key: str = "x", *, kind: str = "put") -> Actor:
        """Begin a put, a delete or an update; the actor stops before its intent."""
        process = self.processes[router]
        acked = frozenset(each for each in self.operations if each.state == "acked" and each.key == key)
        operation = Operation(key, kind, float(next(self.values)), acked)
        self.operations.append(operation)
        change = _CHANGES[kind](key, operation.value)

        def run() -> None:
            try:
                process.writer.write(change)
            except NotDone:
                operation.state = "not done"
                raise
            except BaseException:
                operation.state = "unknown"
                raise
            operation.state = "acked"

        return self._begun(process, Actor(f"{kind} {key} by {router}", run))

    def turn(self, router: int) -> Actor:
        """One turn of a router's lease keeper, to its first request of the journal that changes something."""
        process = self.processes[router]
        if process.turn is None or process.turn.at is None:
            process.turn = self._begun(process, Actor(f"turn of {router}", process.membership._heartbeat))
        return process.turn

    def follow(self, *routers: int) -> None:
        """Let routers follow the phase, to the end."""
        for router in routers or (0, 1):
            self.turn(router).finish()
            self.turn(router).finish()

    def settle(self) -> Actor:
        """Begin to settle; the actor stops before its claim."""
        callers = {side: Caller(policy=RetryPolicy(attempts=2), sleep=self.clock.sleep) for side in "AB"}
        stores = {side: self._store(side, callers[side]) for side in "AB"}
        session = SimpleNamespace(
            journal=FaultyJournal(self.journal),
            migration=MIGRATION,
            source=stores["A"],
            target=stores["B"],
            source_caller=callers["A"],
            target_caller=callers["B"],
            lease=LEASE,
            deadline=D,
        )
        actor = Actor("settle", lambda: settle.settle_batch(cast("Session", session), COHORT))
        self.actors.append(actor)
        return actor

    def load(self) -> Actor:
        """Begin to load, as the pipeline does once every router is in TRACK_A; the actor stops before its first read."""
        source, target = (self._store(side, Caller(policy=ONCE)) for side in "AB")
        control = self.journal.control

        def run() -> None:
            if control.get(MIGRATION, COHORT).loaded:
                return
            loads = control.begin_load(MIGRATION, COHORT)
            batch = source.fetch("n", KEYS)
            if len(batch):
                target.upsert(batch)
            missing = sorted(set(KEYS) - set(batch.column("id").to_pylist()))
            self.journal.claims.mark_dirty(MIGRATION, COHORT, "n", missing)
            control.mark_loaded(MIGRATION, COHORT, loads=loads)

        actor = Actor("load", run)
        self.actors.append(actor)
        return actor

    @property
    def phase(self) -> Phase:
        return self.journal.control.get(MIGRATION, COHORT).phase

    def advance_phase(self, way: int) -> None:
        """One step along the chain; raises PhaseConflict."""
        row = self.journal.control.get(MIGRATION, COHORT)
        to = CHAIN[CHAIN.index(row.phase) + way]
        hold = D * 10 if to.blocks_writes and not row.phase.blocks_writes else None
        self.journal.control.advance(row, to, actor="ann", reason="test", hold_seconds=hold)

    def step_back(self) -> None:
        self.journal.control.step_back(self.journal.control.get(MIGRATION, COHORT), "ann")

    def mark(self, key: str) -> None:
        self.journal.claims.mark_dirty(MIGRATION, COHORT, "n", [key])

    def evict(self) -> None:
        """Evict who can be; an operator forgets who was in OFF."""
        self.journal.members.evict_lapsed(MIGRATION, "ann")
        for member in self.journal.members.all(MIGRATION):
            if member.lease_left + member.deadline < 0:
                self.journal.members.forget(MIGRATION, member.id, "ann")

    def pass_time(self, seconds: float, *, lands: bool = True) -> None:
        """Move every clock. What gets no answer by then is given up, and what may still take effect until then does, if it `lands`."""
        end = self.clock.monotonic() + seconds
        for actor in self.running():
            while actor.at is not None and actor.at.since and actor.at.since + D <= end:
                actor.resume({"read": "fail", "send": "landed" if lands else "never", "answer": "lost"}[actor.at.kind])
        for each in [each for each in self.late if each.until <= end]:
            self.late.remove(each)
            if lands:
                each.land()
        self.clock.add(seconds)
        with self.journal.database.transaction() as connection:
            for table, column in _TIMES:
                connection.execute(
                    sa.text(f"UPDATE vectorferry.{table} SET {column} = {column} - :s * interval '1 s'"),
                    {"s": seconds},
                )

    def land(self, number: int = 0, *, lands: bool = True) -> None:
        """A late request takes effect, or is lost."""
        each = self.late.pop(number)
        if lands:
            each.land()

    def crash(self, router: int) -> None:
        """Kill a router's process, and start another."""
        process = self.processes[router]
        for actor in process.actors:
            if actor.at is not None:
                if actor.at.kind == "send":
                    actor.resume("late")
                actor.kill()
        self.processes[router] = self._process()

    def running(self) -> list[Actor]:
        everybody = [*self.actors, *(actor for process in self.processes for actor in process.actors)]
        return [actor for actor in everybody if actor.at is not None]

    # --- What must be true

    def check(self) -> None:
        """Raises Wrong."""
        self._check_reads()
        self._check_equal()

    def _check_reads(self) -> None:
        for number, process in enumerate(self.processes):
            try:
                phase = process.membership.reading("n").phase
            except NotDone:
                continue
            for key in KEYS:
                value = self.value("A" if phase.source_is_authority else "B", key)
                if not self._is_fresh(key, value):
                    raise Wrong(f"router {number} in {phase} reads {value} of {key}: {self.story(key)}")

    def _is_fresh(self, key: str, value: Value) -> bool:
        """Whether some order of the writes, none before what was acknowledged when it began, comes to this value."""
        mine = [each for each in self.operations if each.key == key and each.state != "not done"]
        whole = [each for each in mine if each.kind != "update" and not _is_overtaken(each, mine, ("put", "delete"))]
        if value is None:
            return any(each.kind == "delete" for each in whole)
        puts = [each for each in whole if (each.kind, each.value) == ("put", value[0])]
        if value[1] is None:
            return any(not _is_overtaken(put, mine, ("update",)) for put in puts)
        # Of updates the last one shows; it came after the put, and no later put or delete came after it.
        return any(
            each.value == value[1]
            and not _is_overtaken(each, mine, ("put", "delete", "update"))
            and each not in put.after
            for put in puts
            for each in mine
            if each.kind == "update"
        )

    def _check_equal(self) -> None:
        loaded = self.journal.control.get(MIGRATION, COHORT).loaded
        if not loaded or self.phase in (Phase.OFF, Phase.DONE):
            return
        unclean = self._unclean()
        for key in set(KEYS) - unclean:
            if self.value("A", key) != self.value("B", key):
                raise Wrong(f"clean, but {key} is {self.value('A', key)} in A, {self.value('B', key)} in B")

    def _unclean(self) -> set[str]:
        query = """SELECT id FROM vectorferry.record_state WHERE dirty
            UNION SELECT i.id FROM vectorferry.intent i JOIN vectorferry.member m ON m.id = i.member
                WHERE m.evicted_at IS NULL AND (i.closed_at IS NULL OR i.closed_at > clock_timestamp())"""
        with self.journal.database.statement() as connection:
            return set(connection.scalars(sa.text(query)))

    def value(self, side: str, key: str) -> Value:
        batch = self.plain[side].fetch("n", [key])
        if not len(batch):
            return None
        return batch.column("vector")[0].as_py()[0], parse_json(batch.column("metadata")[0].as_py()).get("updated")

    def story(self, key: str) -> str:
        return ", ".join(f"{each.kind} {each.value} {each.state}" for each in self.operations if each.key == key)

    def rest(self) -> None:
        """Without faults from here on, everything comes to rest on either side, and both sides are equal."""
        for _ in range(16):
            # The lease of a router that lives never lapses.
            for actor in self.running():
                actor.finish()
            self.pass_time(D / 2)
            self.follow()
        self.evict()
        self._have_loaded()
        self.check()
        for to in (Phase.TRACK_A, Phase.TRACK_B, Phase.TRACK_A):
            self._come_to(to)
            for key in KEYS:
                if self.value("A", key) != self.value("B", key):
                    raise Wrong(f"at rest, but {key} is {self.value('A', key)} in A, {self.value('B', key)} in B")

    def _have_loaded(self) -> None:
        while not self.journal.control.get(MIGRATION, COHORT).loaded:
            if way := CHAIN.index(Phase.TRACK_A) - CHAIN.index(self.phase):
                self.advance_phase(way // abs(way))
            self.follow()
            if self.phase is Phase.TRACK_A and (error := self.load().finish().error):
                raise Wrong(f"cannot be loaded: {error}")

    def _come_to(self, to: Phase) -> None:
        for _ in range(20):
            self.settle().finish()
            self.follow()
            self.check()
            if self.phase is to and not self._unclean():
                return
            way = CHAIN.index(to) - CHAIN.index(self.phase)
            try:
                self.advance_phase(way // abs(way) if way else 0)
            except PhaseConflict:
                continue
        raise Wrong(
            f"stuck in {self.phase} on the way to {to}: {self._unclean()} {self.journal.members.all(MIGRATION)}"
        )

    def close(self) -> None:
        for actor in self.running():
            actor.kill()

    # --- Parts

    def _process(self) -> Process:
        journal = cast("Journal", FaultyJournal(self.journal))
        membership = Steered(journal, MIGRATION, membership_module.new_name(), lease=LEASE, deadline=D)
        source, target = (self._store(side, Caller(policy=ONCE)) for side in "AB")
        writer = Writer(journal, MIGRATION, membership, source, target, D, OperationCounter(journal, MIGRATION))
        process = Process(membership, writer)
        writer._mirrors.shutdown()
        writer._closers.shutdown()
        changed = cast("Any", writer)
        changed._mirrors = changed._closers = Jobs("job", lambda actor: process.actors.append(actor))
        changed._stopping = Again()
        return process

    def _store(self, side: str, caller: Caller) -> FaultyStore:
        return FaultyStore(side, self.name, self.clock, self.late, D, caller)

    def _begun(self, process: Process, actor: Actor) -> Actor:
        process.actors.append(actor)
        return actor


def _is_overtaken(write: Operation, by: Iterable[Operation], kinds: tuple[str, ...]) -> bool:
    return any(write in later.after for later in by if later.state == "acked" and later.kind in kinds)


_TIMES = (
    ("member", "lease_until"),
    ("intent", "closed_at"),
    ("intent", "opened_at"),
    ("record_state", "claim_until"),
    ("control", "hold_deadline"),
)


def _batch(key: str, value: float) -> Any:
    return make_batch("n", [key], np.array([[value, 0.0]], np.float32), ["{}"])


_CHANGES: dict[str, Callable[[str, float], Change]] = {
    "put": lambda key, value: Put("n", (key,), _batch(key, value)),
    "delete": lambda key, _: Delete("n", (key,)),
    "update": lambda key, value: Update("n", (key,), patch_of("n", key, None, f'{{"updated":{value}}}')),
}


@contextmanager
def on_stage(journal: Journal, **how: Any) -> Iterator[Stage]:
    """A stage whose clock is the one of the code under test."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in (membership_module, settle, caller):
            patch.setattr(module, "time", clock)
        for module in (membership_module, writer):
            patch.setattr(module, "WRITE_SECONDS", LEASE)
        stage = Stage(journal, clock, **how)
        try:
            yield stage
        finally:
            stage.close()
