"""Guardrails between two cohorts: watch what routers see after a cut-over, and roll that cohort back where a limit is broken."""

from datetime import datetime

from vectorferry.core.errors import GateError
from vectorferry.core.model import Phase
from vectorferry.engine.cutover.switch import roll_back
from vectorferry.engine.session import Session, StepProgress
from vectorferry.journal import Counted, ShadowFigures, added_up
from vectorferry.spec.cutover_rules import Guardrails

WATCHED = "watched"
# Routers tell every few seconds what they have counted.
POLL_SECONDS = 1.0


def still_watched(session: Session, cohort: str) -> StepProgress | None:
    """Look at a cohort after its cut-over; None once it was watched for `switch.guardrails.watch`.

    Raises GateError naming the guardrail: where one is broken the cohort has been rolled back; where there was too little traffic to
    judge by, it stays where it is, and calling this again looks again.
    """
    row = session.control(cohort)
    if row.phase is not Phase.TRACK_B:
        raise GateError(f"cohort {cohort} of {session.migration} is in {row.phase}: there is nothing to watch")
    if _was_watched(session, cohort, row.epoch):
        return None
    rules, seen = session.spec.switch.guardrails, _require(session, cohort, row.changed_at)
    if row.phase_seconds < rules.watch.total_seconds():
        return StepProgress("watch", cohort, int(row.phase_seconds), int(rules.watch.total_seconds()), unit="seconds")
    if seen.operations < rules.min_operations:
        raise GateError(
            f"cohort {cohort} of {session.migration}: {seen.operations} operations since its cut-over are too few to judge by, "
            f"switch.guardrails.min_operations is {rules.min_operations}: wait, and go on"
        )
    detail = {"cohort": cohort, "epoch": row.epoch, "operations": seen.operations, "failed": seen.failed}
    session.journal.audit.write(session.migration, session.actor, WATCHED, detail)
    return None


def _was_watched(session: Session, cohort: str, epoch: int) -> bool:
    trail = (row.detail for row in session.journal.audit.trail(session.migration, WATCHED))
    return any((told["cohort"], told["epoch"]) == (cohort, epoch) for told in trail)


def _require(session: Session, cohort: str, since: datetime) -> Counted:
    """What was seen so far; rolls the cohort back and raises GateError where a guardrail is broken."""
    seen = session.journal.traffic.since(session.migration, cohort, Phase.TRACK_B, since)
    shadows = added_up(session.journal.shadows.since(session.migration, since, Phase.TRACK_B, cohort))
    why = broken(session.spec.switch.guardrails, seen, shadows)
    if why:
        roll_back(session, f"guardrail: {why}", cohort)
        raise GateError(f"cohort {cohort} of {session.migration} was rolled back: {why}")
    return seen


def broken(rules: Guardrails, seen: Counted, shadows: ShadowFigures) -> str:
    """Which guardrail is broken, with the figures; empty where none is, or where there is too little to judge by."""
    if seen.operations >= rules.min_operations and seen.failed > rules.errors * seen.operations:
        return f"{seen.failed} of {seen.operations} operations failed, guardrails.errors is {rules.errors:.2%}"
    if shadows.reads < max(rules.min_operations, 1):
        return ""
    overlap = shadows.overlap / shadows.reads
    if overlap < rules.overlap:
        return f"shadow reads overlap by {overlap:.3f} on {shadows.reads} reads, guardrails.overlap is {rules.overlap}"
    new, old = shadows.authority.percentile(0.95), shadows.follower.percentile(0.95)
    if rules.latency_ratio is not None and new > rules.latency_ratio * old:
        return f"p95 of reads is {new:.1f} ms, {old:.1f} ms on the old side: more than {rules.latency_ratio:g} times as long"
    return ""
