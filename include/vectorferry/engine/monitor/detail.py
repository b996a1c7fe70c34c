"""Detail: what the page about one migration shows beside its overview, from the journal alone."""

from dataclasses import dataclass
from datetime import datetime

from vectorferry.engine.monitor.alerts import PHASE
from vectorferry.engine.monitor.evidence_list import SHOWN, Answer, answers
from vectorferry.engine.monitor.status import member_row
from vectorferry.journal import AuditRow, Journal, Reconciliation

_CHANGES, _RECONCILIATIONS = 500, 20


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a cohort's phase."""

    at: datetime
    cohort: str
    before: str
    after: str
    by: str
    reason: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Router:
    """A router: the phase that it is in, each with its cohort where they differ, what is under way in an earlier one, or nothing, and
    the seconds left of its lease."""

    id: str
    host: str
    phase: str
    draining: str
    lease_left: float
    version: str


@dataclass(frozen=True, slots=True)
class PlanState:
    """The plan in force."""

    id: str
    created_at: datetime | None
    rows: int
    namespaces: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One reconciliation; `rows` were read of both sides together, None for what is not known before it ends."""

    id: int
    at: datetime
    ended_at: datetime | None
    scope: str
    outcome: str | None
    rows: int | None
    repairs: int | None
    run: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What there is of one migration; the newest first, but for the timeline."""

    timeline: tuple[Change, ...]
    routers: tuple[Router, ...]
    plan: PlanState | None
    reconciliations: tuple[Compared, ...]
    approvals: tuple[Answer, ...]


def detail(journal: Journal, migration: str) -> Detail:
    """What there is of a migration; one that is unknown has nothing."""
    trail = journal.many.audit([migration], (PHASE,), _CHANGES).get(migration, ())
    evidence = journal.evidence.newest(migration, SHOWN)
    return Detail(
        tuple(map(_change, trail)),
        tuple(Router(*member_row(each)) for each in journal.members.all(migration)),
        _plan(journal, migration),
        tuple(map(compared, journal.reconciliations.all(migration, _RECONCILIATIONS))),
        tuple(answers(journal, evidence)),
    )


def compared(run: Reconciliation) -> Compared:
    """A reconciliation as people are shown it."""
    figures = run.figures
    rows = None if figures is None else sum(figures.get(f"rows_{side}", 0) for side in ("source", "target"))
    repairs = None if figures is None else int(figures.get("repairs", 0))
    outcome = None if run.outcome is None else str(run.outcome)
    return Compared(run.id, run.began_at, run.ended_at, str(run.scope), outcome, rows, repairs, run.run_id)


def _change(row: AuditRow) -> Change:
    told = row.detail
    return Change(row.at, row.cohort or "", told["from"], told["to"], row.actor, told["reason"], row.epoch or 0)


def _plan(journal: Journal, migration: str) -> PlanState | None:
    found = journal.plans.current(migration)
    if found is None:
        return None
    details = found.details
    rows, namespaces = int(details.get("rows", 0)), len(details.get("namespaces", ()))
    return PlanState(found.id, found.created_at, rows, namespaces, len(found.partitions))
