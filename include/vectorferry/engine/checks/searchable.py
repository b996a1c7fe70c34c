"""Searchable check: stored records that no search returns, not even one by their own vector.

Weaviate stores a put whose client went away without its index, now and then, and takes the same put again for done: such a record is
read, listed and counted like any other, and answers no question.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import GateError
from vectorferry.core.model import KeyRange, Metric, Neighbours, Side, Vectors
from vectorferry.core.records import keys_of, vectors_of
from vectorferry.engine.checks.exact_search import exact_scores
from vectorferry.engine.checks.ground_truth import tie_margin
from vectorferry.engine.diff.sampling import Sample
from vectorferry.engine.scope import scope_now
from vectorferry.engine.session import Session, StepProgress
from vectorferry.stores.base import VectorStore

STEP = "searchable"
_NEAR, _FAR = 10, 1_000
_BATCH_ROWS = 200


@dataclass(frozen=True, slots=True)
class SelfSearch:
    """What came of it: `unsearchable` are the (namespace, id) of those of the `looked_at` records that no search returned.

    Of `undecided` ones nothing is said: so many others are nearer, or as near, that they may be behind them.
    """

    store: str
    looked_at: int
    unsearchable: tuple[tuple[str, str], ...]
    undecided: int


def search_each(session: Session, side: Side, sample: Sample) -> SelfSearch:
    """Search the sampled records of one side by their own vectors; those without one, or of zeros, are not looked at.

    Raises GateError where the database has no index, or is still building it.
    """
    store = session.store(side)
    if not store.capabilities.searches:
        raise GateError(f"{store.name} keeps its vectors without an index, and refuses to be searched")
    if pending := store.pending_index():
        raise GateError(f"{store.name} is still indexing {pending:,} vectors: look again once it is done")
    info = store.describe()
    looked_at, undecided, lost = 0, 0, list[tuple[str, str]]()
    for namespace in (name for name in scope_now(session) if name in info.namespaces):
        for batch in _drawn(store, namespace, sample):
            missed = batch.take(pa.array(_missed(store, batch), pa.int64()))
            certain, unsure = _missed_far_off(store, missed, info.metric)
            looked_at, undecided = looked_at + len(batch), undecided + unsure
            lost += keys_of(missed.take(pa.array(certain, pa.int64())))
            session.report(StepProgress(STEP, namespace or "(default)", looked_at))
    return SelfSearch(store.name, looked_at, tuple(lost), undecided)


def _drawn(store: VectorStore, namespace: str, sample: Sample) -> Iterator[pa.RecordBatch]:
    for batch in store.scan(KeyRange(namespace), batch_rows=_BATCH_ROWS):
        there = batch.filter(batch.column("vector").is_valid())
        if not len(there):
            continue
        wanted = [
            bool(np.any(vector)) and sample.contains(*key)
            for vector, key in zip(vectors_of(there), keys_of(there), strict=True)
        ]
        if any(wanted):
            yield there.filter(pa.array(wanted, pa.bool_()))


def _missed(store: VectorStore, batch: pa.RecordBatch) -> list[int]:
    """Rows that are not among their own nearest neighbours: nearly always none."""
    found = _nearest(store, batch, _NEAR)
    ids = batch.column("id").to_pylist()
    return [row for row, id_ in enumerate(ids) if id_ not in found.ids[row]]


def _missed_far_off(store: VectorStore, batch: pa.RecordBatch, metric: Metric) -> tuple[list[int], int]:
    """Rows that are not among many more neighbours either, though the last of these is farther away, or all there are came.

    And how many others are not among them.
    """
    if not len(batch):
        return [], 0
    found = _nearest(store, batch, _FAR)
    own = _own_scores(vectors_of(batch), metric)
    certain, unsure = list[int](), 0
    for row, id_ in enumerate(batch.column("id").to_pylist()):
        ids, scores = found.ids[row], found.scores[row]
        beyond = len(ids) < min(_FAR, store.capabilities.max_top_k) or own[row] > scores[-1] + tie_margin(scores[-1])
        if id_ not in ids and beyond:
            certain.append(row)
        elif id_ not in ids:
            unsure += 1
    return certain, unsure


def _nearest(store: VectorStore, batch: pa.RecordBatch, k: int) -> Neighbours:
    namespace = batch.column("namespace")[0].as_py()
    return store.search(namespace, vectors_of(batch), min(k, store.capabilities.max_top_k))


def _own_scores(vectors: Vectors, metric: Metric) -> Sequence[float]:
    """The score of each vector with itself; of a cosine it is 1, whatever the length."""
    if metric is Metric.COSINE:
        return [1.0] * len(vectors)
    return list(map(float, exact_scores(vectors, vectors, metric)))
