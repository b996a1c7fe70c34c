"""Two collections in memory under the real journal and engine, drifted apart behind the product's back; what a test looks at itself."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from journal.helpers import empty
from vectorferry.core.errors import GateError, JournalUnavailable, NotApproved, Unavailable
from vectorferry.core.model import CollectionDefinition, CollectionInfo, DifferenceKind, KeyOrder, KeyRange, Metric
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import handover
from vectorferry.engine.reconcile.drift import Drift, read_drift
from vectorferry.engine.reconcile.preconditions import keep_equal
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.reconcile.run_state import folder_of
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.engine.sync import settle, settle_loop, touched_check
from vectorferry.journal import Evidence, Journal
from vectorferry.spec.loader import parse_spec
from vectorferry.staging import Staging
from vectorferry.stores import caller
from vectorferry.stores.caller import ONCE, Caller
from vectorferry.stores.memory import MEMORY, MemoryStore

KIND = DifferenceKind
NAMESPACES = ("", "c'ä/1", "z\U0001f40d")
IDS = ("a", 'q"/..%', "é" * 40)
ANCHORS = tuple(f"k{n}" for n in range(9))
COHORTS = ("canary", "all")
PERIOD = 7 * 86400.0
DELAY = 10.0
_worlds = itertools.count()
Key = tuple[str, str]
Value = tuple[float, str]
"""First number of the vector, metadata."""

SPEC = """
migration: m
source: {{connection: source, collection: a}}
target: {{connection: target, collection: b}}
journal: journal
staging: {{url: "memory://{staging}"}}
writers: {{expected: 1}}
limits: {{request_deadline: 1s, lease: 60s}}
switch: {{cohorts: [{{name: canary, namespaces: ["c*"]}}]}}
approval: {{approvers: [ann], reason_required: false}}
reconcile: {{period: 7d, repairs: 3, deletions: 1, ceiling: {{requests: {requests}}}}}
"""


class Killed(BaseException):
    """The process is gone."""


class Cut:
    """Does something at the call of a store or of the journal that was chosen; once killed, nothing is called any more."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.act: Callable[[], None] = self.kill
        self.dead = False
        self._lock = threading.Lock()

    def tick(self) -> None:
        with self._lock:
            if self.dead:
                raise Killed
            if self.left is None:
                return
            self.left -= 1
            if self.left > 0:
                return
            self.left = None
        self.act()

    def kill(self) -> None:
        self.dead = True
        raise Killed


class Clock:
    """`time` of the code under test: who sleeps does not wait, but then it is later."""

    def __init__(self) -> None:
        self._slept = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds


CLOCK = Clock()


def on_clock(patch: pytest.MonkeyPatch) -> None:
    """Have the code under test live by it."""
    for module in (touched_check, settle, settle_loop, handover, caller):
        patch.setattr(module, "time", CLOCK)


@dataclass
class Lag:
    """Writes to one collection that nobody sees before some time has passed, in their order."""

    waiting: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, write: Callable[[], None]) -> None:
        with self.lock:
            self.waiting.append((CLOCK.monotonic() + DELAY, write))

    def show(self, *, all_: bool = False) -> None:
        with self.lock:
            while self.waiting and (all_ or self.waiting[0][0] <= CLOCK.monotonic()):
                self.waiting.popleft()[1]()


class CutStore(MemoryStore):
    """A store whose calls tick, before a write and after it; reads lag behind writes, which are in `whole` at once."""

    def __init__(self, world: str, collection: str, order: KeyOrder, cut: Cut, lag: Lag) -> None:
        able = replace(MEMORY, key_order=order, visibility_delay=DELAY)
        super().__init__(world, collection, capabilities=able, caller=Caller(policy=ONCE))
        self.whole = MemoryStore(world, f"{collection} whole", capabilities=able)
        self._cut, self._lag = cut, lag

    def describe(self) -> CollectionInfo:
        self._cut.tick()
        self._lag.show()
        return super().describe()

    def list_ids(self, span: KeyRange) -> Iterator[Any]:
        self._cut.tick()
        self._lag.show()
        return super().list_ids(span)

    def change_token(self, namespace: str) -> str | None:
        self._lag.show()
        return super().change_token(namespace)

    def _fetch(self, namespace: str, ids: Any) -> pa.RecordBatch:
        self._cut.tick()
        self._lag.show()
        return super()._fetch(namespace, ids)

    def _put(self, batch: pa.RecordBatch) -> None:
        self._cut.tick()
        self.whole._put(batch)
        self._lag.add(lambda: MemoryStore._put(self, batch))
        self._cut.tick()

    def _delete(self, namespace: str, ids: Any) -> None:
        self._cut.tick()
        self.whole._delete(namespace, ids)
        self._lag.add(lambda: MemoryStore._delete(self, namespace, ids))
        self._cut.tick()


class CutPart:
    """A part of the journal whose calls tick before and after."""

    def __init__(self, part: Any, cut: Cut) -> None:
        self._part, self._cut = part, cut

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)

        def ticking(*args: Any, **named: Any) -> Any:
            self._cut.tick()
            answer = call(*args, **named)
            self._cut.tick()
            return answer

        return ticking


class CutJournal:
    """The journal as one process sees it."""

    def __init__(self, journal: Journal, cut: Cut) -> None:
        self._journal = journal
        for name in ("records", "reconciliations", "claims", "control", "evidence", "plans"):
            setattr(self, name, CutPart(getattr(journal, name), cut))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def batch_of(key: Key, value: Value) -> pa.RecordBatch:
    return make_batch(key[0], [key[1]], np.array([[value[0], 1.0]], np.float32), [value[1]])


class Sides:
    """Two collections of three namespaces in two cohorts, each with a few records that change, and some that never do."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        empty(self.journal)
        self.world = f"reconcile{next(_worlds)}"
        self.values = itertools.count(1)
        self.runs = itertools.count(1)
        self.cut = Cut()
        self.lags = {side: Lag() for side in ("source", "target")}
        self.full = True
        self.excused: set[Key] = set()
        plain = self.session()
        for store in (plain.source, plain.target):
            for collection in (store, cast("CutStore", store).whole):
                collection.create(CollectionDefinition(2, Metric.EUCLIDEAN))
        for key in itertools.product(NAMESPACES, (*IDS, *ANCHORS)):
            batch = batch_of(key, self.value())
            for store in (plain.source, plain.target):
                store.upsert(batch)
        self.settle_down()
        keep_equal(plain)

    def session(self, cut: Cut | None = None, requests: int | None = None) -> Session:
        """One process."""
        text = SPEC.format(staging=self.world, requests="null" if requests is None else requests)
        spec = parse_spec(text, "machine.yaml")
        cut = cut or Cut()
        source = CutStore(self.world, "a", KeyOrder.ID, cut, self.lags["source"])
        target = CutStore(self.world, "b", KeyOrder.UUID, cut, self.lags["target"])
        journal = cast("Journal", CutJournal(self.journal, cut))
        staging = Staging(spec.staging.url).at("m")
        return Session(spec, journal, source, target, staging, "bob", f"run{next(self.runs)}", Caller(), Caller())

    def value(self) -> Value:
        number = next(self.values)
        return float(number), f'{{"n":{number}}}'

    def content(self, side: str) -> dict[Key, Value]:
        store = getattr(self.session(), side).whole
        return {
            (name, row["id"]): (row["vector"][0], row["metadata"])
            for name in store.describe().namespaces
            for batch in store.scan(KeyRange(name))
            for row in batch.to_pylist()
        }

    def write(self, side: str, key: Key, value: Value | None) -> None:
        store = getattr(self.session(), side)
        if value is None:
            store.delete(key[0], [key[1]])
        else:
            store.upsert(batch_of(key, value))

    def run_sql(self, text: str, **values: object) -> sa.CursorResult[Any]:
        with self.journal.database.statement() as connection:
            return connection.execute(sa.text(text), values)

    def source_is_authority(self, namespace: str) -> bool:
        cohort = COHORTS[0] if namespace.startswith("c") else COHORTS[1]
        return self.journal.control.get("m", cohort).phase.source_is_authority

    def dirty(self) -> set[Key]:
        return {
            (row[0], row[1]) for row in self.run_sql("SELECT namespace, id FROM vectorferry.record_state WHERE dirty")
        }

    def held(self) -> tuple[dict[Key, Value], dict[Key, Value]]:
        """What the authority of each record has, and what its follower has."""
        a, b = self.content("source"), self.content("target")
        authority, follower = dict[Key, Value](), dict[Key, Value]()
        for key in a.keys() | b.keys():
            first, second = (a, b) if self.source_is_authority(key[0]) else (b, a)
            authority |= {key: first[key]} if key in first else {}
            follower |= {key: second[key]} if key in second else {}
        return authority, follower

    def expected(self) -> dict[Key, KIND]:
        """How each key differs that is neither excused nor waiting to be settled."""
        authority, follower = self.held()
        found = dict[Key, KIND]()
        for key in (authority.keys() | follower.keys()) - self.excused - self.dirty():
            if key not in follower:
                found[key] = KIND.MISSING
            elif key not in authority:
                found[key] = KIND.EXTRA
            elif authority[key] != follower[key]:
                found[key] = KIND.METADATA if authority[key][0] == follower[key][0] else KIND.VECTOR
        return found

    def guarded(self, work: Callable[[], Any], may_change: set[Key]) -> Any:
        """Do it; the authority stays as it was, and so do the excused records, and in the follower whatever is not to be mended."""
        authority, follower = self.held()
        try:
            return work()
        finally:
            after = self.held()
            assert after[0] == authority
            changed = {key for key in follower.keys() | after[1].keys() if follower.get(key) != after[1].get(key)}
            assert changed <= may_change - self.excused, changed

    def schedule(self, cut: tuple[str, int] | None) -> None:
        if cut is None:
            return
        how, self.cut.left = cut
        self.cut.act = {"kill": self.cut.kill, "store": _away, "journal": _silent, "overtake": self.overtake}[how]

    def overtake(self) -> None:
        """Somebody else begins the same; not while records are claimed, for whose end it would wait."""
        if self.run_sql("SELECT FROM vectorferry.record_state WHERE claim_until > clock_timestamp()").rowcount:
            return
        try:
            pipeline.reconcile(self.session(), full=self.full)
        except GateError as error:
            assert "no copies" in str(error)

    def settle_down(self) -> None:
        """All that was written is seen."""
        for lag in self.lags.values():
            lag.show(all_=True)

    def heal(self) -> None:
        """Whatever died is started anew, long after nothing of it can land."""
        self.cut = Cut()
        self.run_sql("UPDATE vectorferry.record_state SET claim_until = claim_until - interval '1 d'")

    def age(self, periods: float) -> None:
        """Time passes."""
        self.run_sql(
            "UPDATE vectorferry.reconciliation SET began_at = began_at - :s * interval '1 s'", s=periods * PERIOD
        )

    def named(self, found: Evidence) -> tuple[Drift, ...]:
        every = self.report(found)
        keys = [key for each in every for key in each.keys]
        assert len(set(keys)) == len(keys), "named twice"
        assert len(every) == drift_figures(found)["repairs"]
        return every

    def report(self, found: Evidence) -> tuple[Drift, ...]:
        return read_drift(folder_of(self.session(), drift_figures(found)["reconciliation"]))

    def epochs(self) -> dict[str, str]:
        return {row.cohort: f"{row.phase} {row.epoch}" for row in self.journal.control.all("m")}

    def approve(self, found: Evidence) -> None:
        try:
            record_answer(self.session(), found.hash, "approve", person="ann", reason="", via="airflow")
        except NotApproved:
            return  # superseded, or nothing to approve


def _away() -> None:
    raise Unavailable("on purpose")


def _silent() -> None:
    raise JournalUnavailable("on purpose")
