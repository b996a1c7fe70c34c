"""Live writes: calls of a router beside the same calls of the vendor's client, intents of one journal, and settling."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import moves, pinecone_sdk
from benchmarks.moves import Place
from benchmarks.records import NAMESPACE, Records
from benchmarks.servers import Servers
from vectorferry.core.model import COHORT, Phase
from vectorferry.core.records import parse_json, vectors_of
from vectorferry.engine.plan.begin import register
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle import MOST_IDS, settle_batch
from vectorferry.journal import Write
from vectorferry.router import Record, Router

SOURCE = Place("pinecone", "benchmark-live")
TARGET = Place("pgvector", "benchmark_live", {"type": "none"})
ROWS = (Place("pgvector", "benchmark_left", {"type": "none"}), Place("pgvector", "benchmark_right", {"type": "none"}))
BLOCK = 25
LOADS = [(threads, ids) for ids in (1, 100) for threads in (1, 4, 16)]
Call = Callable[[int], object]


@dataclass(frozen=True)
class Calls:
    """One kind of call, made by a router and by the vendor's client; seconds of every call."""

    job: str
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def milliseconds(self, side: str, percent: int) -> float:
        """A percentile of one side, 'ours' or 'bare'."""
        return float(np.percentile(getattr(self, side), percent) * 1000)

    def ratio(self, percent: int) -> float:
        """How many times as long a router's call takes."""
        return self.milliseconds("ours", percent) / self.milliseconds("bare", percent)


@dataclass(frozen=True)
class Rate:
    """How many a second, by itself or beside something else."""

    job: str
    per_second: float
    calls_per_second: float | None = None
    beside: str = ""
    its_per_second: float | None = None


def calls(servers: Servers, records: Records, blocks: int) -> list[Calls]:
    """Reads, and writes untracked, tracked with a mirror, and tracked without: `blocks` blocks of calls a side, in turn."""
    spec = moves.spec_of(servers, SOURCE, TARGET, writers={"expected": 1}, shadow={"share": 0}, limits=_LIMITS)
    spec["source"]["transport"] = "rest"
    with (
        moves.filled(servers, SOURCE, records),
        moves.filled(servers, TARGET, records),
        moves.session_of(servers, spec) as session,
        pinecone_sdk.client(servers, SOURCE.collection, "REST") as index,
    ):
        register(session.journal, session.spec, "benchmark")
        with Router(session.migration, servers.connection("journal"), connections=servers.connection) as router:
            bench = _Bench(session, router, index, records, blocks)
            untracked = bench.put("put, untracked (OFF)")
            _enter(session, Phase.TRACK_A)
            session.journal.control.mark_loaded(session.migration, COHORT)
            made = [
                bench.search("search"),
                untracked,
                bench.put("put, tracked and mirrored"),
                bench.update("update, tracked"),
            ]
    return made


class _Bench:
    def __init__(self, session: Session, router: Router, index: Any, records: Records, blocks: int) -> None:
        self._session = session
        self._router = router
        self._index = index
        self._blocks = blocks
        batch = records.batch
        self._ids = batch.column("id").to_pylist()
        self._vectors = vectors_of(batch).tolist()
        self._metadata = [parse_json(text) for text in batch.column("metadata").to_pylist()]

    def search(self, job: str) -> Calls:
        def bare(n: int) -> object:
            return self._index.query(top_k=10, vector=self._vectors[n], namespace=NAMESPACE)

        return self._run(job, lambda n: self._router.search(NAMESPACE, self._vectors[n], 10), bare)

    def put(self, job: str) -> Calls:
        def ours(n: int) -> None:
            self._router.upsert(NAMESPACE, [Record(self._ids[n], self._vectors[n], self._metadata[n])])

        def bare(n: int) -> object:
            row = {"id": self._ids[n], "values": self._vectors[n], "metadata": self._metadata[n]}
            return self._index.upsert(vectors=[row], namespace=NAMESPACE)

        return self._run(job, ours, bare)

    def update(self, job: str) -> Calls:
        def ours(n: int) -> None:
            self._router.update(NAMESPACE, self._ids[n], set_metadata={"lines": n})

        def bare(n: int) -> object:
            return self._index.update(id=self._ids[n], set_metadata={"lines": n}, namespace=NAMESPACE)

        return self._run(job, ours, bare)

    def _run(self, job: str, ours: Call, bare: Call) -> Calls:
        made = Calls(job)
        sides = ((ours, made.ours), (bare, made.bare))
        for call, _ in sides:
            call(0)
        for number in range(2 * self._blocks):
            # In changing order; what goes on after a call, a mirror say, is not in the other side's time.
            call, seconds = sides[(number + number // 2) % 2]
            self._quiet()
            for n in range(BLOCK):
                began = time.perf_counter()
                call((number // 2 * BLOCK + n) % len(self._ids))
                seconds.append(time.perf_counter() - began)
        self._quiet()
        return made

    def _quiet(self) -> None:
        while self._session.journal.claims.backlog(self._session.migration, COHORT).open:
            time.sleep(0.01)


def intents(servers: Servers, seconds: float) -> list[Rate]:
    """Ids a second for which one journal opens and closes intents, by writers at a time and ids a call."""
    spec = moves.spec_of(servers, *ROWS, writers={"expected": 1}, limits=_LIMITS)
    found = []
    with moves.session_of(servers, spec) as session:
        register(session.journal, session.spec, "benchmark")
        _enter(session, Phase.TRACK_A)
        for threads, ids in LOADS:
            done = _opened_and_closed(session, threads, ids, seconds)
            job = f"intents, {threads} writers, {ids} ids a call"
            found.append(Rate(job, done * ids / seconds, calls_per_second=done / seconds))
    return found


def _opened_and_closed(session: Session, threads: int, ids: int, seconds: float) -> int:
    journal, name = session.journal, f"writer-{threads}-{ids}"
    where = {"host": "here", "pid": 1, "version": "0"}
    journal.members.join(session.migration, name, **where, lease=seconds + 60, deadline=1.0)  # type: ignore[arg-type]
    write = Write(session.migration, COHORT, name, Phase.TRACK_A, NAMESPACE)
    begin = threading.Barrier(threads)

    def work(number: int) -> int:
        keys, done = [f"{number}-{n}" for n in range(ids)], 0
        journal.intents.close(write, list(journal.intents.open(write, keys).values()))
        begin.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            journal.intents.close(write, list(journal.intents.open(write, keys).values()))
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    journal.members.leave(name)
    return done


def settling(servers: Servers, records: Records, repeats: int) -> list[Rate]:
    """Records a second that one settler copies, beside the same fetches and upserts without a journal."""
    spec = moves.spec_of(servers, *ROWS, writers={"expected": 1}, limits=_LIMITS)
    ids = records.batch.column("id").to_pylist()
    ours, bare = list[float](), list[float]()
    with (
        moves.filled(servers, ROWS[0], records),
        moves.filled(servers, ROWS[1], records),
        moves.session_of(servers, spec) as session,
    ):
        register(session.journal, session.spec, "benchmark")
        _enter(session, Phase.TRACK_A)
        session.journal.control.mark_loaded(session.migration, COHORT)
        for _ in range(repeats + 1):
            ours.append(_settled(session, ids))
            bare.append(_copied(session, ids))
    rate, its = (len(ids) / float(np.median(seconds[1:])) for seconds in (ours, bare))
    return [Rate("settle", rate, beside=f"fetch and upsert, {MOST_IDS} at a time", its_per_second=its)]


def _settled(session: Session, ids: Sequence[str]) -> float:
    session.journal.claims.mark_dirty(session.migration, COHORT, NAMESPACE, ids)
    began = time.perf_counter()
    clean = 0
    while (done := settle_batch(session, COHORT)) is not None:
        clean += done.clean
    assert clean == len(ids), clean
    return time.perf_counter() - began


def _copied(session: Session, ids: Sequence[str]) -> float:
    began = time.perf_counter()
    for start in range(0, len(ids), MOST_IDS):
        session.target.upsert(session.source.fetch(NAMESPACE, ids[start : start + MOST_IDS]))
    return time.perf_counter() - began


_LIMITS = {"request_deadline": "10s", "lease": "60s"}


def _enter(session: Session, phase: Phase) -> None:
    control = session.journal.control
    control.advance(control.get(session.migration, COHORT), phase, actor="benchmark", reason="measured")
    while not all(_is_in(member, phase) for member in session.journal.members.all(session.migration)):
        time.sleep(0.01)


def _is_in(member: Any, phase: Phase) -> bool:
    return member.cohorts[COHORT].phase is phase and member.cohorts[COHORT].draining is None
