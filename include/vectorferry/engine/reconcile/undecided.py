"""Undecided finding: what a reconciliation found that is more than may be repaired without asking, and that nobody has answered to."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from vectorferry.core.audited import ASKED, EVIDENCE, RUN
from vectorferry.core.errors import GateError
from vectorferry.core.model import REPAIR
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.reconcile.repair_quota import REPAIRED
from vectorferry.engine.session import Session
from vectorferry.journal import Evidence


def finding_to_decide(session: Session) -> Evidence:
    """What this run asks about: what its first question was about, else the newest finding.

    Raises GateError where nothing waits for a person: it needs none, it lapsed, or somebody answered, or repaired, since it was found.
    """
    trail = session.journal.audit.trail(session.migration, ASKED, REPAIRED)
    asked = [(row.detail[RUN], row.detail[EVIDENCE]) for row in trail if row.action == ASKED]
    for digest in (digest for run, digest in asked if run == session.run_id):
        ours = session.journal.evidence.get(digest)
        if ours is not None and ours.kind == REPAIR:
            return ours
    found = session.journal.evidence.latest(session.migration, REPAIR)
    if found is None or not (found.approvable and drift_figures(found)["over"]):
        raise GateError(f"nothing by which {session.migration} drifted waits for a person")
    assert found.created_at is not None, "it was read from the journal"
    done = [row.at for row in trail if row.action == REPAIRED]
    if any(at > found.created_at for at in (*done, *_answered(session, dict.fromkeys(each for _, each in asked)))):
        raise GateError(
            f"somebody answered, or repaired, since evidence {found.hash[:12]} was collected: the next reconciliation looks anew"
        )
    if datetime.now(UTC) - found.created_at > session.spec.approval.evidence_age:
        raise GateError(
            f"evidence {found.hash[:12]} has lapsed (approval.evidence_age): the next reconciliation looks anew"
        )
    return found


def _answered(session: Session, asked: Iterable[str]) -> Iterator[datetime]:
    """When somebody answered to a finding."""
    for digest in asked:
        evidence = session.journal.evidence.get(digest)
        if evidence is not None and evidence.kind == REPAIR:
            yield from (each.answered_at for each in session.journal.approvals.all(digest))
