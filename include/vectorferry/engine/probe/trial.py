"""Trial: a probe record is written, read back, counted, listed, searched, filtered by and deleted, and each wrong answer is named."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from vectorferry.core.errors import FilterError, RetryableError, StoreError, Unauthorized
from vectorferry.core.filters import Filter
from vectorferry.core.model import CollectionInfo, Metric, VectorKind, VectorSpec
from vectorferry.core.records import vectors_of
from vectorferry.core.similarity import SparseRows, dense_scores, multi_scores
from vectorferry.core.vector_columns import column_name, values_of
from vectorferry.engine.probe.answers import miscount, misread
from vectorferry.engine.probe.record import Probe, fitting
from vectorferry.stores.base import VectorStore

_LOOK_AGAIN = 0.1
_INDEXED = 30.0
"""Seconds for which a probe record may wait for an index that is built later; of one that waits longer no search is judged."""
_NEAREST, _MATCHING = 10, 1_000
_MARGIN = 0.05
"""What a score may be off, as a share: an index may round, and nobody orders by the probe."""


def refusal(store: VectorStore, there: CollectionInfo, *, search: bool = False) -> str:
    """Why a collection takes no probe, or what it answers wrongly about it; empty where all is right. The probe is deleted in any case.

    It lies in the reserved namespace, or where the collection cannot hold that (it keeps UUIDs only, or has no namespaces), under a UUID
    of its own in a namespace that is there; where namespaces are kept without records, ours stays, empty. It is read back, compared, and
    gone once it is deleted; with `search` it is counted, listed, scanned, searched by each of its vectors and filtered by, too. Raises
    RetryableError. A collection that is to have no probe has told before what writing lacks (see `Capabilities.probes`).
    """
    if not store.capabilities.probes:
        return ""
    probe, reason = fitting(store, there)
    if probe is None:
        return f"it holds no probe record ({reason})"
    try:
        # Twice, for another migration may have its probe there at this moment, and delete it; what is wrong is so each time.
        return _tried(store, probe, there, search=search) and _tried(store, probe, there, search=search)
    except RetryableError:
        raise
    except Unauthorized as error:
        return f"the right to write is missing ({error})"
    except StoreError as error:
        return f"it takes no probe record ({error})"


def in_time(store: VectorStore, seen: Callable[[], bool]) -> bool:
    """Whether something is seen before the store says that it must be."""
    end = time.monotonic() + store.capabilities.visibility_delay
    while not seen():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def _tried(store: VectorStore, probe: Probe, there: CollectionInfo, *, search: bool) -> str:
    try:
        result = store.upsert(probe.batch)
        if result.rejected:
            return f"it refuses a probe record ({result.rejected[0].reason})"
        if not in_time(store, lambda: len(store.fetch(probe.namespace, [probe.id])) == 1):
            return "a probe record that it acknowledged cannot be read back"
        wrong = list(misread(store, probe.batch, "what was put", store.fetch(probe.namespace, [probe.id]), "a fetch"))
        if search:
            wrong += chain(_listed(store, probe), _searched_by_each(store, probe, there), _filtered(store, probe))
    finally:
        store.delete(probe.namespace, [probe.id])
    return "; ".join(dict.fromkeys([*wrong, *_left(store, probe, search=search)]))


def _listed(store: VectorStore, probe: Probe) -> Iterator[str]:
    if not probe.alone and not store.capabilities.lists_ranges:
        return  # its place cannot be listed without all that others have there
    span = probe.span(store)
    if not in_time(store, lambda: _ids(store, probe) == [probe.id]):
        yield f"it lists {_ids(store, probe)} in the place of a probe record"
    for batch in store.scan(span):
        yield from misread(store, probe.batch, "what was put", batch, "a scan")
    if not in_time(store, lambda: sum(map(len, store.scan(span))) == 1):
        yield "a scan does not give a probe record once"
    if probe.alone and (wrong := miscount(store, probe.namespace)):
        yield wrong


def _ids(store: VectorStore, probe: Probe) -> Sequence[str]:
    return list(chain.from_iterable(store.list_ids(probe.span(store))))


def _searched_by_each(store: VectorStore, probe: Probe, there: CollectionInfo) -> Iterator[str]:
    """By each vector that is searched, as recall will be measured: an index that is not there is told now."""
    able = store.capabilities
    if not able.searches:
        return
    if _by_dense(store, probe):
        spec = VectorSpec("", VectorKind.DENSE, there.dimension, there.metric)
        yield from _searched(store, probe, spec, vectors_of(probe.batch)[0])
    for name, spec in there.named.items():
        if spec.kind in able.searched_kinds and column_name(spec) in probe.batch.schema.names:
            (value,) = values_of(spec.kind, probe.batch.column(column_name(spec)))
            yield from _searched(store, probe, spec, value)
        elif spec.kind is VectorKind.DENSE:
            store.search(probe.namespace, np.ones((1, spec.dimension or 1), np.float32), 1, vector=name)


def _searched(store: VectorStore, probe: Probe, spec: VectorSpec, value: Any) -> Iterator[str]:
    able = store.capabilities
    end = time.monotonic() + max(able.visibility_delay, _INDEXED if able.indexes_later else 0.0)
    while True:
        pending = store.pending_index()
        wrong = _wrong_nearest(store, probe, spec, value)
        if wrong and time.monotonic() <= end:
            time.sleep(_LOOK_AGAIN)
            continue
        if wrong and not pending:
            yield wrong
        return


def _wrong_nearest(store: VectorStore, probe: Probe, spec: VectorSpec, value: Any) -> str:
    """What is wrong with the answer to a search by the probe's own vector; where others lie, they may be as near."""
    expected, scale = _own_score(spec, value)
    queries = np.asarray(value)[np.newaxis] if spec.kind is VectorKind.DENSE else [value]
    found = store.search(probe.namespace, queries, _NEAREST, vector=spec.name)
    scores = dict(zip(found.ids[0], found.scores[0], strict=True))
    by = f"a search by {spec.name!r}" if spec.name else "a search"
    nearest = scores.get(probe.id, None if probe.alone else max(scores.values(), default=None))
    if nearest is None:
        return f"{by} does not find a probe record by its own vector"
    if not abs(nearest - expected) <= _MARGIN * scale:
        return f"{by} gives a probe record the score {nearest:.6g}, and it is {expected:.6g}"
    return ""


def _own_score(spec: VectorSpec, value: Any) -> tuple[float, float]:
    """The score of a vector to itself, and the size of what an index may be off by a share of."""
    if spec.kind is VectorKind.SPARSE:
        score = float(SparseRows([value]).scores(value)[0])
        return score, score
    rows = np.atleast_2d(np.asarray(value, np.float32))
    score = float(multi_scores(spec.metric, rows, [rows])[0])
    size = float(dense_scores(Metric.DOT, rows, rows).max()) * len(rows)
    return score, float(len(rows)) if spec.metric is Metric.COSINE else size


def _filtered(store: VectorStore, probe: Probe) -> Iterator[str]:
    for where, passes in probe.filters():
        matched = partial(_matched, store, probe, where, passes)
        try:
            if not in_time(store, matched):
                told = "does not find" if passes else "for others finds"
                yield f"a filter by {', '.join(probe.metadata)} {told} a probe record"
        except FilterError:
            return  # the store says that it cannot, which the checks of filters take into account


def _matched(store: VectorStore, probe: Probe, where: Filter, passes: bool) -> bool:
    return (probe.id in store.matching(probe.namespace, where, _MATCHING)) is passes


def _left(store: VectorStore, probe: Probe, *, search: bool) -> Iterator[str]:
    """What is still there of a probe record that was deleted."""
    if not in_time(store, lambda: not len(store.fetch(probe.namespace, [probe.id]))):
        yield "a probe record that was deleted is still read"
    if not search or not (probe.alone or store.capabilities.lists_ranges):
        return
    if not in_time(store, lambda: not _ids(store, probe)):
        yield "a probe record that was deleted is still listed"
    if probe.alone and (wrong := miscount(store, probe.namespace)):
        yield f"after its deletion {wrong}"
    if not in_time(store, lambda: not _found(store, probe)):
        yield "a probe record that was deleted is still found by a search"


def _found(store: VectorStore, probe: Probe) -> bool:
    """Whether a search finds the probe by its own vector without a name, where there is one that is searched."""
    if not _by_dense(store, probe):
        return False
    return probe.id in store.search(probe.namespace, vectors_of(probe.batch), _NEAREST).ids[0]


def _by_dense(store: VectorStore, probe: Probe) -> bool:
    able = store.capabilities
    return able.searches and VectorKind.DENSE in able.searched_kinds and not probe.batch.column("vector").null_count
