"""Scope: which namespaces a migration looks at, the same ones in every verb."""

from collections.abc import Iterable

from vectorferry.core.model import RESERVED_NAMESPACE
from vectorferry.engine.session import Session
from vectorferry.spec.sides import Namespaces


def in_scope(
    chosen: Namespaces,
    source: Iterable[str],
    target: Iterable[str] = (),
    planned: Iterable[str] = (),
    *,
    adopted: bool = False,
) -> tuple[str, ...]:
    """Of the namespaces that both sides have now, and those of the plan, the ones that the migration moves, in bitwise order.

    Namespaces that only the target has are the migration's, too, as what is too much there, unless the collection was `adopted`: then
    they were there before, and are nobody's business.
    """
    ours = {*source, *planned}
    found = ours if adopted else {*ours, *target}
    return tuple(sorted((n for n in found - {RESERVED_NAMESPACE} if chosen.chosen(n)), key=str.encode))


def scope_now(session: Session) -> tuple[str, ...]:
    """The namespaces of a migration that either side has now, or its plan has."""
    plan = session.journal.plans.current(session.migration)
    source, target = session.source.describe().namespaces, session.target.describe().namespaces
    planned = plan.details["namespaces"] if plan else ()
    return in_scope(session.spec.namespaces, source, target, planned, adopted=session.spec.target.adopt)
