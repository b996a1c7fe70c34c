"""Recall of the target's index: what it returns against the exact neighbours, by partition, by namespace and overall."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import CheckFailed
from vectorferry.core.filters import Filter
from vectorferry.core.model import Difference, DifferenceKind, Neighbours, Partition, VectorKind, Verdict
from vectorferry.engine.checks.ground_truth import MERGED, SEARCHABLE, tie_margin
from vectorferry.engine.checks.index_ready import require_index
from vectorferry.engine.checks.intervals import Counts, Interval, clustered_interval, pooled_design_effect
from vectorferry.engine.checks.query_set import Queries, read_queries
from vectorferry.engine.checks.searched_vectors import SearchedVector, not_searched, searched_vectors, together
from vectorferry.engine.diff.row_diff import MOST_KEPT
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.touched import Touched
from vectorferry.engine.transfer.staged import planned_namespaces
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import chunks

RESULTS = "results/target.parquet"
_NOTE = "results/target.json"
_BATCH = 50
_SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("rank", pa.int32()),
        ("id", pa.string()),
        ("score", pa.float64()),
        ("milliseconds", pa.float64()),
    ]
)


def ask_target(session: Session, plan: Plan) -> None:
    """Ask the target's index every query and write what it returns; raises CheckFailed where the index is not complete."""
    require_index(session, plan)
    visible = session.target.count()
    for vector in searched_vectors(session, plan):
        staged = vector.folder(session.staged(plan))
        asked = read_queries(staged)
        staged.write_table(RESULTS, _SCHEMA, _answers(session, asked, vector, Touched(session, plan)))
        note = {"run": session.run_id, "queries": len(asked), "key": asked.key, "visible_rows": visible}
        staged.write_json(_NOTE, note)


def _answers(session: Session, asked: Queries, vector: SearchedVector, touched: Touched) -> Iterator[pa.RecordBatch]:
    done = 0
    for namespace, where, numbers in asked.groups():
        for part in chunks(numbers, _BATCH):
            yield _ask(session, asked, vector, namespace, where, part, touched)
            done += len(part)
            session.report(StepProgress("search", namespace, done, len(asked), unit="queries"))


def _ask(
    session: Session,
    asked: Queries,
    vector: SearchedVector,
    namespace: str,
    where: Filter | None,
    numbers: Sequence[int],
    touched: Touched,
) -> pa.RecordBatch:
    settings = session.spec.checks.recall
    # A held-out record finds itself first; one more is asked for, and it is left out.
    more = any(asked.own_ids[number] is not None for number in numbers)
    began = time.perf_counter()
    ask = partial(session.target.search, namespace, asked.of(numbers), where=where, vector=vector.spec.name)
    # Nothing but an index over dense vectors has an effort.
    effort = settings.effort if vector.spec.kind is VectorKind.DENSE else None
    width = settings.k + more
    found = ask(width, effort=effort)
    each = (time.perf_counter() - began) * 1000 / len(numbers)
    aside = touched.among(namespace, dict.fromkeys(chain.from_iterable(found.ids)))
    # Records that were written meanwhile take places: as many untouched ones are looked for behind them.
    while _crowded(found, aside, width, settings.k + more) and width < session.target.capabilities.max_top_k:
        width = min(4 * width, session.target.capabilities.max_top_k)
        found = ask(width, effort=effort)
        aside = touched.among(namespace, dict.fromkeys(chain.from_iterable(found.ids)))
    rows = []
    for number, ids, scores in zip(numbers, found.ids, found.scores, strict=True):
        out = aside | {asked.own_ids[number]}
        others = [pair for pair in zip(ids, scores, strict=True) if pair[0] not in out]
        rows += [(number, rank, id_, score, each) for rank, (id_, score) in enumerate(others[: settings.k])]
    return _batch(rows)


def _crowded(found: Neighbours, aside: frozenset[str], width: int, wanted: int) -> bool:
    """Whether a query has too few results left without the touched ones, and could have more."""
    return any(len(ids) >= width and sum(id_ not in aside for id_ in ids) < wanted for ids in found.ids)


def _batch(rows: Sequence[tuple[int, int, str, float, float]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One true neighbour of a query: where it ranks, where it lives, and whether the target returned it."""

    id: str
    rank: int
    partition: str
    returned: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """One query with its true neighbours, at most k of them; `set_aside` more were touched since the plan."""

    query: int
    namespace: str
    recorded: bool
    own_id: str | None
    neighbours: tuple[Neighbour, ...]
    set_aside: int = 0
    vector: str = ""

    @property
    def emptied(self) -> bool:
        """Whether all its neighbours were touched: it has nothing left to say."""
        return bool(self.set_aside) and not self.neighbours

    @property
    def hits(self) -> int:
        """True neighbours that were returned."""
        return sum(neighbour.returned for neighbour in self.neighbours)

    @property
    def share(self) -> float:
        """Recall of this query; 1.0 where it has no neighbours."""
        return self.hits / len(self.neighbours) if self.neighbours else 1.0


def judge(truth: Sequence[Mapping[str, Any]], returned: frozenset[str], k: int) -> tuple[Neighbour, ...]:
    """The k true neighbours of one query, from rows {id, rank, score, partition} ordered by rank.

    Of the rows that tie with the k-th, any may fill the last places: those that were returned are taken first.
    """
    if not truth:
        return ()
    last = truth[min(k, len(truth)) - 1]["score"]
    certain = [row for row in truth if row["score"] > last + tie_margin(last)]
    tied = [row for row in truth if row["score"] <= last + tie_margin(last)]
    tied.sort(key=lambda row: row["id"] not in returned)
    chosen = [*certain, *tied][:k]
    return tuple(Neighbour(row["id"], row["rank"], row["partition"], row["id"] in returned) for row in chosen)


def _judged(session: Session, plan: Plan, namespaces: Sequence[str], vector: SearchedVector) -> list[Judged]:
    staged, k = vector.folder(session.staged(plan)), session.spec.checks.recall.k
    asked = read_queries(staged)
    _refuse_stale(session, staged, asked)
    chosen = frozenset(namespaces)
    numbers = [number for number, name in enumerate(asked.namespaces) if name in chosen]
    truth = _by_query(staged, MERGED, ["query", "id", "rank", "score", "partition"], numbers)
    results = _by_query(staged, RESULTS, ["query", "id"], numbers)
    aside = _touched_truth(session, plan, asked, truth)
    judged = []
    for number in numbers:
        namespace = asked.namespaces[number]
        returned = frozenset(row["id"] for row in results.get(number, ()))
        # Of what is left each is among the k nearest still: the rows that left only made room.
        every = judge(truth.get(number, ()), returned, k)
        kept = tuple(n for n in every if (namespace, n.id) not in aside)
        own = asked.own_ids[number]
        shown = vector.column if vector.spec.name else ""
        judged.append(Judged(number, namespace, asked.recorded[number], own, kept, len(every) - len(kept), shown))
    return judged


def _touched_truth(
    session: Session, plan: Plan, asked: Queries, truth: Mapping[int, Sequence[Mapping[str, Any]]]
) -> frozenset[tuple[str, str]]:
    """Neighbours that were touched since the plan. They are asked about after the target was: what it was asked about is settled."""
    touched = Touched(session, plan)
    keys = {(asked.namespaces[number], row["id"]) for number, rows in truth.items() for row in rows}
    return frozenset(keys.difference(touched.without(sorted(keys)))) if touched.tracked else frozenset()


def _refuse_stale(session: Session, staged: Staging, asked: Queries) -> None:
    note = staged.read_json(_NOTE)
    if (note["run"], note["key"]) != (session.run_id, asked.key):
        raise CheckFailed(f"the target was last asked in run {note['run']}; ask it again in this one, {session.run_id}")


def _by_query(
    staged: Staging, path: str, columns: Sequence[str], numbers: Sequence[int]
) -> dict[int, list[Mapping[str, Any]]]:
    table = staged.read_table(path, columns)
    table = table.filter(pc.is_in(table.column("query"), pa.array(numbers, pa.int32())))
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    for row in table.to_pylist():
        grouped.setdefault(row["query"], []).append(row)
    return grouped


def recall_of_partition(session: Session, plan: Plan, partition: Partition) -> Verdict:
    """Share of the true neighbours that live in this partition and were returned, by the vector that did worst.

    Fails where the whole interval lies below the threshold. Whether there were enough queries is for the namespace's verdict to say.
    """
    vectors = searched_vectors(session, plan)
    return together([(each, _recall_here(session, plan, partition, each)) for each in vectors], _recall)


def _recall_here(session: Session, plan: Plan, partition: Partition, vector: SearchedVector) -> Verdict:
    settings = session.spec.checks.recall
    here = [
        (one, [n for n in one.neighbours if n.partition == partition.name])
        for one in _judged(session, plan, partition.namespaces, vector)
    ]
    here = [(one, neighbours) for one, neighbours in here if neighbours]
    total = sum(len(neighbours) for _, neighbours in here)
    figures: dict[str, Any] = {
        "neighbours": total,
        "queries": len(here),
        "k": settings.k,
        "threshold": settings.threshold,
    }
    if not total:
        reason = "no query has a true neighbour here: this partition was not measured by itself, its namespaces are"
        return Verdict("recall", partition.name, True, figures, reason=reason)
    hits = np.array([sum(n.returned for n in neighbours) for _, neighbours in here])
    interval = clustered_interval(hits, np.array([len(neighbours) for _, neighbours in here]), settings.confidence)
    missing = [_missed(one, n) for one, neighbours in here for n in neighbours if not n.returned]
    passed = interval.high >= settings.threshold
    reason = "" if passed else _too_low(interval, settings.threshold)
    shown = tuple(missing[:MOST_KEPT])
    return Verdict("recall", partition.name, passed, figures | _figures(interval), shown, len(missing), reason)


def recall_by_namespace(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """Recall of every namespace that the plan moves, and of all queries together (scope 'overall', last), by the vector that did worst.

    Passes where the interval's lower end reaches the threshold and enough queries were asked, by every vector that the target searches.
    """
    vectors = searched_vectors(session, plan)
    each = [_by_namespace(session, plan, vector) for vector in vectors]
    verdicts = [together(list(zip(vectors, scope, strict=True)), _recall) for scope in zip(*each, strict=True)]
    if left := not_searched(session, plan):
        verdicts[-1] = replace(verdicts[-1], figures={**verdicts[-1].figures, "not_searched": left})
    return tuple(verdicts)


def _recall(verdict: Verdict) -> float | None:
    return verdict.figures.get("recall")


def _by_namespace(session: Session, plan: Plan, vector: SearchedVector) -> tuple[Verdict, ...]:
    judged = _judged(session, plan, planned_namespaces(plan), vector)
    searchable: Mapping[str, int] = vector.folder(session.staged(plan)).read_json(SEARCHABLE)
    by_name: dict[str, list[Judged]] = {name: [] for name in planned_namespaces(plan)}
    for one in judged:
        by_name[one.namespace].append(one)
    effect = pooled_design_effect(_counts(group) for group in by_name.values())
    verdicts = [_namespace(session, name, by_name[name], searchable.get(name, 0), effect) for name in by_name]
    return (*verdicts, _overall(session, judged, verdicts, sum(searchable.values())))


def _namespace(session: Session, name: str, judged: Sequence[Judged], rows: int, effect: float) -> Verdict:
    scope, settings = f"namespace:{name}", session.spec.checks.recall
    if not rows:
        reason = "no record of this namespace has such a vector: there is nothing to search"
        return Verdict("recall", scope, True, {"rows": 0, "queries": 0}, reason=reason)
    useful = [one for one in judged if one.neighbours]
    emptied = [one for one in judged if one.emptied]
    required = max(min(settings.min_queries, rows) - len(emptied), 0)
    figures = {"rows": rows, "queries": len(useful), "required_queries": required} | _kinds(useful)
    figures |= _aside(judged)
    if not useful and emptied:
        reason = "every neighbour was touched since the plan: nothing is left to measure here"
        return Verdict("recall", scope, True, figures, reason=reason)
    if not useful:
        return Verdict("recall", scope, False, figures, reason=f"no query has a neighbour, {required} are required")
    return _decided(session, scope, useful, required, figures, _interval(session, judged, rows, effect))


def _interval(session: Session, judged: Sequence[Judged], rows: int, effect: float) -> Interval:
    hits, trials = _counts(judged)
    if _census(judged, rows):
        return Interval.point(float(hits.sum() / trials.sum()))
    return clustered_interval(hits, trials, session.spec.checks.recall.confidence, least_effect=effect)


def _census(judged: Sequence[Judged], rows: int) -> bool:
    """Whether every record was asked for its neighbours: then nothing is left to estimate. A lone record is its own query."""
    held_out = sum(not one.recorded and bool(one.neighbours or one.set_aside) for one in judged)
    return held_out >= rows


def _overall(session: Session, judged: Sequence[Judged], verdicts: Sequence[Verdict], rows: int) -> Verdict:
    useful = [one for one in judged if one.neighbours]
    required = min(session.spec.checks.recall.min_queries, max(rows, 1))
    figures: dict[str, Any] = {"rows": rows, "queries": len(useful), "required_queries": required} | _kinds(useful)
    figures |= _aside(judged)
    if not rows:
        return Verdict(
            "recall", "overall", True, figures, reason="no record has such a vector: there is nothing to search"
        )
    if not useful:
        return Verdict("recall", "overall", False, figures, reason="no query has a neighbour")
    measured = [verdict for verdict in verdicts if "low" in verdict.figures]
    worst = min(measured, key=lambda verdict: (verdict.figures["low"], verdict.figures["recall"]))
    figures |= {"worst_namespace": worst.scope.removeprefix("namespace:")}
    figures |= {f"worst_{name}": worst.figures[name] for name in ("recall", "low", "high")}
    return _decided(session, "overall", useful, required, figures, _interval(session, useful, rows, 1.0))


def _decided(
    session: Session,
    scope: str,
    judged: Sequence[Judged],
    required: int,
    figures: Mapping[str, Any],
    interval: Interval,
) -> Verdict:
    settings = session.spec.checks.recall
    worst = sorted((one for one in judged if one.share < 1.0), key=lambda one: (one.share, one.query))
    missing = [_missed(one, n) for one in worst for n in one.neighbours if not n.returned]
    shown = {"k": settings.k, "threshold": settings.threshold, "confidence": settings.confidence}
    if worst:
        shown |= {"worst_query": worst[0].query, "worst_query_recall": round(worst[0].share, 4)}
    reasons = []
    if len(judged) < required:
        reasons.append(f"{len(judged)} queries, {required} are required: the interval would not mean much")
    if interval.low < settings.threshold:
        reasons.append(_too_low(interval, settings.threshold))
    every = {**figures, **shown, **_figures(interval)}
    return Verdict("recall", scope, not reasons, every, tuple(missing[:MOST_KEPT]), len(missing), "; ".join(reasons))


def _too_low(interval: Interval, threshold: float) -> str:
    return f"recall {interval.share:.4f} [{interval.low:.4f}, {interval.high:.4f}] does not reach {threshold}"


def _figures(interval: Interval) -> dict[str, Any]:
    return {
        "recall": round(interval.share, 6),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
        "design_effect": round(interval.design_effect, 3),
        "census": interval.low == interval.high,
    }


def _counts(judged: Iterable[Judged]) -> tuple[Counts, Counts]:
    useful = [one for one in judged if one.neighbours]
    return np.array([one.hits for one in useful], np.int64), np.array([len(o.neighbours) for o in useful], np.int64)


def _aside(judged: Sequence[Judged]) -> dict[str, int]:
    aside = sum(one.set_aside for one in judged)
    return {"set_aside": aside} if aside else {}


def _kinds(judged: Sequence[Judged]) -> dict[str, Any]:
    """Recall of recorded and of held-out queries by themselves: one may hide the other in the mean."""
    figures: dict[str, Any] = {}
    for name, recorded in (("recorded", True), ("held_out", False)):
        hits, trials = _counts(one for one in judged if one.recorded is recorded)
        if len(trials):
            figures |= {f"{name}_queries": len(trials), f"{name}_recall": round(float(hits.sum() / trials.sum()), 6)}
    return figures


def _missed(one: Judged, neighbour: Neighbour) -> Difference:
    asked = f"query {one.query}" if one.own_id is None else f"query {one.query} (record {one.own_id})"
    asked = f"{asked} by {one.vector}" if one.vector else asked
    return Difference(
        DifferenceKind.RESULT, one.namespace, neighbour.id, asked, f"rank {neighbour.rank}", "not returned"
    )
