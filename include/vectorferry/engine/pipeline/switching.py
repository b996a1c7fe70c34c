"""Switching: the authority moves to the target, and back."""

from datetime import datetime
from typing import TYPE_CHECKING

from vectorferry.core.model import COHORT, ROLLBACK, Phase, Verdict

if TYPE_CHECKING:
    from vectorferry.engine.cutover.switch import Switched as Switched
    from vectorferry.engine.session import Session, StepProgress
    from vectorferry.journal import Evidence, Plan
    from vectorferry.spec.cutover_rules import ChangeWindow


def cut_over(session: "Session", plan: "Plan", evidence_hash: str, cohort: str = COHORT) -> "Switched":
    """Move a cohort's authority to the target, if the journal holds a valid approval of this evidence; else refuse."""
    from vectorferry.engine.cutover.switch import cut_over
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker

    with naming_way_out(session), under_marker(session):
        return cut_over(session, plan, evidence_hash, cohort)


def still_watched(session: "Session", cohort: str) -> "StepProgress | None":
    """Look at a cohort after its switch; None once it was watched for long enough.

    One that breaks a guardrail is rolled back, and GateError says why.
    """
    from vectorferry.engine.cutover.guardrails import still_watched
    from vectorferry.engine.marker import under_marker

    with under_marker(session):
        return still_watched(session, cohort)


def opens_at(window: "ChangeWindow", now: datetime) -> datetime | None:
    """When the window for cut-overs opens next, None where it is open now; `now` has a time zone."""
    from vectorferry.engine.cutover.change_window import opens_at

    return opens_at(window, now)


def verify(session: "Session", plan: "Plan") -> Verdict:
    """Verify the new authority after the cut-over."""
    from vectorferry.engine.cutover.target_check import verify_after
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.signoff.gate import record, require_passed

    with naming_way_out(session):
        verdict = verify_after(session, plan)
        record(session, plan, [verdict])
        session.journal.audit.write(session.migration, session.actor, "verified", {"passed": verdict.passed})
        require_passed([verdict])
    return verdict


def is_cut_over(session: "Session") -> bool:
    """Whether the target has the authority in every cohort."""
    from vectorferry.engine.cutover.finalize import is_cut_over

    return is_cut_over(session)


def prepare_rollback(session: "Session", cohort: str | None = None) -> "Evidence":
    """What a rollback of one cohort, or of all, would do now, as evidence that can be signed.

    Raises GateError where there is nothing to roll back.
    """
    from vectorferry.engine.cutover.switch import inspect_rollback
    from vectorferry.engine.session import plan_of
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import record

    plan = plan_of(session)
    record(session, plan, [inspect_rollback(session, cohort)])
    return collect(session, plan, (), approvable=True, kind=ROLLBACK)


def roll_back(session: "Session", evidence_hash: str) -> "Switched":
    """Roll back the cohorts that it was approved for. Safe to call again after any crash."""
    from vectorferry.engine.cutover.alias import point_back
    from vectorferry.engine.cutover.switch import Switched, asked_cohort, is_away
    from vectorferry.engine.signoff.approval import require_approval

    cohort = asked_cohort(session, evidence_hash)
    if not is_away(session, cohort):
        point_back(session)
        return Switched(Phase.TRACK_A, 0.0, 0, "")
    approval = require_approval(session, evidence_hash, ROLLBACK)
    return roll_back_now(session, f"{approval.reason} (approved by {approval.actor}, {evidence_hash[:12]})", cohort)


def roll_back_now(session: "Session", reason: str, cohort: str | None = None) -> "Switched":
    """Roll back on an operator's word: one cohort, or all that were cut over, the last first."""
    from vectorferry.engine.cutover.switch import roll_back
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker

    with naming_way_out(session), under_marker(session):
        return roll_back(session, reason, cohort)
