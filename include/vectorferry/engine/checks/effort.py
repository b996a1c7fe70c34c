"""Recall against search effort: what the target's index finds at each effort, how long a search takes then, and which would do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from vectorferry.core.filters import Filter
from vectorferry.core.model import Verdict
from vectorferry.engine.checks.deep_queries import NOT_DEEP, DeepQueries, effort_vector
from vectorferry.engine.checks.ground_truth import DEEP, DEPTH, SEARCHABLE
from vectorferry.engine.checks.intervals import Counts, clustered_interval, pooled_design_effect
from vectorferry.engine.checks.judged_queries import judge
from vectorferry.engine.checks.latency import percentiles
from vectorferry.engine.checks.query_set import Queries, read_queries
from vectorferry.engine.checks.search_past import search_past
from vectorferry.engine.checks.searched_vectors import SearchedVector, planned_names
from vectorferry.engine.session import Session, StepProgress, budgeted_rate
from vectorferry.engine.sync.touched import Touched
from vectorferry.journal import Plan
from vectorferry.staging import Staging

_KS = (1, 10, 100)
_LADDER = (16, 40, 100, 250, 640)  # efforts that are tried, each about 2.5 times the one before
_WARM_UP, _LEAST_QUERIES = 3, 10
_MOST_SECONDS = 60.0


def check_effort(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'effort': recall@k with its interval, p50 and p99, at efforts up to 640 and k of 1, 10, 100 and recall's own.

    Of a share of the queries, one after the other, by one `vector`; `not_measured` names all others.
    `proposed` is the least effort at which the interval's lower end reaches recall's
    threshold, at recall's k; `used` the one of the spec, None where that is left to the database. Decides nothing unless the spec says
    `required`. No verdict where the spec says `measure: false`.
    """
    settings = session.spec.checks
    if not settings.effort.measure:
        return ()
    curve, why_not = _curve(session, plan)
    proposed = _proposed(curve, settings.recall.k, settings.recall.threshold)
    reason = why_not or _reason(session, curve, proposed)
    vector = effort_vector(session, plan)
    measured_by = vector.shown if curve and vector else None
    others = [name for name in planned_names(plan) if name != measured_by]
    if curve and others:
        reason = "; ".join(filter(None, (reason, f"measured by {measured_by} alone, not by {', '.join(others)}")))
    figures = {
        "vector": measured_by,
        "not_measured": others,
        "curve": [point.figures for point in curve],
        "k": settings.recall.k,
        "threshold": settings.recall.threshold,
        "confidence": settings.recall.confidence,
        "used": settings.recall.effort,
        "proposed": proposed,
        "reason": reason,
    }
    passed = proposed is not None or not settings.effort.required
    return (Verdict("effort", "overall", passed, figures, reason=reason),)


@dataclass(frozen=True)
class _Point:
    """One effort at one k: hits and trials of each query, shape [n], and the seconds of its search."""

    k: int
    effort: int
    hits: Counts
    trials: Counts
    seconds: Sequence[float]
    confidence: float
    design_effect: float = 1.0

    @property
    def figures(self) -> dict[str, Any]:
        found = clustered_interval(self.hits, self.trials, self.confidence, least_effect=self.design_effect)
        times = percentiles(self.seconds)
        return {
            "k": self.k,
            "effort": self.effort,
            "recall": round(float(found.share), 6),
            "low": round(float(found.low), 6),
            "high": round(float(found.high), 6),
            "queries": len(self.trials),
            "p50_ms": times["p50_ms"],
            "p99_ms": times["p99_ms"],
        }


@dataclass(frozen=True)
class _Asked:
    """What is asked at each point: the queries with namespace and filter of each, and the rows of its true neighbours by its number."""

    vector: SearchedVector
    queries: Queries
    places: Sequence[tuple[str, Filter | None]]
    truth: Mapping[int, Sequence[Mapping[str, Any]]]
    touched: Touched


def _curve(session: Session, plan: Plan) -> tuple[list[_Point], str]:
    """The points, ordered by k and effort; or none, and why not."""
    efforts, vector = session.target.capabilities.efforts, effort_vector(session, plan)
    if efforts is None:
        setting = "what its collection is set to is used, and recall measures that"
        return [], f"{session.target.name} takes no effort per query: {setting}"
    if vector is None:
        wanted = session.spec.checks.effort.vector
        which = "no dense vector" if wanted is None else f"no dense vector {wanted!r}, which `effort.vector` names"
        return [], f"the target searches {which}: nothing else has an effort"
    staged = vector.folder(session.staged(plan))
    deep = _deep(staged)
    if not deep.numbers:
        return [], "no neighbours were found for it: no query has any, or this run began under other settings"
    asked = _asked(session, plan, staged, vector)
    ks = _ks(session, staged, deep.k)
    points = [(k, effort) for k in ks for effort in _efforts(session, k, efforts)]
    rows = _within_a_minute(session, asked, points)
    curve: list[_Point] = []
    for k in ks:
        of_k = []
        for effort in _efforts(session, k, efforts):
            of_k.append(_measured(session, asked, rows, k, effort))
            session.report(
                StepProgress("effort", f"k {k}, effort {effort}", len(curve) + len(of_k), len(points), unit="points")
            )
        curve += _with_one_effect(of_k)
    return [point for point in curve if point.trials.sum()], ""


def _deep(staged: Staging) -> DeepQueries:
    if not staged.exists(DEPTH):
        return NOT_DEEP  # merged by an earlier release
    found = staged.read_json(DEPTH)
    return DeepQueries(found["k"], frozenset(found["queries"]))


def _asked(session: Session, plan: Plan, staged: Staging, vector: SearchedVector) -> _Asked:
    truth: dict[int, list[Mapping[str, Any]]] = {}
    for row in staged.read_table(DEEP).to_pylist():
        truth.setdefault(row["query"], []).append(row)
    queries = read_queries(staged, pc.field("query").isin(sorted(truth)))
    return _Asked(vector, queries, list(_places(queries)), truth, Touched(session, plan))


def _ks(session: Session, staged: Staging, deepest: int) -> list[int]:
    """The k that are measured: those for which some namespace has more records, and recall's own in any case."""
    rows: int = max(staged.read_json(SEARCHABLE).values(), default=0)
    own = session.spec.checks.recall.k
    return sorted({k for k in _KS if k <= deepest and k < rows} | {own})


def _efforts(session: Session, k: int, able: tuple[int, int]) -> list[int]:
    """The efforts that are tried at a k, the spec's own among them; an index that looks at fewer than k cannot return k."""
    own = session.spec.checks.recall.effort
    least, most = max(able[0], k), able[1]
    return sorted({min(max(effort, least), most) for effort in (*_LADDER, *([own] if own else []))})


def _within_a_minute(session: Session, asked: _Asked, points: Sequence[tuple[int, int]]) -> list[int]:
    """The rows of the queries that are asked, spread over all: as many as a minute has time for, and the budget, but 10 in any case."""
    rate = budgeted_rate(session.spec.budgets.target, session.target.capabilities.reads_per_second)
    queries, (k, effort) = len(asked.queries), max(points)
    took = [_search(session, asked, row, k, effort)[2] for row in range(min(_WARM_UP, queries))]
    each = max(max(took, default=0.0), 1 / rate if rate else 0.0, 1e-6)
    most = min(queries, max(_LEAST_QUERIES, int(_MOST_SECONDS / each / len(points))))
    return [place * queries // most for place in range(most)]


def _measured(session: Session, asked: _Asked, rows: Sequence[int], k: int, effort: int) -> _Point:
    for row in rows[:_WARM_UP]:
        _search(session, asked, row, k, effort)
    found = [_search(session, asked, row, k, effort) for row in rows]
    hits, trials = (np.array([each[column] for each in found], np.int64) for column in (0, 1))
    return _Point(k, effort, hits, trials, [took for _, _, took in found], session.spec.checks.recall.confidence)


def _places(queries: Queries) -> Iterator[tuple[str, Filter | None]]:
    """Namespace and filter of each query."""
    found: dict[int, tuple[str, Filter | None]] = {}
    for namespace, where, rows in queries.groups():
        found |= dict.fromkeys(rows, (namespace, where))
    return (found[row] for row in range(len(queries)))


def _search(session: Session, asked: _Asked, row: int, k: int, effort: int) -> tuple[int, int, float]:
    """Hits, true neighbours and seconds of one query."""
    namespace, where = asked.places[row]
    number, own = asked.queries.numbers[row], asked.queries.own_ids[row]
    how: Mapping[str, Any] = {"where": where, "effort": effort, "vector": asked.vector.spec.name}
    past = search_past(session.target, asked.touched, namespace, asked.queries.of([row]), k + (own is not None), **how)
    returned = [id_ for id_ in past.found.ids[0] if id_ != own and id_ not in past.aside][:k]
    every = judge(asked.truth[number], frozenset(returned), k)
    # Asked about after the target was, as recall does.
    touched = asked.touched.among(namespace, [each.id for each in every])
    kept = [each for each in every if each.id not in touched]
    return sum(each.returned for each in kept), len(kept), past.seconds


def _with_one_effect(points: Sequence[_Point]) -> list[_Point]:
    """The points of one k: where an index finds all, its own misses do not tell how they cluster; those at other efforts do."""
    effect = pooled_design_effect((point.hits, point.trials) for point in points)
    return [replace(point, design_effect=effect) for point in points]


def _proposed(curve: Sequence[_Point], k: int, threshold: float) -> int | None:
    """The least effort that reaches the threshold, and beyond which none that was tried falls below it again."""
    found = None
    for point in reversed([point for point in curve if point.k == k]):
        if point.figures["low"] < threshold:
            break
        found = point.effort
    return found


def _reason(session: Session, curve: Sequence[_Point], proposed: int | None) -> str:
    settings = session.spec.checks.recall
    if proposed is None:
        tried = max((point.effort for point in curve if point.k == settings.k), default=0)
        return f"no effort up to {tried} reaches {settings.threshold} at k {settings.k} with the interval's lower end"
    return ""
