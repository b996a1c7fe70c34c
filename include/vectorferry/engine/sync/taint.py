"""Taint: marks every record of both sides dirty, because nothing is known to be equal any more. Rules 8 and 9 of the protocol."""

from collections.abc import Iterator

from vectorferry.core.errors import GateError
from vectorferry.core.model import TAINT, KeyRange, Phase
from vectorferry.engine.marker import accept_journal
from vectorferry.engine.scope import scope_now
from vectorferry.engine.session import Session, StepProgress


def taint(session: Session, reason: str) -> int:
    """Mark every record that either side holds as dirty; voids evidence and approvals. Returns how many ids there are.

    Settling then copies each, read afresh, from the side that has the authority; a journal that was restored is accepted. Raises GateError
    where nothing is tracked.
    """
    require_tracked(session)
    # First of all: from here on no approval holds, however far this comes. The journal that is accepted is named with it.
    session.journal.audit.write(
        session.migration, session.actor, TAINT, {"reason": reason, "journal": session.journal.id}
    )
    accept_journal(session)
    marked = 0
    # Not those that an adopted target had before: settling would delete there what the source lacks.
    for namespace in scope_now(session):
        for page in _ids(session, namespace):
            cohort = session.spec.cohort_of(namespace)
            session.journal.claims.mark_dirty(session.migration, cohort, namespace, page)
            marked += len(page)
            session.report(StepProgress(TAINT, namespace or "(default)", marked))
    return marked


def require_tracked(session: Session) -> None:
    """Raise GateError where a taint would mean nothing: no writes are tracked, or not everything is loaded."""
    rows = session.journal.control.all(session.migration)
    if not session.spec.routers or not any(row.phase.tracks or row.phase.blocks_writes for row in rows):
        raise GateError(f"migration {session.migration} tracks no writes now: there is nothing to taint")
    if any(row.phase in (Phase.OFF, Phase.DONE) or not row.loaded for row in rows):
        raise GateError(
            f"migration {session.migration} is not loaded, or partly DONE: what is not loaded is not settled"
        )


def _ids(session: Session, namespace: str) -> Iterator[list[str]]:
    for store in (session.source, session.target):
        for page in store.list_ids(KeyRange(namespace)):
            yield list(page)
