"""Alias of the target: pointed to it at the cut-over, and back to where it pointed before at a rollback."""

from vectorferry.engine.session import Session, open_beside
from vectorferry.stores.registry import target_options

_FOUND, _POINTED = "find_alias", "point_alias"


def point(session: Session) -> None:
    """Point the spec's alias, where it has one, to the target. Idempotent."""
    alias = session.spec.target.alias
    if alias is None:
        return
    before = session.target.alias_target(alias)
    if before != session.spec.target.collection:
        # The audit row comes first: after a crash in between, it is known where the alias pointed.
        _audit(session, _FOUND, {"alias": alias, "to": before})
    session.target.point_alias(alias)
    _audit(session, _POINTED, {"alias": alias, "to": session.spec.target.collection})


def point_back(session: Session) -> None:
    """Point the alias back to the collection that it was found at. One that the cut-over made stays with the target. Idempotent.

    Where source and target lie in one database, that is as a rule the source, which the alias led to before.
    """
    alias = session.spec.target.alias
    found = [row.detail for row in session.journal.audit.trail(session.migration, _FOUND)]
    if alias is None or not found or found[-1]["alias"] != alias or found[-1]["to"] is None:
        return
    if session.target.alias_target(alias) != session.spec.target.collection:
        return  # somebody pointed it elsewhere, or an earlier try has pointed it back
    before = str(found[-1]["to"])
    with open_beside(session, "target", before, target_options(session.spec)) as (store, _):
        store.point_alias(alias)
    _audit(session, _POINTED, {"alias": alias, "to": before})


def _audit(session: Session, action: str, detail: dict[str, str | None]) -> None:
    session.journal.audit.write(session.migration, session.actor, action, detail)
