"""Running: the whole migration, and its end, in this process; the DAG does the same in tasks."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from vectorferry.core.errors import CheckFailed, GateError, VectorferryError
from vectorferry.core.model import FINALIZE, Partition
from vectorferry.engine.pipeline.ending import finish, prepare_finalize
from vectorferry.engine.pipeline.judging import (
    check_collection,
    check_partition,
    check_recall,
    check_touched,
    index_missing,
    merge,
    shadow_reads_missing,
)
from vectorferry.engine.pipeline.moving import export_partition, load_partition
from vectorferry.engine.pipeline.planning import routers_missing
from vectorferry.engine.pipeline.settling import settle
from vectorferry.engine.pipeline.signing import evidence
from vectorferry.engine.pipeline.switching import cut_over, still_watched, verify

if TYPE_CHECKING:
    from vectorferry.engine.cutover.switch import Switched as Switched
    from vectorferry.engine.plan.preflight import Preflight as Preflight
    from vectorferry.engine.session import Session
    from vectorferry.journal import Evidence, Plan
    from vectorferry.spec.loader import Fault


Approve = Callable[["Session", "Evidence"], bool]
"""Asks for the approval and writes the answer to the journal; returns whether it was given."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run in one process ended; `switched` is None where it was not approved."""

    plan: "Plan"
    evidence: "Evidence"
    switched: "Switched | None"


def prepare(session: "Session", faults: "Callable[[], Sequence[Fault]] | None" = None) -> "tuple[Preflight, Plan]":
    """Preflight, begin, the wait for routers and plan, with one look at both sides; `faults` as preflight takes it."""
    from vectorferry.engine.members import POLL_SECONDS
    from vectorferry.engine.plan.begin import begin
    from vectorferry.engine.plan.planning import plan
    from vectorferry.engine.plan.preflight import preflight
    from vectorferry.engine.waiting import wait_here

    found = preflight(session, faults=faults)
    begin(session, found)
    wait_here(session, partial(routers_missing, session), POLL_SECONDS)
    return found, plan(session, found)


def move_partition(session: "Session", plan: "Plan", partition: Partition) -> None:
    """Export, load and check one partition."""
    export_partition(session, plan, partition)
    load_partition(session, plan, partition)
    check_partition(session, plan, partition)


def wait_and_merge(session: "Session", plan: "Plan") -> None:
    """`merge` once the target's index is complete, which this process waits for."""
    from vectorferry.engine.checks.index_ready import POLL_SECONDS
    from vectorferry.engine.waiting import wait_here

    wait_here(session, partial(index_missing, session, plan), POLL_SECONDS)
    merge(session, plan)


def watch_cohort(session: "Session", cohort: str) -> None:
    """Watch a cohort in this process; see `still_watched`."""
    from vectorferry.engine.cutover.guardrails import POLL_SECONDS
    from vectorferry.engine.waiting import wait_here

    wait_here(session, lambda _: still_watched(session, cohort), POLL_SECONDS)


def run(session: "Session", approve: Approve) -> RunOutcome:
    """The whole migration in one process. A failed partition does not stop the others; its failure is raised at the end.

    A switch that was cut short is ended first, on the evidence that was signed for it.
    """
    from vectorferry.engine.cutover.switch import unfinished

    signed = session.journal.evidence.latest(session.migration)
    if signed is not None and unfinished(session, signed.hash):
        return _switched(session, session.plan(), signed)
    try:
        plan = _moved_and_checked(session)
    except CheckFailed as error:
        _tell_where_to_look(session, error)
        raise
    made = evidence(session, plan)
    if not approve(session, made):
        return RunOutcome(plan, made, None)
    return _switched(session, plan, made)


def _moved_and_checked(session: "Session") -> "Plan":
    from vectorferry.engine.checks.expectations.beside import beside
    from vectorferry.engine.checks.shadow_reads import POLL_SECONDS as SHADOW_POLL
    from vectorferry.engine.session import StepProgress
    from vectorferry.engine.signoff.gate import record_passed
    from vectorferry.engine.waiting import wait_here

    with beside(session) as expectations:
        _, plan = prepare(session, expectations.faults)
        for partition in plan.partitions:
            for step in ("export", "load", "check"):
                session.report(StepProgress(step, partition.name, 0, partition.rows))
        _each(session, plan, move_partition)
        judged = expectations.judge(plan)
        if session.spec.routers:
            settle(session, plan)
        wait_and_merge(session, plan)
        _each(session, plan, check_recall)
        check_collection(session, plan)
        if session.spec.routers:
            wait_here(session, partial(shadow_reads_missing, session, plan), SHADOW_POLL)
            check_touched(session, plan)
        record_passed(session, plan, [judged()])
    return plan


def _tell_where_to_look(session: "Session", error: CheckFailed) -> None:
    """Bind what was measured before a check failed into evidence that says no, and note on the error where its report lies."""
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import failures
    from vectorferry.engine.signoff.report import where_to_look

    plan = session.journal.plans.current(session.migration)
    found = session.journal.evidence.verdicts(plan.id, session.run_id) if plan else ()
    if plan is None or not found:
        return
    against = list(failures(plan, session.spec.checks, found))
    made = collect(session, plan, against, approvable=False)
    error.add_note(where_to_look(session.staged(plan), made))


def _switched(session: "Session", plan: "Plan", signed: "Evidence") -> RunOutcome:
    done = list(_cohort_by_cohort(session, plan, signed))
    verify(session, plan)
    longest = max(each.hold_seconds for each in done)
    return RunOutcome(plan, signed, replace(done[-1], hold_seconds=longest))


def _cohort_by_cohort(session: "Session", plan: "Plan", signed: "Evidence") -> "Iterator[Switched]":
    *canaries, last = session.spec.cohorts
    for cohort in canaries:
        yield cut_over(session, plan, signed.hash, cohort.name)
        watch_cohort(session, cohort.name)
    yield cut_over(session, plan, signed.hash, last.name)


def _each(session: "Session", plan: "Plan", work: "Callable[[Session, Plan, Partition], object]") -> None:
    """Work on all partitions, several at a time, depth first; raises once all have ended."""
    from vectorferry.engine.session import StepProgress

    def one(partition: Partition) -> VectorferryError | None:
        try:
            work(session, plan, partition)
        except VectorferryError as error:
            session.report(StepProgress("failed", partition.name, 0, None, str(error)))
            return error
        return None

    with ThreadPoolExecutor(session.spec.partitions.parallel, thread_name_prefix="partition") as pool:
        errors = [error for error in pool.map(one, plan.partitions) if error is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        said_no = any(isinstance(error, GateError) for error in errors)
        kind = CheckFailed if said_no else type(errors[0])
        raise kind(f"{len(errors)} partitions failed:\n" + "\n".join(str(e) for e in errors[:10]))


def finalize(session: "Session", approve: Approve) -> bool:
    """The end in one process: a fresh comparison, the approval, DONE; whether it was approved. Goes on where it was killed."""
    from vectorferry.engine.cutover.finalize import is_done
    from vectorferry.engine.cutover.way_out import naming_way_out

    with naming_way_out(session):
        signed = session.journal.evidence.latest(session.migration, FINALIZE)
        if signed is not None and is_done(session):
            finish(session, signed.hash)
            return True
        made = prepare_finalize(session)
        if not approve(session, made):
            return False
        finish(session, made.hash)
        return True
