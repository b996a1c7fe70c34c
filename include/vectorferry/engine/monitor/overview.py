"""Overview: where migrations stand, many at a time, from the journal alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pydantic import ValidationError

from vectorferry.core.audited import ASKED, BACKED_UP, DAG, EVIDENCE, RESTORE_DRILL, RUN, TASK
from vectorferry.core.model import OPERATION, REPAIR, Phase
from vectorferry.engine.monitor.alerts import PHASE, alerts
from vectorferry.engine.monitor.blockers import blockers
from vectorferry.engine.monitor.capacity_alerts import MEASURED
from vectorferry.engine.monitor.read_ahead import Counts, ReadAhead
from vectorferry.engine.monitor.status import STEPS
from vectorferry.journal import AuditRow, Backlog, ControlRow, Evidence, Journal, Reconciliation, Registered, Work
from vectorferry.spec.migration import MigrationSpec

_NEWEST = (ASKED, BACKED_UP, RESTORE_DRILL, MEASURED)
# Rows that are looked at: the questions of a migration may have been asked in several DAGs, and holds of a day may have been many.
_QUESTIONS, _CHANGES = 50, 50
_NOTHING = Backlog(0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class CohortState:
    """Where a cohort stands, and since when; `hold_left` is in seconds, None outside of a hold."""

    name: str
    phase: str
    epoch: int
    since: datetime
    hold_left: float | None
    loaded: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How many partitions of the plan have a step behind them, how many are in it, and the rows of both."""

    done: int
    running: int
    partitions: int
    rows: int


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Verdicts of the run of the newest evidence."""

    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A question that waits for an answer, and the task of Airflow that asks it."""

    kind: str
    evidence: str
    asked_at: datetime
    dag: str
    run: str
    task: str


@dataclass(frozen=True, slots=True)
class BacklogState:
    """What the followers of all cohorts lack; `oldest_open` is in seconds."""

    dirty: int
    rejected: int
    open: int
    oldest_open: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The newest reconciliation that came to an end."""

    at: datetime
    scope: str
    outcome: str
    repairs: int


@dataclass(frozen=True, slots=True)
class Filled:
    """What a side used of memory or disk (bytes) or rows when it was measured last, and the limit that the spec gives, if any."""

    side: str
    what: str
    used: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class CapacityState:
    """How full both sides were."""

    at: datetime
    fills: tuple[Filled, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """Where one migration stands. `phase` is that of the cohort that is furthest behind; ages are in seconds; None: there is none.

    `go` is what the newest evidence says, whether it can be approved or not; `problem` why alerts and blockers are not known.
    """

    name: str
    dag: str
    source: str
    target: str
    phase: str
    cohorts: tuple[CohortState, ...]
    progress: Mapping[str, Progress]
    verdicts: Verdicts
    evidence: str | None
    go: bool | None
    in_the_way: tuple[str, ...]
    alerts: tuple[str, ...]
    pending: Pending | None
    backlog: BacklogState
    last_drift: Drift | None
    backup_age: float | None
    drill_age: float | None
    drill_passed: bool | None
    capacity: CapacityState | None
    updated_at: datetime
    problem: str = ""


def registered(journal: Journal) -> dict[str, Registered]:
    """The migrations that the journal knows, by name."""
    return {each.name: each for each in journal.many.registered()}


def dags_that_asked(journal: Journal, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """The DAGs in which a migration's questions were asked, beside those that are called after it."""
    rows = journal.many.audit(names, (ASKED,), _QUESTIONS)
    return {name: _others(name, trail) for name, trail in rows.items()}


def overviews(journal: Journal, migrations: Iterable[Registered]) -> tuple[Overview, ...]:
    """Where these migrations stand, in their order."""
    known = tuple(migrations)
    names = [each.name for each in known]
    ahead = ReadAhead(journal, names)
    read = _Read(
        ahead,
        journal.many.work(names),
        journal.many.says_go([each.hash for each in ahead.newest.values()]),
        journal.many.audit(names, _NEWEST, 1),
        journal.many.audit(names, (PHASE,), _CHANGES),
        datetime.now(UTC),
    )
    waiting = _waiting(journal, read, known)
    return tuple(_overview(read, each, waiting.get(each.name)) for each in known)


@dataclass(frozen=True)
class _Read:
    """What was read of all migrations."""

    journal: ReadAhead
    work: Mapping[str, tuple[int, Mapping[str, Work]]]
    go: Mapping[str, bool]
    newest: Mapping[str, tuple[AuditRow, ...]]
    changes: Mapping[str, tuple[AuditRow, ...]]
    now: datetime

    def last(self, name: str, action: str) -> AuditRow | None:
        return next((row for row in self.newest.get(name, ()) if row.action == action), None)

    def age(self, row: AuditRow | None) -> float | None:
        return None if row is None else max(0.0, (self.now - row.at).total_seconds())


def _overview(read: _Read, known: Registered, pending: Pending | None) -> Overview:
    name, spec = known.name, spec_of(known)
    rows = read.journal.control.all(name)
    evidence = read.journal.newest.get(name)
    asked, backup, drill, measured = (read.last(name, action) for action in _NEWEST)
    return Overview(
        name=name,
        dag=next(iter(sorted(_others(name, (asked,) if asked else ()))), f"{name}.migrate"),
        source=_place(known.spec, "source"),
        target=_place(known.spec, "target"),
        phase=str(min((row.phase for row in rows), key=tuple(Phase).index, default=Phase.OFF)),
        cohorts=tuple(map(_cohort, rows)),
        progress=_progress(*read.work.get(name, (0, {}))),
        verdicts=_verdicts(read.journal.counts.get(name, ())),
        evidence=None if evidence is None else evidence.hash,
        go=None if evidence is None else read.go.get(evidence.hash),
        in_the_way=blockers(read.journal, spec) if spec else (),
        alerts=tuple(each.text for each in alerts(read.journal, spec, trail=read.changes.get(name, ())))
        if spec
        else (),
        pending=pending,
        backlog=_backlog(read.journal, rows),
        last_drift=_drift(read.journal.reconciliations.all(name)),
        backup_age=read.age(backup),
        drill_age=read.age(drill),
        drill_passed=None if drill is None else bool(drill.detail["passed"]),
        capacity=_capacity(spec, measured),
        updated_at=read.now,
        problem="" if spec else "this version cannot read the spec that was registered: register it again",
    )


_specs: dict[bytes, MigrationSpec] = {}
_KEPT_SPECS = 1_000


def spec_of(known: Registered) -> MigrationSpec | None:
    """The spec that was registered, None where there is none, or where this version does not take it."""
    if known.spec is None:
        return None
    text = orjson.dumps(known.spec)
    if text not in _specs:
        try:
            made = MigrationSpec.model_validate(known.spec)
        except ValidationError:  # registered by a release that took it
            return None
        if len(_specs) >= _KEPT_SPECS:
            _specs.clear()
        _specs[text] = made
    return _specs[text]


def _others(name: str, trail: Iterable[AuditRow]) -> frozenset[str]:
    asked = {row.detail[DAG] for row in trail if DAG in row.detail}
    return frozenset(dag for dag in asked if dag.rpartition(".")[0] != name)


def _place(spec: Mapping[str, Any] | None, side: str) -> str:
    if spec is None:
        return ""
    return f"{spec[side]['collection']} at {spec[side]['connection']}"


def _cohort(row: ControlRow) -> CohortState:
    return CohortState(row.cohort, str(row.phase), row.epoch, row.changed_at, row.hold_left, row.loaded)


def _progress(partitions: int, work: Mapping[str, Work]) -> dict[str, Progress]:
    found = {step: work.get(step, Work()) for step in STEPS}
    return {step: Progress(each.done, each.running, partitions, each.rows) for step, each in found.items()}


def _verdicts(counts: Counts) -> Verdicts:
    passed = sum(passed for _, passed, _ in counts)
    return Verdicts(passed, sum(every for _, _, every in counts) - passed)


def _backlog(journal: ReadAhead, rows: Sequence[ControlRow]) -> BacklogState:
    found = [journal.backlogs.get((row.migration, row.cohort), _NOTHING) for row in rows]
    dirty, rejected, opened = (sum(getattr(each, name) for each in found) for name in ("dirty", "rejected", "open"))
    return BacklogState(dirty, rejected, opened, max((each.oldest_open for each in found), default=0.0))


def _drift(runs: Sequence[Reconciliation]) -> Drift | None:
    for run in runs:
        if run.outcome is not None and run.ended_at is not None:
            return Drift(run.ended_at, str(run.scope), str(run.outcome), int((run.figures or {}).get("repairs", 0)))
    return None


def _capacity(spec: MigrationSpec | None, row: AuditRow | None) -> CapacityState | None:
    if row is None:
        return None
    fills = []
    for name, used in row.detail.items():
        side, what = name.split(" ", 1)
        limits = getattr(spec.capacity, side) if spec else None
        fills.append(Filled(side, what, used, getattr(limits, what, None)))
    return CapacityState(row.at, tuple(fills))


def _waiting(journal: Journal, read: _Read, known: Sequence[Registered]) -> dict[str, Pending]:
    """The newest question of each migration that can still be answered, as far as the journal tells."""
    asked = {each.name: (each, row) for each in known if (row := read.last(each.name, ASKED)) and DAG in row.detail}
    hashes = {row.detail[EVIDENCE] for _, row in asked.values()}
    of = {each.hash: each for each in journal.many.evidence_of(sorted(hashes))}
    answered = journal.many.approvals(sorted(hashes))
    found = {}
    for name, (migration, row) in asked.items():
        evidence = of.get(row.detail[EVIDENCE])
        if evidence and evidence.hash not in answered and not _lapsed(read, evidence, row, spec_of(migration)):
            place = (row.detail[DAG], row.detail[RUN], row.detail[TASK])
            found[name] = Pending(evidence.kind, evidence.hash, row.at, *place)
    return found


def _lapsed(read: _Read, evidence: Evidence, asked: AuditRow, spec: MigrationSpec | None) -> bool:
    """Whether nobody waits for an answer any more, or none would count."""
    newest = read.journal.newest.get(evidence.migration)
    superseded = newest is not None and evidence.kind == newest.kind and newest.hash != evidence.hash
    if superseded and evidence.kind not in (REPAIR, OPERATION):
        return True
    if spec is None or evidence.created_at is None:
        return False
    waits = spec.approval.timeout / (spec.approval.reminders + 1)  # each reminder is audited as a question
    ended = read.now - asked.at > waits + _SLACK
    return ended or read.now - evidence.created_at > spec.approval.evidence_age


_SLACK = timedelta(minutes=1)  # between two reminders
