"""Loaded partitions: which are complete, and which records stayed behind."""

from vectorferry.core.errors import GateError
from vectorferry.core.model import Partition
from vectorferry.engine.session import Session
from vectorferry.journal import Plan

LOAD = "load"


def missing_loads(session: Session, plan: Plan) -> list[str]:
    """Partitions of the plan that are not loaded."""
    names = {partition.name for partition in plan.partitions}
    return [name for name in session.journal.attempts.incomplete(plan.id, LOAD) if name in names]


def require_loaded(session: Session, plan: Plan) -> None:
    """Raise GateError where a partition is not loaded; note in the journal that all are."""
    missing = missing_loads(session, plan)
    if missing:
        raise GateError(
            f"{len(missing)} partitions are not loaded ({', '.join(missing[:10])}): clear their tasks first"
        )
    for cohort in session.spec.cohorts:
        session.journal.control.mark_loaded(session.migration, cohort.name)


def excused_ids(session: Session, partition: Partition | None = None) -> frozenset[tuple[str, str]]:
    """(namespace, id) of the records that stay behind, of all or of one partition: the journal knows, and nothing else.

    A record that a router has written anew since, so that the target holds it, is not among them.
    """
    name = partition.name if partition else None
    return frozenset((row.namespace, row.id) for row in session.journal.records.excused(session.migration, name))
