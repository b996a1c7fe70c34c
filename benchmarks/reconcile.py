"""A full reconciliation of two equal sides, beside a bare scan of both with the same stores; and its peak memory."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import yaml
from psycopg import sql

from benchmarks import memory, moves
from benchmarks.memory import Peak
from benchmarks.moves import Place
from benchmarks.records import FIELDS, NAMESPACE
from benchmarks.servers import Servers
from benchmarks.timing import Contestant, Race, Rounds, Watch, race
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.reconcile.preconditions import keep_equal
from vectorferry.engine.session import Session
from vectorferry.stores.base import VectorStore
from vectorferry.stores.pgvector.binary import copy_data

DIMENSION = 24
ENOUGH = 0.8
_BATCH_ROWS = 10_000
_EXACT = {"type": "none"}
_LIMITS = {"request_deadline": "60s", "lease": "120s"}


@dataclass(frozen=True)
class Sides:
    """Two collections, and where the first two are filled: what the local Pinecone stores lies in its own database."""

    name: str
    source: Place
    target: Place
    filled: tuple[Place, Place]


_PGVECTOR = Place("pgvector", "benchmark_equal", _EXACT)
_PINECONE = Place("pinecone", "benchmark-equal")
_BACKING = Place("backing", "benchmark-equal", _EXACT)
_WEAVIATE = Place("weaviate", "BenchmarkEqual", {"type": "flat"})
FAST = Sides("pgvector and Pinecone", _PGVECTOR, _PINECONE, (_PGVECTOR, _BACKING))
SLOW = Sides("Pinecone and Weaviate", _PINECONE, _WEAVIATE, (_BACKING, _WEAVIATE))


def passes(servers: Servers, rows: int, slow_rows: int, rounds: Rounds) -> Iterator[Race]:
    """Full passes of both pairs."""
    for sides, count in ((FAST, rows), (SLOW, slow_rows)):
        with _equal(servers, sides, count, _spec_of(servers, sides)) as session:
            ours = Contestant("reconcile", lambda watch, session=session, count=count: _ours(session, count, watch))
            bare = Contestant(
                "scan of both sides at a time", lambda watch, session=session, count=count: _bare(session, count, watch)
            )
            yield race(f"full pass over {sides.name}", count, ours, [bare], rounds, asked=ENOUGH)


def peaks(servers: Servers, sizes: Sequence[int], repeats: int, report: Callable[[str], None]) -> Peak:
    """Peak memory of a process that reconciles pairs of these sizes."""
    runs: dict[int, list[dict[str, float]]] = {}
    for rows in sizes:
        spec = _spec_of(servers, FAST)
        with _equal(servers, FAST, rows, spec):
            file = servers.folder / f"{spec['migration']}.yaml"
            file.write_text(yaml.safe_dump(json.loads(json.dumps(spec))), encoding="utf-8")
            for _ in range(repeats):
                taken = memory.run_task(servers, "reconcile", file, "journal", "pgvector", "pinecone")
                runs.setdefault(rows, []).append(taken)
                report(f"reconcile of {rows} rows: {taken['bytes'] / 1e6:.0f} MB, {taken['seconds']:.1f} s")
    return memory.peak_of("reconcile", runs)


def _spec_of(servers: Servers, sides: Sides) -> dict[str, Any]:
    # Indexes on declared fields would take most of the time of filling.
    fields = {} if sides is FAST else FIELDS
    return moves.spec_of(servers, sides.source, sides.target, fields=fields, limits=_LIMITS)


@contextmanager
def _equal(servers: Servers, sides: Sides, rows: int, spec: Mapping[str, Any]) -> Iterator[Session]:
    """A pair of equal collections, and a session of the spec that keeps them so."""
    try:
        for place in sides.filled:
            _fill(servers, place, rows)
        with moves.session_of(servers, spec) as session:
            keep_equal(session)
            yield session
            session.staging.remove()
    finally:
        for place in (*sides.filled, sides.source, sides.target):
            with moves.opened(servers, place) as store:
                store.drop()


def _fill(servers: Servers, place: Place, rows: int) -> None:
    with moves.opened(servers, place) as store:
        store.drop()
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE, {}, place.index))
        if place.connection == "weaviate":
            for batch in _records(rows):
                assert not store.upsert(batch).rejected
        else:
            _copy(servers, place, rows)


def _copy(servers: Servers, place: Place, rows: int) -> None:
    """COPY straight into the table of a pgvector store."""
    it = servers.connection(place.connection)
    login = {"host": it.host, "port": it.port, "user": it.login, "password": it.password, "dbname": it.schema}
    query = sql.SQL("COPY {} (namespace, id, vector, sparse, metadata) FROM STDIN (FORMAT binary)")
    with psycopg.connect(autocommit=True, **login) as connection:
        for batch in _records(rows):
            with connection.cursor().copy(query.format(sql.Identifier(place.collection))) as copy:
                copy.write(copy_data(batch))
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(place.collection)))


def _records(rows: int) -> Iterator[pa.RecordBatch]:
    """The same small records every time, in the order of their ids."""
    draw = np.random.default_rng(11)
    for start in range(0, rows, _BATCH_ROWS):
        numbers = range(start, min(start + _BATCH_ROWS, rows))
        vectors = draw.standard_normal((len(numbers), DIMENSION), np.float32)
        metadata = [f'{{"kind":"page","lines":{n % 977},"title":"The record {n}"}}' for n in numbers]
        yield make_batch(NAMESPACE, [f"record-{n:08}" for n in numbers], vectors, metadata)


def _ours(session: Session, rows: int, watch: Watch) -> None:
    with watch:
        evidence = pipeline.reconcile(session, full=True)
    figures = evidence.body["verdicts"][0]["figures"]
    assert (figures["outcome"], figures["rows_source"], figures["rows_target"]) == ("equal", rows, rows), figures


def _bare(session: Session, rows: int, watch: Watch) -> None:
    with watch, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(_scanned, (session.source, session.target)))
    assert found == [rows, rows], found


def _scanned(store: VectorStore) -> int:
    return sum(len(batch) for batch in store.scan(KeyRange(NAMESPACE), batch_rows=1_000))
