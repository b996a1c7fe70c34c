"""History: what was measured of a migration over time, thinned out to what a chart can show."""

from collections.abc import Mapping
from datetime import datetime
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
    return tuple(
        {"at": each.at, "scope": each.scope, **each.figures}
        for each in journal.samples.thinned(migration, kind, since, MOST)
    )


def _drift(journal: Journal, migration: str, since: datetime) -> tuple[Mapping[str, Any], ...]:
    runs = [compared(run) for run in journal.reconciliations.all(migration, MOST)]
    ended = [run for run in reversed(runs) if run.ended_at is not None and run.ended_at >= since]
    return tuple(
        {"at": run.ended_at, "scope": run.scope, "outcome": run.outcome, "repairs": run.repairs, "rows": run.rows}
        for run in ended
    )
