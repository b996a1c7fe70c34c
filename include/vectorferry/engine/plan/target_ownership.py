"""Ownership of the target: whether this migration made it, filled it, or gave it up, by the audit trail."""

from collections.abc import Mapping
from typing import Any

from vectorferry.engine.session import Session

CREATED, FILLED, TAKEN, ABANDONED = "create_target", "fill_target", "target_taken", "abandon"


_MARKS = (CREATED, FILLED, TAKEN, ABANDONED)


Mark = tuple[str, Mapping[str, Any]]
"""What became of a target, and which it was."""


def made_by_us(session: Session, mark: Mark | None) -> bool:
    """Whether this migration made the target that the spec names, and it was not abandoned since, by the last mark."""
    return mark == (CREATED, target_place(session))


def filled_by_us(session: Session) -> bool:
    """Whether this migration made the target that the spec names, or began to fill it."""
    mark = last_mark(session)
    return mark is not None and mark[1] == target_place(session) and mark[0] in (CREATED, FILLED)


def target_place(session: Session) -> dict[str, str]:
    """The target as the audit names it: what one spec made is not another's to drop."""
    return {"target": session.target.name, "connection": session.spec.target.connection}


def last_mark(session: Session) -> Mark | None:
    """What became of this migration's target last, and which it was; None where it has none, or it was abandoned."""
    marks = [(row.action, row.detail) for row in session.journal.audit.trail(session.migration, *_MARKS)]
    return marks[-1] if marks and marks[-1][0] not in (TAKEN, ABANDONED) else None
