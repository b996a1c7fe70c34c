"""Alerts: silent routers, stepped-back holds, growing backlogs, full or slow databases, times that run out, drift."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vectorferry.core.capacity import Seen
from vectorferry.core.model import CUTOVER, Phase, Side
from vectorferry.engine.monitor.capacity_alerts import MEASURED, capacity_alerts, keep
from vectorferry.engine.monitor.drift_alerts import drift_alerts
from vectorferry.engine.monitor.latency_alerts import latency_alerts
from vectorferry.journal import AuditRow, ControlRow, Journal
from vectorferry.spec.migration import MigrationSpec

ALERT, PHASE = "alert", "phase"
# An alert that stays true is told again after this long.
AGAIN = timedelta(days=1)
# Of the time that evidence may be used for; the rest is left to act in.
LATE = 0.75
WINDOW_LEFT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell people; `key` is the same as long as it is about the same thing."""

    key: str
    text: str


def alerts(
    journal: Journal, spec: MigrationSpec, measured: Sequence[Seen] = (), *, trail: Sequence[AuditRow] | None = None
) -> tuple[Alert, ...]:
    """Everything that people should know now: from the journal, and from what was measured of the databases, if anything was.

    `trail` is the migration's audit trail, where the caller has read it already.
    """
    trail = _read(journal, spec) if trail is None else trail
    now, rows = datetime.now(UTC), journal.control.all(spec.migration)
    found = [*_silent(journal, spec), *_stepped_back(trail, now), *_unanswered(journal, spec, rows, now)]
    for row in rows:
        found += [*_backlog(journal, spec, row), *_rejected(journal, spec, row), *_window(spec, row, now)]
    for seen in measured:
        found += [Alert(*each) for each in capacity_alerts(trail, spec, seen, now)]
    found += [Alert(*each) for each in (*drift_alerts(journal, spec, rows, now), *latency_alerts(journal, spec, now))]
    return tuple(found)


def new_alerts(
    journal: Journal,
    spec: MigrationSpec,
    actor: str,
    measured: Sequence[Seen] = (),
    unanswered: Mapping[Side, str] | None = None,
) -> tuple[Alert, ...]:
    """Those that nobody was told of yet, or not for a day; they count as told from now on. What was measured is kept once a day.

    `unanswered` are sides that were searched in vain, with the reason.
    """
    since, trail = datetime.now(UTC) - AGAIN, _read(journal, spec)
    told = {row.detail["key"] for row in trail if row.action == ALERT and row.at > since}
    found = [*alerts(journal, spec, measured, trail=trail), *map(_unanswered_side, (unanswered or {}).items())]
    fresh = tuple(alert for alert in found if alert.key not in told)
    for alert in fresh:
        journal.audit.write(spec.migration, actor, ALERT, {"key": alert.key, "text": alert.text})
    keep(journal, spec, actor, measured, trail)
    return fresh


def is_news(journal: Journal, spec: MigrationSpec, actor: str, alert: Alert) -> bool:
    """Whether nobody was ever told of this; they count as told from now on."""
    detail = {"key": alert.key, "text": alert.text}
    return journal.audit.write_once(spec.migration, actor, ALERT, detail, by="key")


def _unanswered_side(found: tuple[Side, str]) -> Alert:
    side, problem = found
    return Alert(f"latency {side}", f"nobody knows how fast the {side} answers: {problem}")


def _read(journal: Journal, spec: MigrationSpec) -> tuple[AuditRow, ...]:
    """What alerts are told from, of the audit trail."""
    return journal.audit.trail(spec.migration, ALERT, PHASE, MEASURED)


def _silent(journal: Journal, spec: MigrationSpec) -> Iterator[Alert]:
    for member in journal.members.all(spec.migration):
        if member.lease_left < 0:
            text = (
                f"router {member.id} on {member.host} has been silent for {-member.lease_left:.0f} s beyond its lease"
            )
            yield Alert(f"silent {member.id}", text)


def _stepped_back(trail: Sequence[AuditRow], now: datetime) -> Iterator[Alert]:
    began: dict[str | None, Phase] = {}
    for row in (row for row in trail if row.action == PHASE):
        old, new = Phase(row.detail["from"]), Phase(row.detail["to"])
        if new.blocks_writes and not old.blocks_writes:
            began[row.cohort] = old
        if old.blocks_writes and began.get(row.cohort) is new and now - row.at < AGAIN:
            text = f"a hold of cohort {row.cohort} ended in {new}, where it began: {row.detail['reason']}"
            yield Alert(f"stepped back {row.id}", text)


def _backlog(journal: Journal, spec: MigrationSpec, row: ControlRow) -> Iterator[Alert]:
    if not (spec.routers and row.loaded and row.phase.tracks):
        return
    backlog = journal.claims.backlog(spec.migration, row.cohort)
    if backlog.dirty > spec.switch.backlog:
        text = f"{backlog.dirty} records of cohort {row.cohort} wait to be settled: is `vectorferry settle --follow` running?"
        yield Alert(f"backlog {row.cohort}", text)


def _rejected(journal: Journal, spec: MigrationSpec, row: ControlRow) -> Iterator[Alert]:
    if not spec.routers or row.phase in (Phase.OFF, Phase.DONE):
        return
    if found := journal.claims.rejected(spec.migration, row.cohort):
        first = found.first[0]
        advice = "the authority cannot move before they are written anew, deleted, or excused (`vectorferry excuse`)"
        yield Alert(
            f"rejected {row.cohort} {first.namespace}/{first.id} {found.total}",
            f"cohort {row.cohort}: {found}; {advice}",
        )


def _unanswered(journal: Journal, spec: MigrationSpec, rows: tuple[ControlRow, ...], now: datetime) -> Iterator[Alert]:
    evidence = journal.evidence.latest_without_body(spec.migration, CUTOVER)
    waiting = any(row.phase is Phase.TRACK_A for row in rows)
    if evidence is None or evidence.created_at is None or not evidence.approvable or not waiting:
        return
    age, most = now - evidence.created_at, spec.approval.evidence_age
    if most * LATE < age < most:
        answered = journal.approvals.all(evidence.hash)
        what = "the approval" if answered else "the question, unanswered,"
        left = (most - age).total_seconds() / 60
        yield Alert(
            f"lapsing {evidence.hash[:12]}", f"{what} of evidence {evidence.hash[:12]} lapses in {left:.0f} min"
        )


def _window(spec: MigrationSpec, row: ControlRow, now: datetime) -> Iterator[Alert]:
    if not spec.routers or row.phase is not Phase.TRACK_B:
        return
    left = row.changed_at + spec.switch.rollback_window - now
    if left < WINDOW_LEFT:
        end = "is over" if left < timedelta(0) else f"ends in {left.total_seconds() / 3600:.0f} h"
        text = f"the rollback window of cohort {row.cohort} {end}: trigger {spec.migration}.finalize, or roll back"
        yield Alert(f"window {row.cohort} {row.epoch}", text)
