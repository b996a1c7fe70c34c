"""Recall of the target's index: what it returns against the exact neighbours, by partition, by namespace and overall."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vectorferry.core.model import Partition, Verdict
from vectorferry.engine.checks.ground_truth import SEARCHABLE
from vectorferry.engine.checks.intervals import Interval, clustered_interval, pooled_design_effect
from vectorferry.engine.checks.judged_queries import Judged, judged_queries
from vectorferry.engine.checks.recall_tally import KindRecall, Tally
from vectorferry.engine.checks.searched_vectors import SearchedVector, not_searched, searched_vectors, together
from vectorferry.engine.diff.row_diff import MOST_KEPT
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.staged import planned_namespaces
from vectorferry.journal import Plan
from vectorferry.spec.check_rules import RecallCheck

_MOST_NAMED, _LEAST_KEPT = 20_000, 5  # neighbours that the verdicts of all namespaces name, and those of one


def recall_of_partition(session: Session, plan: Plan, partition: Partition) -> Verdict:
    """Share of the true neighbours that live in this partition and were returned, by the vector that did worst.

    Fails where the whole interval lies below the threshold. Whether there were enough queries is for the namespace's verdict to say.
    """
    vectors = searched_vectors(session, plan)
    return together([(each, _recall_here(session, plan, partition, each)) for each in vectors], _recall)


def _recall_here(session: Session, plan: Plan, partition: Partition, vector: SearchedVector) -> Verdict:
    settings = session.spec.checks.recall
    found = Tally.of(
        replace(one, neighbours=here)
        for judged in judged_queries(session, plan, partition.namespaces, vector)
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
    Over all, no kind of query with enough of them may lie below the threshold with its whole interval.
    """
    vectors = searched_vectors(session, plan)
    each = [_by_namespace(session, plan, vector) for vector in vectors]
    verdicts = [together(list(zip(vectors, scope, strict=True)), _recall) for scope in zip(*each, strict=True)]
    more: dict[str, Any] = {"not_searched": left} if (left := not_searched(session, plan)) else {}
    if len(vectors) > 1:
        overall = zip(vectors, (of_vector[-1] for of_vector in each), strict=True)
        more["by_vector"] = {
            vector.shown: _of_vector(verdict) for vector, verdict in overall if _recall(verdict) is not None
        }
    verdicts[-1] = replace(verdicts[-1], figures={**verdicts[-1].figures, **more})
    return tuple(verdicts)


def _of_vector(verdict: Verdict) -> dict[str, Any]:
    """What the verdict over all tells of each vector: queries, interval, and the same by kind."""
    return {name: verdict.figures[name] for name in ("queries", "recall", "low", "high", "by_kind")}


def _recall(verdict: Verdict) -> float | None:
    return verdict.figures.get("recall")


def _by_namespace(session: Session, plan: Plan, vector: SearchedVector) -> tuple[Verdict, ...]:
    names = planned_namespaces(plan)
    searchable: Mapping[str, int] = vector.folder(session.staged(plan)).read_json(SEARCHABLE)
    kept = max(_LEAST_KEPT, min(MOST_KEPT, _MOST_NAMED // max(1, len(names))))
    tallies = dict.fromkeys(names, Tally.of(()))
    for judged in judged_queries(session, plan, names, vector):
        by_name: dict[str, list[Judged]] = {}
        for one in judged:
            by_name.setdefault(one.namespace, []).append(one)
        tallies |= {name: Tally.of(mine, kept) for name, mine in by_name.items()}
    effect = pooled_design_effect((tally.hits, tally.trials) for tally in tallies.values())
    verdicts = [_namespace(session, name, tallies[name], searchable.get(name, 0), effect, kept) for name in names]
    return (*verdicts, _overall(session, Tally.all(tallies.values()), verdicts, sum(searchable.values())))


def _namespace(session: Session, name: str, found: Tally, rows: int, effect: float, kept: int) -> Verdict:
    scope, settings = f"namespace:{name}", session.spec.checks.recall
    if not rows:
        reason = "no record of this namespace has such a vector: there is nothing to search"
        return Verdict("recall", scope, True, {"rows": 0, "queries": 0}, reason=reason)
    required = max(min(settings.min_queries, rows) - found.emptied, 0)
    figures = {"rows": rows, "queries": len(found), "required_queries": required} | found.origins() | found.aside()
    if not len(found) and found.emptied:
        reason = "every neighbour was touched since the plan: nothing is left to measure here"
        return Verdict("recall", scope, True, figures, reason=reason)
    if not len(found):
        return Verdict("recall", scope, False, figures, reason=f"no query has a neighbour, {required} are required")
    return _decided(session, scope, found, required, figures, _interval(session, found, rows, effect), kept)


def _interval(session: Session, found: Tally, rows: int, effect: float) -> Interval:
    # Where every record was asked for its neighbours nothing is left to estimate. A lone record is its own query.
    if found.held_out >= rows:
        return Interval.point(float(found.hits.sum() / found.trials.sum()))
    return clustered_interval(found.hits, found.trials, session.spec.checks.recall.confidence, least_effect=effect)


def _overall(session: Session, found: Tally, verdicts: Sequence[Verdict], rows: int) -> Verdict:
    required = min(session.spec.checks.recall.min_queries, max(rows, 1))
    figures: dict[str, Any] = {"rows": rows, "queries": len(found), "required_queries": required}
    figures |= found.origins() | found.aside()
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
    found: Tally,
    required: int,
    figures: Mapping[str, Any],
    interval: Interval,
    kept: int,
) -> Verdict:
    settings = session.spec.checks.recall
    shown: dict[str, Any] = {"k": settings.k, "threshold": settings.threshold, "confidence": settings.confidence}
    if found.worst:
        shown |= {"worst_query": found.worst[0].query, "worst_query_recall": round(found.worst[0].share, 4)}
    reasons = []
    if len(found) < required:
        reasons.append(f"{len(found)} queries, {required} are required: the interval would not mean much")
    if interval.low < settings.threshold:
        reasons.append(_too_low(interval, settings.threshold))
    if scope == "overall" or kept == MOST_KEPT:  # of many namespaces each says less
        kinds = found.by_kind(settings.confidence)
        shown |= {"by_kind": {kind: each.figures for kind, each in kinds.items()}}
        if scope == "overall" and not reasons:
            reasons += _kinds_too_low(kinds, settings)
    every = {**figures, **shown, **_figures(interval)}
    return Verdict("recall", scope, not reasons, every, found.shown(kept), found.missed, "; ".join(reasons))


def _kinds_too_low(kinds: Mapping[str, KindRecall], settings: RecallCheck) -> Iterator[str]:
    """The worst kind of query, where its whole interval lies below the threshold: the mean of all kinds hides it."""
    low = {
        kind: each.interval
        for kind, each in kinds.items()
        if each.queries >= settings.min_queries and each.interval.high < settings.threshold
    }
    if low:
        worst = min(low, key=lambda kind: low[kind].high)
        yield f"of the queries of kind {worst!r} {_too_low(low[worst], settings.threshold)}"


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
