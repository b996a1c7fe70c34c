"""Latency probe: a few single searches on each side now and then, and what routers measured, kept as samples over time."""

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vectorferry.core.errors import StagingError, StoreError
from vectorferry.core.model import SIDES, Phase, Side
from vectorferry.engine.checks.latency import percentiles
from vectorferry.engine.checks.query_set import Queries
from vectorferry.engine.checks.searched_vectors import SearchedVector
from vectorferry.engine.checks.single_searches import asking, first_drawn
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.loaded import missing_loads
from vectorferry.journal import Latencies


def sample_latency(session: Session) -> Mapping[Side, str]:
    """Keep how fast each side answers searches now; returns why a side could not be asked.

    What routers measured since the last look stands for a side where there is as much of it; else the plan's queries are sent, one after
    the other, within the side's budget. Nothing is kept of a side that has nothing to search yet, or that is released.
    """
    problems: dict[Side, str] = {}
    for side in _searched(session):
        try:
            _sample(session, side)
        except (StoreError, StagingError) as error:
            problems[side] = str(error)
    return problems


def _searched(session: Session) -> tuple[Side, ...]:
    rows = session.journal.control.all(session.migration)
    plan = session.journal.plans.current(session.migration)
    if plan is None or missing_loads(session, plan):
        return ("source",)
    return ("target",) if all(row.phase is Phase.DONE for row in rows) else SIDES


def _sample(session: Session, side: Side) -> None:
    least = session.spec.notify.probes
    measured = _by_routers(session, side)
    figures = _told(measured) if measured.total >= max(1, least) else _probed(session, side, least)
    if figures:
        session.journal.samples.write(session.migration, "latency", side, figures)


def _by_routers(session: Session, side: Side) -> Latencies:
    every = session.spec.notify.watch_every
    since = datetime.now(UTC) - every
    before = session.journal.samples.of(session.migration, "latency", since, side)
    cohorts = [cohort.name for cohort in session.spec.cohorts]
    # What was in the last sample is not in the next one too.
    since = max((each.at for each in before), default=since)
    return session.journal.traffic.times(session.migration, cohorts, "search", side, since)


def _told(measured: Latencies) -> Mapping[str, Any]:
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
    figures = {name: measured.percentile(share) for name, share in shares.items()}
    return {**figures, "queries": measured.total, "from": "routers"}


def _probed(session: Session, side: Side, searches: int) -> Mapping[str, Any] | None:
    plan = session.journal.plans.current(session.migration)
    if plan is None or not searches:
        return None
    # Other ones at each look.
    found = first_drawn(session, plan, side, searches, f"probe {random.random()}")  # noqa: S311 (a sample)
    if found is None:
        return None
    asked, vector = found
    # The first search opens connections, and is not one that an application waits for.
    _timed(session, side, asked, vector, 0)
    seconds = [_timed(session, side, asked, vector, row) for row in range(len(asked))]
    return {**percentiles(seconds), "queries": len(seconds), "from": "probe"}


def _timed(session: Session, side: Side, asked: Queries, vector: SearchedVector, row: int) -> float:
    """Seconds of one search, without what it waited for the budget."""
    store = session.store(side)
    paced, began = store.usage.paced_seconds, time.perf_counter()
    asking(session, side, asked, vector).send(store, row)
    return time.perf_counter() - began - (store.usage.paced_seconds - paced)
