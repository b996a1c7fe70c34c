"""Where a migration stands, read from the journal alone."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vectorferry.journal import Approval, Evidence, Journal, Plan

STEPS = ("export", "load")


@dataclass(frozen=True, slots=True)
class StepStatus:
    """One step over all partitions: how many are done and running, and rows done."""

    step: str
    done: int
    running: int
    partitions: int
    rows: int
    excused: int


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


def status(journal: Journal, migration: str, *, audit_rows: int = 10) -> Status:
    """The state of a migration; one that was never begun has no phases."""
    plan = journal.plans.current(migration)
    evidence = journal.evidence.latest(migration)
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
        tuple(
            (row.at, row.actor, row.action, _short(row.detail)) for row in journal.audit.trail(migration)[-audit_rows:]
        ),
    )


def _steps(journal: Journal, plan: Plan) -> tuple[StepStatus, ...]:
    states = journal.attempts.summary(plan.id)
    return tuple(_step(name, [s for s in states if s.step == name], len(plan.partitions)) for name in STEPS)


def _step(name: str, states: list[Any], partitions: int) -> StepStatus:
    counted = Counter(s.state for s in states)
    rows, excused = sum(s.rows for s in states), sum(s.excused for s in states)
    return StepStatus(name, counted["done"], counted["running"], partitions, rows, excused)


def _verdicts(journal: Journal, plan: Plan, evidence: Evidence) -> tuple[tuple[str, int, int], ...]:
    found = journal.evidence.verdicts(plan.id, evidence.run_id)
    names = dict.fromkeys(v.check for v in found)
    return tuple((n, sum(v.passed for v in found if v.check == n), sum(v.check == n for v in found)) for n in names)


def _answer(approval: Approval) -> tuple[str, str, str]:
    return approval.decision, approval.actor, approval.reason


def _short(detail: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in dict(detail).items())[:160]
