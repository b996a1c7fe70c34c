"""Repair quota: counts what was repaired without approval within a period, because the spec's limits are for the period."""

from dataclasses import dataclass
from datetime import UTC, datetime

from vectorferry.engine.session import Session

# As the journals of the first release have it.
REPAIRED = "mended"


@dataclass(frozen=True, slots=True)
class UnaskedRepairs:
    """Records that were repaired without asking, and how many of them were deleted."""

    records: int = 0
    deletions: int = 0


def note_repair(session: Session, evidence_hash: str, records: int, deletions: int, *, asked: bool) -> None:
    """Write to the audit trail what is about to be repaired; first of all, so that no crash hides it."""
    detail = {"evidence": evidence_hash, "records": records, "deletions": deletions, "asked": asked}
    session.journal.audit.write(session.migration, session.actor, REPAIRED, detail)


def repairs_without_approval(session: Session) -> UnaskedRepairs:
    """What was repaired without asking within the last `reconcile.period`."""
    since = datetime.now(UTC) - session.spec.reconcile.period
    trail = session.journal.audit.trail(session.migration, REPAIRED)
    # A repair that was cut short and called again is one repair.
    rows = {row.detail["evidence"]: row.detail for row in trail if row.at > since}
    unasked = [detail for detail in rows.values() if not detail["asked"]]
    return UnaskedRepairs(sum(each["records"] for each in unasked), sum(each["deletions"] for each in unasked))
