"""Gauges: what the journal knows of all migrations, as figures for metrics; from the journal alone."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from vectorferry.core.model import Phase
from vectorferry.engine.monitor.overview import Overview, overviews, registered, spec_of
from vectorferry.journal import Journal, Member, Sample
from vectorferry.spec.migration import MigrationSpec

Gauge = tuple[str, float, Mapping[str, str]]
"""The name of a metric in the catalogue, without what all have in common, its value, and its labels."""

PREFIX = "vectorferry.migration."
# What was sampled longer ago says nothing of now.
_SAMPLED = timedelta(hours=1)
_PERCENTILES = {"p50_ms": "50", "p95_ms": "95", "p99_ms": "99", "max_ms": "100"}
_BYTES = ("memory", "disk")


def gauges(journal: Journal) -> Iterator[Gauge]:
    """Every figure of every migration, by the full names of the metrics."""
    known = registered(journal)
    members = journal.many.members(list(known))
    for found in overviews(journal, known.values()):
        spec = spec_of(known[found.name])
        samples = journal.samples.of(found.name, "latency", datetime.now(UTC) - _SAMPLED)
        parts = (_cohorts(found), _work(found), _writes(found), _routers(members.get(found.name, ()), spec))
        for part in (*parts, _people(found), _afterwards(found), _capacity(found), _latency(samples)):
            for name, value, labels in part:
                yield f"{PREFIX}{name}", value, {"migration": found.name, **labels}


def _cohorts(found: Overview) -> Iterator[Gauge]:
    for cohort in found.cohorts:
        label = {"cohort": cohort.name}
        for phase in Phase:
            yield "phase", cohort.phase == phase, {**label, "phase": phase.value}
        yield "phase.age", _age(found, cohort.since), label
        if cohort.hold_left is not None:
            yield "hold.remaining", cohort.hold_left, label


def _work(found: Overview) -> Iterator[Gauge]:
    for step, work in found.progress.items():
        states = {"done": work.done, "running": work.running, "waiting": work.partitions - work.done - work.running}
        for state, count in states.items():
            yield "partitions", count, {"step": step, "state": state}
        yield "rows", work.rows, {"step": step}
    yield "verdicts", found.verdicts.passed, {"outcome": "passed"}
    yield "verdicts", found.verdicts.failed, {"outcome": "failed"}
    if found.go is not None:
        yield "evidence.go", found.go, {}


def _writes(found: Overview) -> Iterator[Gauge]:
    backlog = found.backlog
    for state, count in {"dirty": backlog.dirty, "rejected": backlog.rejected, "open": backlog.open}.items():
        yield "backlog", count, {"state": state}
    yield "backlog.oldest_open", backlog.oldest_open, {}


def _routers(members: Sequence[Member], spec: MigrationSpec | None) -> Iterator[Gauge]:
    live = [each for each in members if each.lease_left > 0]
    draining = [each for each in members if any(at.draining for at in each.cohorts.values())]
    for state, count in {"live": len(live), "silent": len(members) - len(live), "draining": len(draining)}.items():
        yield "routers", count, {"state": state}
    if members:
        yield "lease.remaining", min(each.lease_left for each in members), {}
    if spec:
        yield "routers.expected", spec.routers, {}


def _people(found: Overview) -> Iterator[Gauge]:
    yield "blockers", len(found.in_the_way), {}
    yield "alerts", len(found.alerts), {}
    if found.pending:
        yield "question.age", _age(found, found.pending.asked_at), {"kind": found.pending.kind}


def _afterwards(found: Overview) -> Iterator[Gauge]:
    if found.last_drift:
        yield "reconciliation.age", _age(found, found.last_drift.at), {"outcome": found.last_drift.outcome}
        yield "reconciliation.repairs", found.last_drift.repairs, {}
    if found.backup_age is not None:
        yield "backup.age", found.backup_age, {}
    if found.drill_age is not None and found.drill_passed is not None:
        yield "drill.age", found.drill_age, {}
        yield "drill.passed", found.drill_passed, {}


def _capacity(found: Overview) -> Iterator[Gauge]:
    for fill in found.capacity.fills if found.capacity else ():
        labels = {"side": fill.side, "what": fill.what}
        if fill.what in _BYTES:
            yield "capacity.used", fill.used, labels
        if fill.limit:
            yield "capacity.utilization", fill.used / fill.limit, labels


def _latency(samples: Sequence[Sample]) -> Iterator[Gauge]:
    newest = {each.scope: each.figures for each in samples}
    for side, figures in newest.items():
        for figure, percentile in _PERCENTILES.items():
            if figures.get(figure) is not None:
                yield "latency", figures[figure] / 1000, {"side": side, "percentile": percentile}


def _age(found: Overview, moment: datetime) -> float:
    return max(0.0, (found.updated_at - moment).total_seconds())
