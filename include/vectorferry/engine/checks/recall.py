"""Recall of the target's index: what it returns against the exact neighbours, by partition, by namespace and overall."""

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import CheckFailed
from vectorferry.core.filters import Filter
from vectorferry.core.model import Difference, DifferenceKind, Neighbours, Partition, VectorKind, Verdict
from vectorferry.engine.checks.ground_truth import MERGED, SEARCHABLE, tie_margin
from vectorferry.engine.checks.index_ready import require_index
from vectorferry.engine.checks.intervals import Counts, Interval, clustered_interval, pooled_design_effect
from vectorferry.engine.checks.query_set import Queries, in_groups, query_note, query_windows
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
_MOST_NAMED, _LEAST_KEPT = 20_000, 5  # neighbours that the verdicts of all namespaces name, and those of one
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
        prepared = query_note(staged)
        staged.write_table(RESULTS, _SCHEMA, in_groups(_answers(session, plan, vector, prepared.queries)))
        staged.write_json(
            _NOTE, {"run": session.run_id, "queries": prepared.queries, "key": prepared.key} | {"visible_rows": visible}
        )


def _answers(session: Session, plan: Plan, vector: SearchedVector, total: int) -> Iterator[pa.RecordBatch]:
    staged, touched, done = vector.folder(session.staged(plan)), Touched(session, plan), 0
    for asked in query_windows(session, staged, planned_namespaces(plan)):
        for namespace, where, rows in asked.groups():
            for part in chunks(rows, _BATCH):
                yield _ask(session, asked, vector, namespace, where, part, touched)
                done += len(part)
                session.report(StepProgress("search", namespace, done, total, unit="queries"))


def _ask(
    session: Session,
    asked: Queries,
    vector: SearchedVector,
    namespace: str,
    where: Filter | None,
    rows: Sequence[int],
    touched: Touched,
) -> pa.RecordBatch:
    settings = session.spec.checks.recall
    # A held-out record finds itself first; one more is asked for, and it is left out.
    more = any(asked.own_ids[row] is not None for row in rows)
    began = time.perf_counter()
    ask = partial(session.target.search, namespace, asked.of(rows), where=where, vector=vector.spec.name)
    # Nothing but an index over dense vectors has an effort.
    effort = settings.effort if vector.spec.kind is VectorKind.DENSE else None
    width = settings.k + more
    found = ask(width, effort=effort)
    each = (time.perf_counter() - began) * 1000 / len(rows)
    aside = touched.among(namespace, dict.fromkeys(chain.from_iterable(found.ids)))
    # Records that were written meanwhile take places: as many untouched ones are looked for behind them.
    while _crowded(found, aside, width, settings.k + more) and width < session.target.capabilities.max_top_k:
        width = min(4 * width, session.target.capabilities.max_top_k)
        found = ask(width, effort=effort)
        aside = touched.among(namespace, dict.fromkeys(chain.from_iterable(found.ids)))
    answers = []
    for row, ids, scores in zip(rows, found.ids, found.scores, strict=True):
        out = aside | {asked.own_ids[row]}
        others = [pair for pair in zip(ids, scores, strict=True) if pair[0] not in out]
        answers += [
            (asked.numbers[row], rank, id_, score, each) for rank, (id_, score) in enumerate(others[: settings.k])
        ]
    return _batch(answers)


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


@dataclass(frozen=True, slots=True)
class _Lossy:
    """A query that did not get all of its neighbours: its recall, and the first that it missed."""

    query: int
    share: float
    missed: tuple[Difference, ...]

    @classmethod
    def of(cls, one: Judged, most: int) -> "_Lossy":
        lost = islice((n for n in one.neighbours if not n.returned), most)
        return cls(one.query, one.share, tuple(_missed(one, n) for n in lost))


_Flags = npt.NDArray[np.bool_]
_Q = TypeVar("_Q", Judged, _Lossy)


@dataclass(frozen=True)
class _Tally:
    """What is kept of many judged queries: of those with neighbours, shape [n], hits, trials and whether each was recorded.

    `worst` are the queries that missed most, worst first, and `missed` counts all neighbours that were missed.
    `held_out` counts the held-out queries that had neighbours, `emptied` those all of whose neighbours were touched, `set_aside` these.
    """

    hits: Counts
    trials: Counts
    recorded: _Flags
    worst: tuple[_Lossy, ...]
    missed: int
    held_out: int
    emptied: int
    set_aside: int

    @classmethod
    def of(cls, judged: Iterable[Judged], kept: int = MOST_KEPT) -> "_Tally":
        """Counted one by one, so that no more than `kept` of the queries, and of the neighbours that they missed, stay in memory."""
        counts: list[tuple[int, int, bool]] = []
        worst: list[Judged] = []
        missed = held_out = emptied = set_aside = 0
        for one in judged:
            set_aside += one.set_aside
            emptied += one.emptied
            held_out += not one.recorded and bool(one.neighbours or one.set_aside)
            if one.neighbours:
                counts.append((one.hits, len(one.neighbours), one.recorded))
            if lost := len(one.neighbours) - one.hits:
                missed += lost
                worst.append(one)
                worst = _worst(worst, kept) if len(worst) > 2 * kept else worst
        columns = np.array(counts, np.int64).reshape(-1, 3)
        named = tuple(_Lossy.of(one, kept) for one in _worst(worst, kept))
        return cls(columns[:, 0], columns[:, 1], columns[:, 2] > 0, named, missed, held_out, emptied, set_aside)

    @classmethod
    def all(cls, tallies: Iterable["_Tally"]) -> "_Tally":
        """Of all queries together."""
        every = list(tallies)
        return cls(
            np.concatenate([each.hits for each in every]),
            np.concatenate([each.trials for each in every]),
            np.concatenate([each.recorded for each in every]),
            tuple(_worst(chain.from_iterable(each.worst for each in every), MOST_KEPT)),
            sum(each.missed for each in every),
            sum(each.held_out for each in every),
            sum(each.emptied for each in every),
            sum(each.set_aside for each in every),
        )

    def __len__(self) -> int:
        return len(self.trials)

    def shown(self, most: int) -> tuple[Difference, ...]:
        """The first neighbours that were missed, those of the worst query first."""
        return tuple(islice(chain.from_iterable(one.missed for one in self.worst), most))

    def aside(self) -> dict[str, int]:
        """How many neighbours were touched, where any was."""
        return {"set_aside": self.set_aside} if self.set_aside else {}

    def kinds(self) -> dict[str, Any]:
        """Recall of recorded and of held-out queries by themselves: one may hide the other in the mean."""
        figures: dict[str, Any] = {}
        for name, chosen in (("recorded", self.recorded), ("held_out", ~self.recorded)):
            if chosen.any():
                share = float(self.hits[chosen].sum() / self.trials[chosen].sum())
                figures |= {f"{name}_queries": int(chosen.sum()), f"{name}_recall": round(share, 6)}
        return figures


def _worst(judged: Iterable[_Q], most: int) -> list[_Q]:
    return heapq.nsmallest(most, judged, key=lambda one: (one.share, one.query))


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


def _judged(session: Session, plan: Plan, namespaces: Sequence[str], vector: SearchedVector) -> Iterator[list[Judged]]:
    """All queries of these namespaces, judged a few namespaces at a time; those of one namespace come together."""
    staged = vector.folder(session.staged(plan))
    _refuse_stale(session, staged)
    touched = Touched(session, plan)
    for asked in query_windows(session, staged, list(dict.fromkeys(namespaces)), vectors=False):
        yield _judged_window(session, staged, asked, touched, vector)


def _judged_window(
    session: Session, staged: Staging, asked: Queries, touched: Touched, vector: SearchedVector
) -> list[Judged]:
    truth = _by_query(staged, MERGED, ["query", "id", "rank", "score", "partition"], asked)
    results = _by_query(staged, RESULTS, ["query", "id"], asked)
    aside = _touched_truth(touched, asked, truth)
    judged = []
    for row, number in enumerate(asked.numbers):
        namespace = asked.namespaces[row]
        returned = frozenset(found["id"] for found in results.get(number, ()))
        # Of what is left each is among the k nearest still: the rows that left only made room.
        every = judge(truth.get(number, ()), returned, session.spec.checks.recall.k)
        kept = tuple(n for n in every if (namespace, n.id) not in aside)
        own, left = asked.own_ids[row], len(every) - len(kept)
        shown = vector.column if vector.spec.name else ""
        judged.append(Judged(number, namespace, asked.recorded[row], own, kept, left, shown))
    return judged


def _touched_truth(
    touched: Touched, asked: Queries, truth: Mapping[int, Sequence[Mapping[str, Any]]]
) -> frozenset[tuple[str, str]]:
    """Neighbours that were touched since the plan. They are asked about after the target was: what it was asked about is settled."""
    if not touched.tracked:
        return frozenset()
    keys = {
        (namespace, row["id"])
        for namespace, number in zip(asked.namespaces, asked.numbers, strict=True)
        for row in truth.get(number, ())
    }
    return frozenset(keys.difference(touched.without(sorted(keys))))


def _refuse_stale(session: Session, staged: Staging) -> None:
    note = staged.read_json(_NOTE)
    if (note["run"], note["key"]) != (session.run_id, query_note(staged).key):
        raise CheckFailed(f"the target was last asked in run {note['run']}; ask it again in this one, {session.run_id}")


def _by_query(staged: Staging, path: str, columns: Sequence[str], asked: Queries) -> dict[int, list[Mapping[str, Any]]]:
    """Rows of the queries that were asked, by their numbers; row groups without any are not read."""
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    # Recorded queries have the first numbers, held-out ones follow: together they would span what lies between them.
    for recorded in (True, False):
        numbers = [
            number for number, is_recorded in zip(asked.numbers, asked.recorded, strict=True) if is_recorded is recorded
        ]
        if numbers:
            query = pc.field("query")
            mine = query.isin(numbers) & (query >= min(numbers)) & (query <= max(numbers))
            for row in staged.read_table(path, columns, mine).to_pylist():
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
    found = _Tally.of(
        replace(one, neighbours=here)
        for judged in _judged(session, plan, partition.namespaces, vector)
        for one in judged
        if (here := tuple(n for n in one.neighbours if n.partition == partition.name))
    )
    total = int(found.trials.sum())
    figures: dict[str, Any] = {
        "neighbours": total,
        "queries": len(found.trials),
        "k": settings.k,
        "threshold": settings.threshold,
    }
    if not total:
        reason = "no query has a true neighbour here: this partition was not measured by itself, its namespaces are"
        return Verdict("recall", partition.name, True, figures, reason=reason)
    interval = clustered_interval(found.hits, found.trials, settings.confidence)
    passed = interval.high >= settings.threshold
    reason = "" if passed else _too_low(interval, settings.threshold)
    return Verdict(
        "recall", partition.name, passed, figures | _figures(interval), found.shown(MOST_KEPT), found.missed, reason
    )


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
    names = planned_namespaces(plan)
    searchable: Mapping[str, int] = vector.folder(session.staged(plan)).read_json(SEARCHABLE)
    kept = max(_LEAST_KEPT, min(MOST_KEPT, _MOST_NAMED // max(1, len(names))))
    tallies = dict.fromkeys(names, _Tally.of(()))
    for judged in _judged(session, plan, names, vector):
        by_name: dict[str, list[Judged]] = {}
        for one in judged:
            by_name.setdefault(one.namespace, []).append(one)
        tallies |= {name: _Tally.of(mine, kept) for name, mine in by_name.items()}
    effect = pooled_design_effect((tally.hits, tally.trials) for tally in tallies.values())
    verdicts = [_namespace(session, name, tallies[name], searchable.get(name, 0), effect, kept) for name in names]
    return (*verdicts, _overall(session, _Tally.all(tallies.values()), verdicts, sum(searchable.values())))


def _namespace(session: Session, name: str, found: _Tally, rows: int, effect: float, kept: int) -> Verdict:
    scope, settings = f"namespace:{name}", session.spec.checks.recall
    if not rows:
        reason = "no record of this namespace has such a vector: there is nothing to search"
        return Verdict("recall", scope, True, {"rows": 0, "queries": 0}, reason=reason)
    required = max(min(settings.min_queries, rows) - found.emptied, 0)
    figures = {"rows": rows, "queries": len(found), "required_queries": required} | found.kinds() | found.aside()
    if not len(found) and found.emptied:
        reason = "every neighbour was touched since the plan: nothing is left to measure here"
        return Verdict("recall", scope, True, figures, reason=reason)
    if not len(found):
        return Verdict("recall", scope, False, figures, reason=f"no query has a neighbour, {required} are required")
    return _decided(session, scope, found, required, figures, _interval(session, found, rows, effect), kept)


def _interval(session: Session, found: _Tally, rows: int, effect: float) -> Interval:
    # Where every record was asked for its neighbours nothing is left to estimate. A lone record is its own query.
    if found.held_out >= rows:
        return Interval.point(float(found.hits.sum() / found.trials.sum()))
    return clustered_interval(found.hits, found.trials, session.spec.checks.recall.confidence, least_effect=effect)


def _overall(session: Session, found: _Tally, verdicts: Sequence[Verdict], rows: int) -> Verdict:
    required = min(session.spec.checks.recall.min_queries, max(rows, 1))
    figures: dict[str, Any] = {"rows": rows, "queries": len(found), "required_queries": required}
    figures |= found.kinds() | found.aside()
    if not rows:
        return Verdict(
            "recall", "overall", True, figures, reason="no record has such a vector: there is nothing to search"
        )
    if not len(found):
        return Verdict("recall", "overall", False, figures, reason="no query has a neighbour")
    measured = [verdict for verdict in verdicts if "low" in verdict.figures]
    worst = min(measured, key=lambda verdict: (verdict.figures["low"], verdict.figures["recall"]))
    figures |= {"worst_namespace": worst.scope.removeprefix("namespace:")}
    figures |= {f"worst_{name}": worst.figures[name] for name in ("recall", "low", "high")}
    return _decided(session, "overall", found, required, figures, _interval(session, found, rows, 1.0), MOST_KEPT)


def _decided(
    session: Session,
    scope: str,
    found: _Tally,
    required: int,
    figures: Mapping[str, Any],
    interval: Interval,
    kept: int,
) -> Verdict:
    settings = session.spec.checks.recall
    shown = {"k": settings.k, "threshold": settings.threshold, "confidence": settings.confidence}
    if found.worst:
        shown |= {"worst_query": found.worst[0].query, "worst_query_recall": round(found.worst[0].share, 4)}
    reasons = []
    if len(found) < required:
        reasons.append(f"{len(found)} queries, {required} are required: the interval would not mean much")
    if interval.low < settings.threshold:
        reasons.append(_too_low(interval, settings.threshold))
    every = {**figures, **shown, **_figures(interval)}
    return Verdict("recall", scope, not reasons, every, found.shown(kept), found.missed, "; ".join(reasons))


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


def _missed(one: Judged, neighbour: Neighbour) -> Difference:
    asked = f"query {one.query}" if one.own_id is None else f"query {one.query} (record {one.own_id})"
    asked = f"{asked} by {one.vector}" if one.vector else asked
    return Difference(
        DifferenceKind.RESULT, one.namespace, neighbour.id, asked, f"rank {neighbour.rank}", "not returned"
    )
