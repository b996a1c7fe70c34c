"""Drift alerts: drift that was found, reconciliations that were refused, comparisons that are overdue."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from vectorferry.engine.reconcile.summary import kinds_of
from vectorferry.journal import ControlRow, Journal, Outcome, Reconciliation
from vectorferry.journal.reconciliations import REPAIRED
from vectorferry.spec.migration import MigrationSpec

# What was found is told of the runs of this time; an older one is history.
_LATELY = timedelta(days=1)
_ENDED = (Outcome.EQUAL, Outcome.DRIFT, Outcome.REPAIRED, Outcome.PAUSED)


def drift_alerts(
    journal: Journal, spec: MigrationSpec, rows: tuple[ControlRow, ...], now: datetime
) -> Iterator[tuple[str, str]]:
    """Keys and texts of what should be known now."""
    if not rows or not all(row.loaded and row.phase.tracks for row in rows):
        return
    runs = journal.reconciliations.all(spec.migration)
    yield from _died(spec, runs)
    for run in runs:
        if run.ended_at is not None and now - run.ended_at < _LATELY:
            yield from _found(spec, run)
    yield from _overdue(journal, spec, rows, now)


def _found(spec: MigrationSpec, run: Reconciliation) -> Iterator[tuple[str, str]]:
    figures = run.figures or {}
    if run.outcome is Outcome.REFUSED:
        yield f"reconcile refused {run.id}", f"a reconciliation was refused, nothing was changed: {figures['reason']}"
    elif figures.get("repairs") or figures.get("second_records"):
        doubled = f"{figures['second_records']} ids have a second record" if figures["second_records"] else ""
        found = "; ".join(filter(None, (kinds_of(figures), doubled)))
        yield f"drift {run.id} {run.outcome}", f"source and target had drifted apart: {found}; {_done(spec, figures)}"


def _died(spec: MigrationSpec, runs: Sequence[Reconciliation]) -> Iterator[tuple[str, str]]:
    """What was cut short, and that nobody has gone on with, or done anew, since."""
    newest_end = max((run.ended_at for run in runs if run.ended_at is not None), default=None)
    for run in runs:
        if run.outcome is None and not run.alive and (newest_end is None or newest_end < run.alive_until):
            text = (
                f"reconciliation {run.id} was cut short: its worker (run {run.run_id}) has been silent since "
                f"{run.alive_until:%H:%M:%S} UTC. It was killed, or it failed, which its log says; "
                f"the next run of {spec.migration}.reconcile goes on with it"
            )
            yield f"reconcile died {run.id} {run.worker[:8]}", text


def _done(spec: MigrationSpec, figures: Mapping[str, Any]) -> str:
    if REPAIRED in figures:
        return f"{figures[REPAIRED]} were repaired; see {figures['file']}"
    if figures["over"]:
        return f"a person must decide ({'; '.join(figures['over'])}): answer in {spec.migration}.repair; see {figures['file']}"
    return f"not repaired; see {spec.migration}.reconcile and {figures['file']}"


def _overdue(
    journal: Journal, spec: MigrationSpec, rows: tuple[ControlRow, ...], now: datetime
) -> Iterator[tuple[str, str]]:
    rules = spec.reconcile
    if rules.schedule is None:
        return
    done = journal.reconciliations.latest(spec.migration, *_ENDED)
    since = max(row.changed_at for row in rows) if done is None or done.ended_at is None else done.ended_at
    if now - since > rules.period:
        days = (now - since) / timedelta(days=1)
        text = f"no reconciliation came to an end for {days:.1f} days: is {spec.migration}.reconcile unpaused, and does it succeed?"
        yield f"reconcile overdue {since:%Y%m%dT%H%M%S}", text
