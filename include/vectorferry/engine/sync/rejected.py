"""Rejected records: dirty ones that the follower does not take, told to people, and excused by them."""

from vectorferry.core.errors import GateError
from vectorferry.core.model import Phase
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle import sides_in

EXCUSE = "excuse"
WAY_OUT = (
    "write them anew, delete them, or leave them behind with `vectorferry excuse SPEC --namespace N --id ID --reason R`"
)


def refuse_rejected(session: Session, cohort: str) -> None:
    """Raise GateError, naming the first, where records are rejected: they would keep the authority where it is."""
    if told := rejected_text(session, cohort):
        raise GateError(told)


def rejected_text(session: Session, cohort: str) -> str:
    """The records that the follower rejects, and the way out, for a person; empty where there are none."""
    found = session.journal.claims.rejected(session.migration, cohort)
    return f"{found}. Way out: {WAY_OUT}" if found else ""


def excuse(session: Session, namespace: str, id_: str, reason: str) -> str:
    """Leave a dirty record behind that the follower rejects; returns why it does. Audited; settling then takes it as excused.

    In the target it is deleted; what the source has under its id stays as it is. Raises GateError for a record that is clean, written
    meanwhile or not rejected, and above `limits.excused`.
    """
    cohort = session.spec.cohort_of(namespace)
    phase = session.control(cohort).phase
    if phase in (Phase.OFF, Phase.DONE):
        raise GateError(
            f"cohort {cohort} of {session.migration} is in {phase}: nothing is settled, so nothing is in the way"
        )
    state = session.journal.records.states(session.migration, namespace, [id_]).get(id_)
    if state is None or not state.unsettled:
        raise GateError(f"{_name(namespace, id_)} is settled: both sides hold the same, there is nothing to excuse")
    why = _rejection(session, phase, namespace, id_)
    _require_allowance(session)
    text = f"{reason} ({why})"
    if not session.journal.records.excuse_rejected(session.migration, namespace, id_, state.generation, text):
        raise GateError(f"{_name(namespace, id_)} is being written: settle it, and look again")
    detail = {"namespace": namespace, "id": id_, "reason": reason, "rejection": why, "phase": phase}
    session.journal.audit.write(session.migration, session.actor, EXCUSE, detail)
    return why


def _rejection(session: Session, phase: Phase, namespace: str, id_: str) -> str:
    """Why the follower does not take what the authority has now, asked afresh, or why it did not at the last try."""
    sides = sides_in(session, phase)
    recorded = session.journal.claims.rejection(session.migration, namespace, id_)
    if recorded is not None:
        return recorded
    found = sides.follower.rejections(sides.authority.fetch(namespace, [id_]))
    if not found:
        raise GateError(f"{_name(namespace, id_)} is not rejected by {sides.follower.name}: settle it")
    return f"{sides.follower.name}: {found[0].reason}"


def _require_allowance(session: Session) -> None:
    allowed = session.spec.limits.excused
    total = sum(1 for _ in session.journal.records.excused(session.migration))
    if total >= allowed:
        raise GateError(
            f"{total} records are excused already, and limits.excused allows {allowed}: raise it in the spec"
        )


def _name(namespace: str, id_: str) -> str:
    return f"{namespace or '(default)'}/{id_}"
