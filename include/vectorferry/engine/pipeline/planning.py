"""Planning: what is decided and refused before anything is copied."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vectorferry.core.errors import CheckFailed, PreflightFailed

if TYPE_CHECKING:
    from vectorferry.engine.plan.cost import Cost as Cost
    from vectorferry.engine.plan.mapped_keys import MappedKey as MappedKey
    from vectorferry.engine.plan.preflight import Preflight as Preflight
    from vectorferry.engine.session import Session, StepProgress
    from vectorferry.journal import Journal, Plan
    from vectorferry.spec.loader import Fault
    from vectorferry.spec.migration import MigrationSpec


def register(journal: "Journal", spec: "MigrationSpec", actor: str) -> None:
    """Make the migration and its spec known, in OFF, so that routers can join. Idempotent."""
    from vectorferry.engine.plan.register import register

    register(journal, spec, actor)


def preflight(session: "Session", *, mappable: int | None = None, expectations: bool = True) -> "Preflight":
    """Look at both sides and refuse what cannot work; writes nothing but probes, which it deletes.

    `mappable` is how many partitions the caller can map over, None for any number. Without `expectations` those of the spec are for
    `require_expectations` to look at.
    """
    from vectorferry.engine.plan.preflight import preflight

    return preflight(session, mappable=mappable, faults=None if expectations else tuple)


def expectation_faults(spec: "MigrationSpec") -> "tuple[Fault, ...]":
    """What is wrong with the expectations of a spec; needs no database, and seconds where there are any."""
    if not spec.checks.expectations:
        return ()
    from vectorferry.engine.checks.expectations.faults import expectation_faults

    return expectation_faults(spec)


def require_expectations(spec: "MigrationSpec") -> None:
    """Raise PreflightFailed where an expectation of the spec cannot be judged."""
    if faults := expectation_faults(spec):
        raise PreflightFailed([str(fault) for fault in faults])


def begin(session: "Session") -> None:
    """Make the target where it is missing, and enter TRACK_A. Before the plan, every expected router must follow: `routers_missing`."""
    from vectorferry.engine.plan.begin import begin
    from vectorferry.engine.plan.preflight import preflight

    begin(session, preflight(session, sample=False))


def routers_missing(session: "Session", waited: float) -> "StepProgress | None":
    """How many expected routers follow, None once all do; raises GateError naming who is missing after `switch.wait_for_routers`."""
    from vectorferry.engine.members import routers_missing

    return routers_missing(session, waited) if session.spec.routers else None


def plan(session: "Session", *, mappable: int | None = None) -> "Plan":
    """Cut the source into partitions, once and for all; the plan in force where there is one. `mappable` as in `preflight`.

    Raises GateError where an expected router does not follow, or where the plan has more partitions than are mappable.
    """
    from vectorferry.engine.plan.planning import plan
    from vectorferry.engine.plan.preflight import preflight

    return plan(session, preflight(session, sample=False, mappable=mappable), mappable=mappable)


def replan(session: "Session") -> "Plan":
    """Cut the plan in force anew by the spec's `partitions`, from the same listing; refused once something was exported."""
    from vectorferry.engine.plan.replanning import replan

    return replan(session)


def current_plan(session: "Session") -> "Plan":
    """The plan in force, whatever the spec says by now; raises GateError where nothing was loaded or declared a pair."""
    from vectorferry.engine.session import plan_of

    return plan_of(session)


def subset(plan: "Plan", names: Sequence[str]) -> "Plan":
    """The plan with only the named partitions, for a subset run. Raises CheckFailed for a name that is not in the plan."""
    unknown = set(names) - {p.name for p in plan.partitions}
    if unknown:
        raise CheckFailed(
            f"no partition {', '.join(sorted(unknown))} in plan {plan.id}; it has p0000 to {plan.partitions[-1].name}"
        )
    return replace(plan, partitions=tuple(p for p in plan.partitions if p.name in names))
