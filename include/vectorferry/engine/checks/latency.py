"""Latency of single searches at a stated rate, sent by the clock whether or not earlier ones have been answered."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from vectorferry.core.errors import Unsupported
from vectorferry.core.model import Side, Verdict
from vectorferry.engine.checks.query_set import Queries
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors, together
from vectorferry.engine.checks.single_searches import asking, drawn
from vectorferry.engine.session import Session, StepProgress, budgeted_rate
from vectorferry.journal import Plan
from vectorferry.spec.limits import Budget
from vectorferry.stores.base import VectorStore

_WARM_UP = 5
_WORKERS = 16
_MOST_SECONDS_ON_SOURCE = 60.0
_UNSEARCHABLE: Mapping[str, Any] = {
    "not_measured": "the source keeps its vectors without an index, and refuses to be searched"
}
SPARE = 0.9  # of the budget: at the whole of it searches would queue behind the budget, not behind the database


def check_latency(session: Session, plan: Plan) -> tuple[Verdict, ...]:
    """The verdict 'latency': p50, p95 and p99 in milliseconds of the same searches on both sides, by the vector that was slowest.

    The source is asked only as far as its budget allows, and not at all where it cannot be searched. Fails where the
    target exceeds one of the budgets of `checks.latency`.
    A search that raises is no measurement: the error goes to the caller.
    """
    found = [(vector, _latency_of(session, plan, vector)) for vector in searched_vectors(session, plan)]
    return (together(found, _p95, largest=True),)


def _p95(verdict: Verdict) -> float | None:
    return verdict.figures["target"]["p95_ms"] if "target" in verdict.figures else None


def _latency_of(session: Session, plan: Plan, vector: SearchedVector) -> Verdict:
    settings = session.spec.checks.latency
    asked = drawn(session, plan, vector, settings.queries, "latency")
    if not len(asked):
        reason = "no record has such a vector: there was nothing to search"
        return Verdict("latency", "overall", not settings.budgets, {"queries": 0}, reason=reason)
    target = _measure(session, asked, vector, "target", settings.queries)
    able = session.source.capabilities
    searched = able.searches and vector.spec.kind in able.searched_kinds
    source = _of_source(session, asked, vector) if searched else _UNSEARCHABLE
    figures = {"queries": settings.queries, "rate": settings.rate, "target": target, "source": source}
    limits = {"max_p50_ms": settings.max_p50_ms, "max_p95_ms": settings.max_p95_ms, "max_p99_ms": settings.max_p99_ms}
    above = over_budget(target, settings.budgets)
    reason = "" if not above else f"the target's {above}"
    return Verdict("latency", "overall", not above, figures | limits, reason=reason)


def over_budget(measured: Mapping[str, Any], budgets: Mapping[str, float]) -> str:
    """Which figures are above their budget, and what the spec allows; empty where none is. Both by name, as in p99_ms."""
    return ", ".join(
        f"{figure.removesuffix('_ms')} is {measured[figure]} ms, the spec allows {most:g} ms"
        for figure, most in budgets.items()
        if measured[figure] > most
    )


def _of_source(session: Session, asked: Queries, vector: SearchedVector) -> Mapping[str, Any]:
    try:
        return _measure(session, asked, vector, "source", session.spec.checks.latency.queries)
    except Unsupported as error:  # which only the source's own schema tells of this one vector
        return {"not_measured": str(error)}


def _measure(session: Session, asked: Queries, vector: SearchedVector, side: Side, queries: int) -> dict[str, Any]:
    store, budget = session.store(side), getattr(session.spec.budgets, side)
    rate = within_budget(session.spec.checks.latency.rate, store, budget)
    if side == "source":
        queries = max(1, min(queries, int(rate * _MOST_SECONDS_ON_SOURCE)))
    ask = partial(asking(session, side, asked, vector).send, store)
    for number in range(_WARM_UP):
        ask(number)
    paced = store.usage.paced_seconds
    session.report(StepProgress("latency", side, 0, queries, f"{rate:g} searches/s"))
    seconds = at_rate([partial(ask, number) for number in range(queries)], rate)
    session.report(StepProgress("latency", side, queries, queries, unit="searches"))
    return {**percentiles(seconds), "queries": queries, "rate": round(rate, 3), **_queued(store, paced)}


def within_budget(wanted: float, store: VectorStore, budget: Budget) -> float:
    """The rate that is wanted, or the highest that leaves the budget some room; in requests per second."""
    allowed = budgeted_rate(budget, store.capabilities.reads_per_second)
    return wanted if allowed is None else min(wanted, allowed * SPARE)


def _queued(store: VectorStore, before: float) -> Mapping[str, float]:
    """Seconds that searches waited for the budget, which is in the figures but is not the database's doing."""
    waited = store.usage.paced_seconds - before
    return {"paced_seconds": round(waited, 3)} if waited > 0 else {}


def at_rate(requests: Sequence[Callable[[], None]], rate: float, *, workers: int = _WORKERS) -> list[float]:
    """Send requests at `rate` a second; returns the seconds from when each was due to its answer.

    A slow answer does not put off the next request, so a stall shows in every request that fell due during it.
    """
    began = time.perf_counter()

    def one(place: int) -> float:
        due = began + place / rate
        requests[place]()
        return time.perf_counter() - due

    with ThreadPoolExecutor(workers) as pool:
        futures = []
        for place in range(len(requests)):
            time.sleep(max(0.0, began + place / rate - time.perf_counter()))
            futures.append(pool.submit(one, place))
        return [future.result() for future in futures]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the longest, in milliseconds."""
    values = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99, 100])
    return {
        name: round(float(value), 3)
        for name, value in zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), values, strict=True)
    }
