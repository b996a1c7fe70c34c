"""Abandon: lists, then removes, what an unfinished migration left behind; refused from HOLD_A on."""

from dataclasses import dataclass

from vectorferry.core.errors import GateError, NotFound
from vectorferry.core.model import Phase
from vectorferry.engine.backup.format import FOLDER, names
from vectorferry.engine.cutover.way_out import ways_out
from vectorferry.engine.lease import wait_landed
from vectorferry.engine.marker import forget_marker
from vectorferry.engine.members import live_members
from vectorferry.engine.plan.target_ownership import Mark, last_mark, made_by_us, target_place
from vectorferry.engine.session import Session

_REVERSIBLE = (Phase.OFF, Phase.TRACK_A)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What would be removed; None where there is nothing of the kind."""

    target: str | None
    target_rows: int
    staging: str | None
    plan: str | None


def leftovers(session: Session) -> Leftovers:
    """What an unfinished migration left.

    Raises GateError from HOLD_A on, where the way back is a rollback, while routers are members, and where the spec names another
    target than it began with.
    """
    for row in session.journal.control.all(session.migration):
        if row.phase not in _REVERSIBLE:
            raise GateError(
                f"migration {session.migration} can no longer be abandoned: {ways_out([row], routers=bool(session.spec.routers))}"
            )
    mark = last_mark(session)
    _refuse_other_target(session, mark)
    _refuse_routers(session)
    plan = session.journal.plans.current(session.migration)
    rows = _target_rows(session)
    return Leftovers(
        session.target.name if rows is not None and made_by_us(session, mark) else None,
        rows or 0,
        session.staging.url if session.staging.exists("") else None,
        plan.id if plan else None,
    )


def _refuse_other_target(session: Session, mark: Mark | None) -> None:
    if mark is not None and mark[1] != target_place(session):
        raise GateError(
            f"migration {session.migration} began with target {mark[1]['target']} of connection {mark[1]['connection']!r}, "
            f"the spec now names {session.target.name}: restore `target` in the spec, then abandon"
        )


def _refuse_routers(session: Session) -> None:
    # Before anything is removed: they write to the target, too.
    members = live_members(session.journal, session.migration, session.actor)
    if members:
        names = ", ".join(member.id for member in members)
        raise GateError(
            f"routers still use migration {session.migration}: {names}. Stop the applications, or point them at the source"
        )


def _remove_staging(session: Session) -> None:
    """Everything that is no backup: of the target, a backup may be all that is left of what somebody made there."""
    if not names(session.staging):
        session.staging.remove()
    for path in session.staging.list(""):
        if path != FOLDER:
            session.staging.remove(path)


def _target_rows(session: Session) -> int | None:
    try:
        return session.target.describe().rows
    except NotFound:
        return None


def abandon(session: Session) -> Leftovers:
    """Remove what `leftovers` lists: a target that this migration made, its staging, its journal rows. Audit and backups stay."""
    found = leftovers(session)
    session.journal.audit.write(
        session.migration, session.actor, "abandoning", {"target": found.target, "plan": found.plan}
    )
    # A request of a killed worker that lands after the drop would write into whatever is made under that name next.
    wait_landed(
        session, found.plan or "", lambda: session.journal.attempts.all_settled_at(session.migration, session.deadline)
    )
    if found.target is not None:
        session.target.drop()
    else:
        forget_marker(session)
    _remove_staging(session)
    session.journal.forget(session.migration)
    # Last, so that a crash before it leaves the target known as ours and abandon can be called again.
    session.journal.audit.write(session.migration, session.actor, "abandon", {"target": found.target})
    return found
