"""Begin: has the migration registered, makes its target, and starts to track."""

from collections.abc import Sequence

from vectorferry.core.errors import AlreadyExists, GateError
from vectorferry.core.model import Phase
from vectorferry.engine.marker import mark, require_own_journal
from vectorferry.engine.plan.preflight import Preflight
from vectorferry.engine.plan.register import register
from vectorferry.engine.plan.target_definition import target_definition
from vectorferry.engine.plan.target_ownership import (
    CREATED,
    FILLED,
    TAKEN,
    filled_by_us,
    last_mark,
    made_by_us,
    target_place,
)
from vectorferry.engine.session import Session
from vectorferry.journal import ControlRow


def begin(session: Session, found: Preflight) -> None:
    """Make the target where it is missing, and enter TRACK_A. Idempotent; refused once the authority has moved."""
    require_own_journal(session)
    register(session.journal, session.spec, session.actor)
    rows = session.journal.control.all(session.migration)
    _require_source_rules(session.migration, rows)
    if not found.target_exists:
        _create_target(session, found)
    elif not filled_by_us(session):
        session.journal.audit.write(session.migration, session.actor, FILLED, target_place(session))
    reason = f"begin: {session.spec.routers} routers" if session.spec.routers else "begin: writers none"
    for row in (row for row in rows if row.phase is Phase.OFF):
        session.journal.control.advance(row, Phase.TRACK_A, actor=session.actor, reason=reason)
    mark(session)


def _require_source_rules(migration: str, rows: Sequence[ControlRow]) -> None:
    """Something is left to cut over, and nothing is between its two stores: some cohorts may have been cut over before."""
    phases = {row.phase for row in rows}
    if not phases & {Phase.OFF, Phase.TRACK_A} or not phases <= {Phase.OFF, Phase.TRACK_A, Phase.TRACK_B}:
        raise GateError(
            f"migration {migration} is in {', '.join(sorted(phases))}: there is nothing to begin; see `vectorferry status`"
        )


def _create_target(session: Session, found: Preflight) -> None:
    definition = target_definition(session, found.source)
    ours = made_by_us(session, last_mark(session))
    if not ours:
        # The audit row comes first: after a crash in between, the half-made target is known as ours.
        session.journal.audit.write(session.migration, session.actor, CREATED, target_place(session))
    try:
        session.target.create(definition)
    except AlreadyExists:
        if not ours:  # somebody made it since preflight looked: it is not ours to fill, let alone to drop
            session.journal.audit.write(session.migration, session.actor, TAKEN, target_place(session))
            raise
