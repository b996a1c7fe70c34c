"""Exact neighbours: the engine's map over a partition against bare faiss on the same threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import moves
from benchmarks.moves import Place
from benchmarks.records import NAMESPACE, many
from benchmarks.servers import Servers
from benchmarks.timing import Contestant, Race, Rounds, Watch, race
from vectorferry.core.model import CollectionDefinition, Metric, Vectors
from vectorferry.core.records import vectors_of
from vectorferry.engine.checks.exact_search import THREADS, Nearest
from vectorferry.engine.checks.ground_truth import SPARE, partition_truth
from vectorferry.engine.checks.query_set import read_queries
from vectorferry.engine.session import Session
from vectorferry.journal import Plan

STAGED = Place("memory", "exact")
K = 10
BATCH_ROWS = 2500
"""What the engine reads at a time."""


@dataclass(frozen=True)
class Staged:
    """A staged partition and its queries, and the same rows in memory: ids, and vectors of shape [n, d]."""

    session: Session
    plan: Plan
    files: list[Path]
    queries: Vectors
    ids: pa.Array
    vectors: Vectors

    @property
    def rows(self) -> int:
        return len(self.vectors)


@contextmanager
def staged(servers: Servers, rows: int, queries: int) -> Iterator[Staged]:
    """Records under cosine, exported with this many held-out queries."""
    batches = list(many(rows))
    dimension = batches[0].schema.field("vector").type.list_size
    with moves.opened(servers, STAGED) as store:
        store.drop()
        store.create(CollectionDefinition(dimension, Metric.COSINE, moves.FIELDS_TYPED))
        for batch in batches:
            store.upsert(batch)
        spec = moves.spec_of(servers, STAGED, Place("memory", "nowhere"), checks=_checks(queries))
        with moves.session_of(servers, spec) as session:
            moves.begin(session)
            plan = moves.plan(session)
            files = moves.stage(session, plan)
            asked = read_queries(session.staged(plan))
            ids, vectors = _read(files)
            yield Staged(session, plan, files, asked.vectors, ids, vectors)
            session.staging.remove()
            session.target.drop()
        store.drop()


def _checks(queries: int) -> dict[str, dict[str, int]]:
    return {"recall": {"sample": queries, "k": K}}


def search(held: Staged, rounds: Rounds) -> Race:
    """The search alone, rows and queries in memory: batch by batch with exact scores, against one call of faiss over all rows."""
    ours = Contestant("Nearest, batch by batch", lambda watch: _nearest(held, watch))
    bare = Contestant(f"faiss.knn, {THREADS} threads", lambda watch: _knn(held, watch))
    return race("exact neighbours in memory", held.rows, ours, [bare], rounds)


def truth(held: Staged, rounds: Rounds) -> Race:
    """The whole task, from the partition's Parquet to the Parquet of its best rows."""
    ours = Contestant("partition_truth", lambda watch: _truth(held, watch))
    bare = Contestant(f"faiss.IndexFlatIP, {THREADS} threads", lambda watch: _flat(held, watch))
    return race("exact neighbours of a partition", held.rows, ours, [bare], rounds)


def _nearest(held: Staged, watch: Watch) -> None:
    with watch:
        found = Nearest(held.queries, K + 1 + SPARE, Metric.COSINE)
        for start in range(0, held.rows, BATCH_ROWS):
            found.add(held.vectors[start : start + BATCH_ROWS], held.ids.slice(start, BATCH_ROWS))
    _require(held, found.ids[:, :K])


def _knn(held: Staged, watch: Watch) -> None:
    faiss.omp_set_num_threads(THREADS)
    with watch:
        queries, vectors = _unit(held.queries), _unit(held.vectors)
        _, rows = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    _require(held, _names(held.ids, rows))


def _truth(held: Staged, watch: Watch) -> None:
    staging = held.session.staged(held.plan)
    staging.remove("truth")
    with watch:
        partition_truth(held.session, held.plan, held.plan.partitions[0])
    table = staging.read_table("truth/p0000.parquet")
    assert len(table) >= K * len(held.queries), len(table)


def _flat(held: Staged, watch: Watch) -> None:
    faiss.omp_set_num_threads(THREADS)
    path = Path(held.files[0]).with_name("bare.parquet")
    with watch:
        ids, vectors = _read(held.files)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(_unit(vectors))
        scores, rows = index.search(_unit(held.queries), K)
        names = ids.take(pa.array(rows.reshape(-1)))
        numbers = pa.array(np.repeat(np.arange(len(rows)), K))
        space = pa.array([NAMESPACE] * len(names))
        pq.write_table(
            pa.table([numbers, space, names, scores.reshape(-1)], ["query", "namespace", "id", "score"]), path
        )
    assert len(pq.read_table(path)) == K * len(held.queries)
    path.unlink()


def _read(files: list[Path]) -> tuple[pa.Array, Vectors]:
    table = pa.concat_tables([pq.read_table(file, columns=["id", "vector"]) for file in files]).combine_chunks()
    [batch] = table.to_batches()
    return batch.column("id"), vectors_of(batch)


def _unit(vectors: Vectors) -> Vectors:
    copy = np.array(vectors, np.float32, order="C")
    faiss.normalize_L2(copy)
    return copy


def _names(ids: pa.Array, rows: "np.ndarray[tuple[int, int], np.dtype[np.int64]]") -> list[list[str]]:
    return np.array(ids.take(pa.array(rows.reshape(-1))).to_pylist(), object).reshape(rows.shape).tolist()


def _require(held: Staged, found: "list[list[str]] | np.ndarray[tuple[int, int], np.dtype[np.object_]]") -> None:
    """The nearest of a held-out record is itself."""
    _, rows = faiss.knn(_unit(held.queries), _unit(held.vectors), 1, metric=faiss.METRIC_INNER_PRODUCT)
    own = _names(held.ids, rows)
    assert [line[0] for line in found] == [line[0] for line in own]
