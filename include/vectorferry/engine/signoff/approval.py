"""Approvals: who may sign, and whether a signature in the journal holds; nothing else is believed."""

from datetime import datetime
from typing import Literal

from vectorferry.core.errors import NotApproved
from vectorferry.core.model import CUTOVER
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.questions import allowed, has_role, known_roles
from vectorferry.journal import Approval, Evidence

Decision = Literal["approve", "reject"]


def record_answer(
    session: Session,
    evidence_hash: str,
    decision: Decision,
    *,
    person: str,
    reason: str,
    via: Literal["airflow", "terminal"],
    asked_at: datetime | None = None,
) -> Approval:
    """Write a person's answer to the journal. Raises NotApproved where this person may not give it; nothing is written then."""
    evidence = session.journal.evidence.get(evidence_hash)
    if evidence is None or evidence.migration != session.migration:
        raise NotApproved(f"the journal holds no evidence {evidence_hash[:12]} of migration {session.migration}")
    if decision == "approve":
        _may_approve(session, evidence, person, via)
    if session.spec.approval.reason_required and not reason.strip():
        raise NotApproved("a reason is required: answer again and write one, or set `approval.reason_required: false`")
    return session.journal.approvals.record(
        evidence_hash,
        decision,
        person,
        person,
        reason.strip(),
        via,
        asked_at,
        session.run_id,
        max_age=session.spec.approval.evidence_age,
    )


def _may_approve(session: Session, evidence: Evidence, person: str, via: str) -> None:
    rules = session.spec.approval
    if not person:
        raise NotApproved("the answer names no person: a timed-out default is no approval")
    if not _is_approver(session, evidence, person):
        raise NotApproved(f"{person} is not an approver: {allowed(session.migration, rules.approvers, rules.roles)}")
    if rules.four_eyes and person == evidence.body["requested_by"]:
        raise NotApproved(f"{person} asked for this run and cannot approve it (approval.four_eyes)")
    if via == "terminal" and not rules.terminal:
        raise NotApproved("the spec does not allow an approval on a terminal (approval.terminal)")


def _is_approver(session: Session, evidence: Evidence, person: str) -> bool:
    """By name, or by a role that Airflow's server knew this person to have when the answer came. What nobody knows counts for nothing."""
    rules = session.spec.approval
    if person in rules.approvers or not (rules.approvers or rules.roles):
        return True
    return bool(rules.roles) and has_role(known_roles(session, evidence.hash, person), rules.roles)


def require_approval(session: Session, evidence_hash: str, kind: str) -> Approval:
    """The approval that lets begin what the evidence was collected for: a cut-over, a rollback, a repair or the end.

    Raises NotApproved where it is missing, lapsed, not this person's to give, or was given for something else.
    """
    evidence = session.journal.evidence.get(evidence_hash)
    if evidence is None or evidence.migration != session.migration:
        raise NotApproved(f"the journal holds no evidence {evidence_hash[:12]} of migration {session.migration}")
    if evidence.kind != kind:
        raise NotApproved(f"evidence {evidence_hash[:12]} was approved for a {evidence.kind}, not for a {kind}")
    if kind == CUTOVER and evidence.spec_fingerprint != session.spec.fingerprint:
        raise NotApproved("the spec changed since the evidence was collected: run the migration again")
    approval = session.journal.approvals.valid(
        session.migration, evidence_hash, max_age=session.spec.approval.evidence_age
    )
    _may_approve(session, evidence, approval.actor, approval.via)
    return approval
