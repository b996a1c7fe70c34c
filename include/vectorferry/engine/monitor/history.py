"""History: what was measured of a migration over time, thinned out to what a chart can show."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from vectorferry.engine.monitor.detail import compared
from vectorferry.journal import Journal

History = Literal["latency", "backlog", "drift"]
MOST = 1_000
"""Points of one scope (a side, a cohort)."""


def history(journal: Journal, migration: str, kind: History, since: datetime) -> tuple[Mapping[str, Any], ...]:
    """Points with `at` and `scope`, oldest first: figures of samples, or of reconciliations that came to an end."""
    if kind == "drift":
        return _drift(journal, migration, since)
    found = sorted(journal.samples.of(migration, kind, since), key=lambda each: each.scope)
    thinned = [each for _, of in groupby(found, key=lambda each: each.scope) for each in _thin(list(of))]
    points = [{"at": each.at, "scope": each.scope, **each.figures} for each in thinned]
    return tuple(sorted(points, key=lambda point: point["at"]))


def _drift(journal: Journal, migration: str, since: datetime) -> tuple[Mapping[str, Any], ...]:
    runs = [compared(run) for run in journal.reconciliations.all(migration, MOST)]
    ended = [run for run in reversed(runs) if run.ended_at is not None and run.ended_at >= since]
    return tuple(
        {"at": run.ended_at, "scope": run.scope, "outcome": run.outcome, "repairs": run.repairs, "rows": run.rows}
        for run in ended
    )


def _thin(points: Sequence[Any]) -> Iterable[Any]:
    """Every n-th of them, and always the newest."""
    step = -(-len(points) // MOST)
    return points if step <= 1 else points[::-1][::step][::-1]
