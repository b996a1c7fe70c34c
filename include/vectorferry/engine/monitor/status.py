"""Status: the state of a migration, read from the journal alone."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vectorferry.core.model import Phase
from vectorferry.engine.monitor.alerts import PHASE, alerts
from vectorferry.engine.monitor.blockers import blockers
from vectorferry.journal import Approval, AuditRow, ControlRow, Evidence, Journal, Member, Plan, Reconciliation
from vectorferry.spec.migration import MigrationSpec

STEPS = ("export", "load")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class StepStatus:
    """One step over all partitions: how many are done and running, and rows done."""

    step: str
    done: int
    running: int
    partitions: int
    rows: int
    excused: int


MemberRow = tuple[str, str, str, str, float, str]
"""Id, host, phase, what is still under way in an earlier phase (or nothing), seconds left of the lease, and its package's version."""


ReconciliationRow = tuple[datetime, str, str, int, int]
"""When it began, full or a share, how it ended, records read of both sides, and how many had drifted."""


@dataclass(frozen=True, slots=True)
class LiveWrites:
    """What stands between a cohort and a change of authority; the last hold is how long writes waited at the last change.

    `rejected` of the dirty records the follower did not take.
    """

    cohort: str
    dirty: int
    rejected: int
    open: int
    oldest_open: float
    hold_left: float | None
    last_hold: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one migration; None where a thing does not exist yet."""

    migration: str
    phases: tuple[tuple[str, str, int], ...]
    plan: str | None
    rows: int
    steps: tuple[StepStatus, ...]
    verdicts: tuple[tuple[str, int, int], ...]
    evidence: str | None
    approvable: bool
    approvals: tuple[tuple[str, str, str], ...]
    audit: tuple[tuple[datetime, str, str, str], ...]
    members: tuple[MemberRow, ...] = ()
    live: tuple[LiveWrites, ...] = ()
    in_the_way: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    reconciliations: tuple[ReconciliationRow, ...] = ()


def status(journal: Journal, spec: MigrationSpec, *, audit_rows: int = 10) -> Status:
    """The state of a migration; one that was never begun has no phases."""
    migration = spec.migration
    plan = journal.plans.current(migration)
    evidence = journal.evidence.latest_without_body(migration)
    trail = journal.audit.trail(migration)
    return Status(
        migration,
        tuple((row.cohort, str(row.phase), row.epoch) for row in journal.control.all(migration)),
        plan.id if plan else None,
        int(plan.details["rows"]) if plan else 0,
        _steps(journal, plan) if plan else (),
        _verdicts(journal, plan, evidence) if plan and evidence else (),
        evidence.hash if evidence else None,
        bool(evidence and evidence.approvable),
        tuple(_answer(a) for a in journal.approvals.all(evidence.hash)) if evidence else (),
        tuple((row.at, row.actor, row.action, _short(row.detail)) for row in trail[-audit_rows:]),
        tuple(map(member_row, journal.members.all(migration))),
        _live_writes(journal, migration, trail),
        blockers(journal, spec),
        tuple(alert.text for alert in alerts(journal, spec, trail=trail)),
        tuple(map(_reconciled, journal.reconciliations.all(migration, most=5))),
    )


def _reconciled(run: Reconciliation) -> ReconciliationRow:
    figures = run.figures or {}
    read = sum(figures.get(f"rows_{side}", 0) for side in ("source", "target"))
    return run.began_at, str(run.scope), str(run.outcome or "not ended"), read, figures.get("repairs", 0)


def member_row(member: Member) -> MemberRow:
    """A router as people are shown it."""
    phases = {cohort: str(at.phase) for cohort, at in sorted(member.cohorts.items())}
    draining = {cohort: str(at.draining) for cohort, at in sorted(member.cohorts.items()) if at.draining}
    left = round(member.lease_left, 1)
    return member.id, member.host, _by_cohort(phases), _by_cohort(draining), left, member.version


def _by_cohort(phases: Mapping[str, str]) -> str:
    """One phase where all are in it, else each with its cohort."""
    if len(set(phases.values())) == 1:
        return next(iter(phases.values()))
    return ", ".join(f"{cohort} {phase}" for cohort, phase in phases.items())


def _live_writes(journal: Journal, migration: str, trail: Sequence[AuditRow]) -> tuple[LiveWrites, ...]:
    spec, rows = journal.control.spec(migration), journal.control.all(migration)
    if spec is None or spec["writers"] == "none":
        return ()
    return tuple(_live_of(journal, row, trail) for row in rows)


def _live_of(journal: Journal, row: ControlRow, trail: Sequence[AuditRow]) -> LiveWrites:
    found = journal.claims.backlog(row.migration, row.cohort)
    last = _last_hold(trail, row)
    return LiveWrites(row.cohort, found.dirty, found.rejected, found.open, found.oldest_open, row.hold_left, last)


def _last_hold(trail: Sequence[AuditRow], cohort: ControlRow) -> float | None:
    """Seconds between the last time that a hold was entered and left."""
    began, seconds = None, None
    for row in (row for row in trail if row.action == PHASE and row.cohort == cohort.cohort):
        old, new = Phase(row.detail["from"]), Phase(row.detail["to"])
        if new.blocks_writes and not old.blocks_writes:
            began = row.at
        elif old.blocks_writes and not new.blocks_writes and began is not None:
            seconds = (row.at - began).total_seconds()
    return seconds


def _steps(journal: Journal, plan: Plan) -> tuple[StepStatus, ...]:
    states = journal.attempts.summary(plan.id)
    return tuple(_step(name, [s for s in states if s.step == name], len(plan.partitions)) for name in STEPS)


def _step(name: str, states: list[Any], partitions: int) -> StepStatus:
    counted = Counter(s.state for s in states)
    rows, excused = sum(s.rows for s in states), sum(s.excused for s in states)
    return StepStatus(name, counted["done"], counted["running"], partitions, rows, excused)


def _verdicts(journal: Journal, plan: Plan, evidence: Evidence) -> tuple[tuple[str, int, int], ...]:
    return journal.evidence.counts(plan.id, evidence.run_id)


def _answer(approval: Approval) -> tuple[str, str, str]:
    return approval.decision, approval.actor, approval.reason


def _short(detail: Any) -> str:
    """The details in one line; of a hash its beginning, as it is shown elsewhere."""
    told = ((key, value) for key, value in dict(detail).items() if value is not None)
    return ", ".join(f"{key} {_HASH.sub(lambda found: found[0][:12], str(value))}" for key, value in told)[:160]
