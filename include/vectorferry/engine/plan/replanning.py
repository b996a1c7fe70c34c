"""Replanning: cuts a plan anew, from the same listing, as long as nothing was exported under it."""

from collections import Counter
from dataclasses import replace

from vectorferry.core.errors import GateError, PlanMismatch
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.engine.plan.partition_size import partition_size
from vectorferry.engine.plan.planning import UNCUT, batch_limits, partitions_of, plan_id
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.listing import listing_of, place_of
from vectorferry.journal import Plan

_CUTS = "cuts"


def replan(session: Session) -> Plan:
    """Cut the plan in force anew by what the spec says of `partitions` now; what it moves, its listing and its watermark stay.

    Raises PlanMismatch where there is no plan, or more of the spec has changed than `partitions`, and GateError, changing nothing, once
    something was exported. Idempotent as far as it matters: each call cuts once more.
    """
    old = session.journal.plans.current(session.migration)
    if old is None:
        raise PlanMismatch(f"{session.migration!r} has no plan to cut anew: `vectorferry plan SPEC --save` makes one")
    _require_cuttable(session, old)
    size = partition_size(session.spec, _rows(old))
    partitions = partitions_of(session, old.details["namespaces"], listing_of(session, old), size.rows)
    cuts = int(old.details.get(_CUTS, 1)) + 1
    changed = {"rows": sum(each.rows for each in partitions), UNCUT: session.spec.uncut_fingerprint, _CUTS: cuts}
    new = replace(
        old,
        id=plan_id(session, cuts),
        fingerprint=session.spec.plan_fingerprint,
        listing=place_of(old),
        partitions=partitions,
        details={**old.details, **batch_limits(session), **changed},
    )
    made = session.journal.plans.replace(old, new, session.actor)
    prepare_queries(session, made)
    return made


def _require_cuttable(session: Session, old: Plan) -> None:
    if not old.partitions:
        raise GateError(f"the plan of {session.migration!r} has no partitions: there is nothing to cut")
    spec = session.spec
    if old.fingerprint != spec.plan_fingerprint and old.details.get(UNCUT) != spec.uncut_fingerprint:
        raise PlanMismatch(
            f"more of the spec of {session.migration!r} has changed since its plan was made than `partitions`, or an earlier release made "
            "that plan: restore the spec, or abandon the migration (`vectorferry abandon SPEC`) and start again"
        )


def _rows(plan: Plan) -> Counter[str]:
    """The rows that were counted in each namespace."""
    rows = Counter[str]()
    for span in (span for partition in plan.partitions for span in partition.ranges):
        rows[span.namespace] += span.rows or 0
    return rows
