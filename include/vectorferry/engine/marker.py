"""Marker in the target: tells a journal that was restored, or is another one, from the one under which the target was last written."""

from collections.abc import Iterator
from contextlib import contextmanager

from vectorferry.core.errors import GateError, NotFound, VectorferryError
from vectorferry.engine.session import Session, StepProgress
from vectorferry.journal import Marker


@contextmanager
def under_marker(session: Session) -> Iterator[None]:
    """Refuse the block where the target knows another journal, or a later state of this one, and mark where the block has led.

    Raises GateError.
    """
    require_own_journal(session)
    try:
        yield
    except VectorferryError:
        mark(session)
        raise
    mark(session)


def require_own_journal(session: Session) -> None:
    """Raise GateError where the target was last written under another journal, or under a later state of this one."""
    if not session.target.capabilities.markers:
        return
    found = session.target.marker(session.migration)
    if found is None:
        return
    known, now = Marker.parse(found), session.journal.marker(session.migration)
    why = known.contradicts(now.journal, now.epoch)
    if not why and known.generation > now.generation:
        why = f"the target knows write {known.generation} of this journal, and the journal only {now.generation}"
    if why:
        raise GateError(
            f"{session.target.name}: {why}: the journal was restored from an older state, or is another one. Nothing was changed. "
            "Find out which side took the last writes (docs/protocol.md, a journal that was lost or restored); then "
            "`vectorferry taint SPEC` goes on with this journal, `vectorferry abandon SPEC` gives the migration up"
        )


def accept_journal(session: Session) -> None:
    """Have the target remember this journal, whatever it knew before: somebody has looked."""
    if session.target.capabilities.markers:
        session.target.keep_marker(session.migration, str(session.journal.marker(session.migration)))


def mark(session: Session) -> None:
    """Have the target remember the journal as it is now, where it can. What failed is told, and made up for by the next verb."""
    try:
        accept_journal(session)
    except NotFound:
        return  # no target yet: there is nothing that could be written under another journal
    except VectorferryError as error:
        # An older marker tells less, and never what is not so: it is no reason to fail a switch that was made.
        session.report(StepProgress("marker", session.migration, 0, None, f"not kept: {error}"))


def forget_marker(session: Session) -> None:
    """Remove the migration's marker from a target that stays."""
    if session.target.capabilities.markers and session.target.marker(session.migration) is not None:
        session.target.keep_marker(session.migration, None)
