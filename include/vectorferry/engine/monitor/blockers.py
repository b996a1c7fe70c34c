"""Blockers: each guard that would refuse the next step now, read from the journal alone."""

from collections.abc import Iterator
from datetime import UTC, datetime

from vectorferry.core.errors import NotApproved
from vectorferry.core.model import Phase
from vectorferry.engine.cutover.change_window import opens_at
from vectorferry.journal import ControlRow, Evidence, Journal, Member
from vectorferry.spec.migration import MigrationSpec


def blockers(journal: Journal, spec: MigrationSpec) -> tuple[str, ...]:
    """One line for each guard that would refuse the next step now; empty where nothing does, or where none is left."""
    rows = [row for row in journal.control.all(spec.migration) if row.phase is not Phase.DONE]
    members = journal.members.all(spec.migration)
    lines = [line for row in rows for line in _of_cohort(journal, spec, row, members)]
    if any(row.phase is Phase.TRACK_A for row in rows):
        lines += _of_cut_over(journal, spec)
    return tuple(lines)


def _of_cohort(journal: Journal, spec: MigrationSpec, row: ControlRow, members: tuple[Member, ...]) -> Iterator[str]:
    for member in members:
        if not member.follows(row):
            yield f"{row.cohort}: router {member.id} on {member.host} is not in {row.phase} with all that it has under way"
    if row.phase is Phase.OFF or not spec.routers:
        return
    if not row.loaded:
        yield f"{row.cohort}: not everything is loaded"
    backlog = journal.claims.backlog(spec.migration, row.cohort)
    if rejected := journal.claims.rejected(spec.migration, row.cohort):
        yield f"{row.cohort}: {rejected}"
    hold = spec.switch.hold.total_seconds()
    if backlog.dirty > spec.switch.backlog:
        yield f"{row.cohort}: {backlog.dirty} records are to be settled, a hold begins with at most {spec.switch.backlog}"
    if backlog.oldest_open > hold:
        yield f"{row.cohort}: a write has been open for {backlog.oldest_open:.0f} s, longer than a hold of {hold:g} s"


def _of_cut_over(journal: Journal, spec: MigrationSpec) -> Iterator[str]:
    evidence = journal.evidence.latest_without_body(spec.migration)
    if evidence is None:
        yield "cut-over: there is no evidence yet"
    elif failed := _failed(journal, evidence):
        yield f"cut-over: evidence {evidence.hash[:12]} says NO-GO: {failed}"
    else:
        try:
            journal.approvals.valid(spec.migration, evidence.hash, max_age=spec.approval.evidence_age)
        except NotApproved as error:
            yield f"cut-over: {error}"
    opens = None if spec.switch.window is None else opens_at(spec.switch.window, datetime.now(UTC))
    if opens is not None:
        yield f"cut-over: its window opens at {opens:%a %Y-%m-%d %H:%M %Z}"


def _failed(journal: Journal, evidence: Evidence) -> str:
    """Which checks failed, worst first by their number; nothing where the evidence can be approved, or none failed."""
    if evidence.approvable or not evidence.plan_id:
        return ""
    found = journal.evidence.counts(evidence.plan_id, evidence.run_id)
    failed = sorted(((every - passed, check) for check, passed, every in found if passed < every), reverse=True)
    if not failed:
        return ""
    told = ", ".join(f"{check.replace('_', ' ')} {number:,}" for number, check in failed)
    return f"{sum(number for number, _ in failed):,} of {sum(each[2] for each in found):,} verdicts failed ({told})"
