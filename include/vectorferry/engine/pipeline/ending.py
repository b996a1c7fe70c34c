"""Ending: a migration that is done, or given up."""

from typing import TYPE_CHECKING

from vectorferry.core.model import FINALIZE

if TYPE_CHECKING:
    from vectorferry.engine.cutover.abandon import Leftovers as Leftovers
    from vectorferry.engine.session import Session
    from vectorferry.journal import Evidence


def prepare_finalize(session: "Session") -> "Evidence":
    """Compare both sides in full, as evidence that can be signed for DONE.

    Raises CheckFailed where they differ, GateError where the restore drill that the spec requires is missing.
    """
    from vectorferry.engine.backup.drill import last_drill
    from vectorferry.engine.cutover.finalize import require_cut_over, verify_fresh
    from vectorferry.engine.session import plan_of
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import describe, record, require_passed

    plan = plan_of(session)
    require_cut_over(session)
    if drilled := last_drill(session):
        record(session, plan, [drilled])
    verdicts = record(session, plan, [verify_fresh(session)])
    against = [describe(verdict) for verdict in verdicts if not verdict.passed]
    made = collect(session, plan, against, approvable=not against, kind=FINALIZE)
    require_passed(verdicts)
    return made


def finish(session: "Session", evidence_hash: str) -> None:
    """Enter DONE as it was approved, and wait until nothing can write to the source any more. Safe to call again."""
    from vectorferry.engine.cutover.finalize import finish
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker

    with naming_way_out(session), under_marker(session):
        finish(session, evidence_hash)


def leftovers(session: "Session") -> "Leftovers":
    """What an unfinished migration left, and `abandon` would remove. Raises GateError from HOLD_A on."""
    from vectorferry.engine.cutover.abandon import leftovers

    return leftovers(session)


def abandon(session: "Session") -> "Leftovers":
    """Remove what `leftovers` lists. The audit trail and backups stay."""
    from vectorferry.engine.cutover.abandon import abandon

    return abandon(session)
