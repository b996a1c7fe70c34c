"""Operation: what an approver is asked before something is destroyed (abandon, taint, forget), and whether the journal has the answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from vectorferry.core.errors import GateError, NotApproved
from vectorferry.core.model import ABANDON, FORGET, OPERATION, TAINT
from vectorferry.engine.cutover.abandon import leftovers
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import require_approval
from vectorferry.engine.sync.taint import require_tracked
from vectorferry.journal import Approval, Evidence


def prepare_operation(session: Session, verb: str, arguments: Mapping[str, str]) -> Evidence:
    """What this operation would destroy now, as evidence that can be signed; it binds the verb and all of its arguments.

    Raises GateError where the operation would be refused whatever the answer.
    """
    found = _found(session, verb, arguments)
    if not session.journal.control.all(session.migration):
        register(session.journal, session.spec, session.actor)  # the journal keeps evidence of migrations that it knows
    plan = session.journal.plans.current(session.migration)
    body = {
        "migration": session.migration,
        "run": session.run_id,
        "requested_by": session.actor,
        "collected_at": datetime.now(UTC).isoformat(),  # also keeps two questions about the same thing apart
        "go": True,
        "source": session.source.name,
        "target": session.target.name,
        "verb": verb,
        "arguments": dict(arguments),
        "found": found,
    }
    made = Evidence(
        hash=hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        migration=session.migration,
        plan_id=plan.id if plan else "",
        run_id=session.run_id,
        spec_fingerprint=session.journal.control.fingerprint(session.migration),
        watermark=0,
        kind=OPERATION,
        body=body,
        approvable=True,
    )
    return session.journal.evidence.save(made)


def _found(session: Session, verb: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    if verb == ABANDON:
        return asdict(leftovers(session))
    if verb == TAINT:
        require_tracked(session)
        return {side: store.describe().rows for side, store in (("source", session.source), ("target", session.target))}
    if verb == FORGET:
        member = session.journal.members.forgettable(session.migration, arguments["router"])
        phases = {cohort: str(standing.phase) for cohort, standing in member.cohorts.items()}
        return {
            "host": member.host,
            "pid": member.pid,
            "silent_seconds": round(-member.lease_left, 1),
            "phases": phases,
        }
    raise GateError(f"nobody is asked about {verb!r}")


def require_operation(session: Session, evidence_hash: str, verb: str, arguments: Mapping[str, str]) -> Approval:
    """The approval that lets exactly this operation begin; raises NotApproved. It is audited, which outlives an abandoned migration."""
    approval = require_approval(session, evidence_hash, OPERATION)
    signed = session.journal.evidence.get(evidence_hash)
    assert signed is not None, "it was approved"
    if (signed.body["verb"], signed.body["arguments"]) != (verb, dict(arguments)):
        told = f"{signed.body['verb']} with {signed.body['arguments']}"
        raise NotApproved(
            f"evidence {evidence_hash[:12]} was approved for {told}, not for {verb} with {dict(arguments)}"
        )
    detail = {"verb": verb, "arguments": dict(arguments), "approved_by": approval.actor, "reason": approval.reason}
    session.journal.audit.write(session.migration, session.actor, OPERATION, {**detail, "evidence": evidence_hash})
    return approval
