"""The steps of a migration in their order: the same functions under the DAG's tasks, the command line and the tests.

    preflight -> begin -> plan -> each partition: export, load, check_partition -> settle
      -> merge (truth and answers) -> each partition: check_recall -> check_collection -> recheck -> evidence
      -> approval -> switch -> verify

At any time once it is loaded: reconcile -> approval, where it is too much to mend without -> repair.
After the cut-over: look_back -> approval -> roll_back, or look_final -> approval -> finish.
`settle` and `recheck` are there for what routers write meanwhile, and only where the spec expects writers.
Every step is idempotent and goes on where a killed one stopped. A failed check is recorded before it raises CheckFailed.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from vectorferry.core.errors import CheckFailed, GateError, VectorferryError
from vectorferry.core.model import FINALIZE, REPAIR, ROLLBACK, Partition, Phase, Verdict
from vectorferry.engine.backup.drill import look_at_drill
from vectorferry.engine.checks.content import check_counts
from vectorferry.engine.checks.extras import check_extras
from vectorferry.engine.checks.filter_parity import check_filters
from vectorferry.engine.checks.ground_truth import merge_truth
from vectorferry.engine.checks.latency import check_latency
from vectorferry.engine.checks.recall import ask_target, recall_by_namespace, recall_of_partition
from vectorferry.engine.checks.shadow_reads import check_shadow_reads
from vectorferry.engine.cutover import post_cutover, switch
from vectorferry.engine.cutover.finalize import finish, is_done, require_cut_over, verify_fresh
from vectorferry.engine.cutover.guardrails import watch
from vectorferry.engine.plan import planning
from vectorferry.engine.plan.preflight import Preflight
from vectorferry.engine.plan.preflight import preflight as look
from vectorferry.engine.reconcile import preconditions
from vectorferry.engine.reconcile.reconcile import reconcile as compare_both
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.reconcile.repair import repair as mend
from vectorferry.engine.session import Progress, Session
from vectorferry.engine.signoff.approval import require_approval
from vectorferry.engine.signoff.evidence import collect
from vectorferry.engine.signoff.gate import describe, failures, record, require_passed
from vectorferry.engine.sync.touched_check import recheck as compare_again
from vectorferry.engine.sync.touched_check import settle_loaded
from vectorferry.engine.transfer import export, load
from vectorferry.journal import Evidence, Plan


def preflight(session: Session) -> Preflight:
    """Look at both sides and refuse what cannot work; writes nothing."""
    return look(session)


def prepare(session: Session) -> tuple[Preflight, Plan]:
    """Preflight, begin (the target is made, TRACK_A) and plan."""
    found = look(session)
    planning.begin(session, found)
    return found, planning.plan(session, found)


def check_partition(session: Session, plan: Plan, partition: Partition) -> Sequence[Verdict]:
    """Counts and content of one partition."""
    verdicts = record(session, plan, check_counts(session, plan, partition))
    require_passed(verdicts)
    return verdicts


def move_partition(session: Session, plan: Plan, partition: Partition) -> None:
    """Export, load and check one partition."""
    export.export(session, plan, partition)
    load.load(session, plan, partition)
    check_partition(session, plan, partition)


def merge(session: Session, plan: Plan) -> None:
    """Merge the partitions' exact neighbours, wait for the target's index, and ask it every query."""
    merge_truth(session, plan)
    ask_target(session, plan)


def check_recall(session: Session, plan: Plan, partition: Partition) -> Sequence[Verdict]:
    """Recall of one partition's records."""
    verdicts = record(session, plan, [recall_of_partition(session, plan, partition)])
    require_passed(verdicts)
    return verdicts


def check_collection(session: Session, plan: Plan) -> Sequence[Verdict]:
    """Recall by namespace, extra records, filters and latency; all are measured before the first failure is raised."""
    checks = (recall_by_namespace, check_extras, check_filters, check_latency)
    verdicts = [v for check in checks for v in record(session, plan, check(session, plan))]
    require_passed(verdicts)
    return verdicts


def settle(session: Session, plan: Plan) -> None:
    """Settle what routers wrote while the partitions were moved."""
    settle_loaded(session, plan)


def recheck(session: Session, plan: Plan) -> Sequence[Verdict]:
    """What routers repeated on the target, then every record that they wrote since the plan, settled and compared, read afresh."""
    verdicts = [v for check in (check_shadow_reads, compare_again) for v in record(session, plan, check(session, plan))]
    require_passed(verdicts)
    return verdicts


def evidence(session: Session, plan: Plan, *, approvable: bool = True) -> Evidence:
    """Bind all verdicts of this run into evidence that can be signed. Raises CheckFailed, naming at most ten failures.

    `approvable=False` marks the evidence of a subset or dry run: it is kept, and can never be signed.
    """
    from vectorferry.engine.checks.expectations import (
        check_expectations,  # pandas, a second that no other task should pay
    )

    record(session, plan, check_expectations(session, plan))
    against = list(failures(plan, session.journal.evidence.verdicts(plan.id, session.run_id)))
    made = collect(session, plan, against, approvable=approvable and not against)
    if against and approvable:
        more = f"\n… and {len(against) - 10} more" if len(against) > 10 else ""
        raise CheckFailed("NO-GO:\n" + "\n".join(f"- {line}" for line in against[:10]) + more)
    return made


def verify(session: Session, plan: Plan) -> Verdict:
    """Verify the new authority after the cut-over."""
    verdict = post_cutover.verify_after(session, plan)
    record(session, plan, [verdict])
    session.journal.audit.write(session.migration, session.actor, "verified", {"passed": verdict.passed})
    require_passed([verdict])
    return verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run in one process ended; `switched` is None where it was not approved."""

    plan: Plan
    evidence: Evidence
    switched: switch.Switched | None


Approve = Callable[[Session, Evidence], bool]
"""Asks for the approval and writes the answer to the journal; returns whether it was given."""


def run(session: Session, approve: Approve) -> Outcome:
    """The whole migration in one process. A failed partition does not stop the others; its failure is raised at the end.

    A switch that was cut short is ended first, on the evidence that was signed for it.
    """
    signed = session.journal.evidence.latest(session.migration)
    if signed is not None and switch.unfinished(session, signed.hash):
        return _switched(session, session.plan(), signed)
    _, plan = prepare(session)
    _each(session, plan, move_partition)
    if session.spec.routers:
        settle(session, plan)
    merge(session, plan)
    _each(session, plan, check_recall)
    check_collection(session, plan)
    if session.spec.routers:
        recheck(session, plan)
    made = evidence(session, plan)
    if not approve(session, made):
        return Outcome(plan, made, None)
    return _switched(session, plan, made)


def _switched(session: Session, plan: Plan, signed: Evidence) -> Outcome:
    done = list(_cohort_by_cohort(session, plan, signed))
    verify(session, plan)
    longest = max(each.hold_seconds for each in done)
    return Outcome(plan, signed, replace(done[-1], hold_seconds=longest))


def _cohort_by_cohort(session: Session, plan: Plan, signed: Evidence) -> Iterator[switch.Switched]:
    *canaries, last = session.spec.cohorts
    for cohort in canaries:
        yield switch.cut_over(session, plan, signed.hash, cohort.name)
        watch(session, cohort.name)
    yield switch.cut_over(session, plan, signed.hash, last.name)


# --- After the cut-over


def look_back(session: Session) -> Evidence:
    """What a rollback would do now, as evidence that can be signed. Raises GateError where there is nothing to roll back."""
    plan = _plan_of(session)
    record(session, plan, [switch.look_back(session)])
    return collect(session, plan, (), approvable=True, kind=ROLLBACK)


def roll_back(session: Session, evidence_hash: str) -> switch.Switched:
    """Roll back as it was approved. Safe to call again after any crash."""
    if not switch.is_away(session):
        return switch.Switched(Phase.TRACK_A, 0.0, 0, "")
    approval = require_approval(session, evidence_hash)
    return switch.roll_back(session, f"{approval.reason} (approved by {approval.actor}, {evidence_hash[:12]})")


def look_final(session: Session) -> Evidence:
    """Compare both sides in full, as evidence that can be signed for DONE.

    Raises CheckFailed where they differ, GateError where the restore drill that the spec requires is missing.
    """
    plan = _plan_of(session)
    require_cut_over(session)
    if drilled := look_at_drill(session):
        record(session, plan, [drilled])
    verdicts = record(session, plan, [verify_fresh(session)])
    against = [describe(verdict) for verdict in verdicts if not verdict.passed]
    made = collect(session, plan, against, approvable=not against, kind=FINALIZE)
    require_passed(verdicts)
    return made


def finalize(session: Session, approve: Approve) -> bool:
    """The end in one process: a fresh comparison, the approval, DONE; whether it was approved. Goes on where it was killed."""
    signed = session.journal.evidence.latest(session.migration, FINALIZE)
    if signed is not None and is_done(session):
        finish(session, signed.hash)
        return True
    made = look_final(session)
    if not approve(session, made):
        return False
    finish(session, made.hash)
    return True


# --- At any time


def reconcile(session: Session, *, full: bool = True) -> Evidence:
    """What differs between both sides now, in full or of the share that is due, as evidence for its repair. Mends nothing.

    Raises GateError, with nothing changed, where the two cannot be compared or are no copies of each other.
    """
    plan = preconditions.plan_of(session)
    verdicts = record(session, plan, [compare_both(session, full=full)])
    against = [describe(verdict) for verdict in verdicts if not verdict.passed]
    return collect(session, plan, against, approvable=bool(verdicts[0].figures["repairs"]), kind=REPAIR)


def needs_person(found: Evidence) -> bool:
    """Whether what was found is more than the spec lets be mended without asking."""
    return bool(drift_figures(found)["over"])


def repair(session: Session, evidence_hash: str) -> Verdict:
    """Mend what a reconciliation found, and compare it once more; raises CheckFailed where it still differs. Safe to call again."""
    found = session.journal.evidence.get(evidence_hash)
    if found is None or found.migration != session.migration or found.kind != REPAIR:
        raise GateError(f"the journal holds no reconciliation of {session.migration} under {evidence_hash[:12]}")
    verdicts = record(session, preconditions.plan_of(session), [mend(session, found)])
    require_passed(verdicts)
    return verdicts[0]


def _plan_of(session: Session) -> Plan:
    """The plan that was cut over, whatever the spec says by now."""
    found = session.journal.plans.current(session.migration)
    if found is None:
        raise GateError(f"migration {session.migration} has no plan: nothing of it was cut over")
    return found


def _each(session: Session, plan: Plan, work: Callable[[Session, Plan, Partition], object]) -> None:
    """Work on all partitions, several at a time, depth first; raises once all have ended."""

    def one(partition: Partition) -> VectorferryError | None:
        try:
            work(session, plan, partition)
        except VectorferryError as error:
            session.report(Progress("failed", partition.name, 0, None, str(error)))
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


def subset(plan: Plan, names: Sequence[str]) -> Plan:
    """The plan with only the named partitions, for a subset run. Raises CheckFailed for a name that is not in the plan."""
    unknown = set(names) - {p.name for p in plan.partitions}
    if unknown:
        raise CheckFailed(
            f"no partition {', '.join(sorted(unknown))} in plan {plan.id}; it has p0000 to {plan.partitions[-1].name}"
        )
    return replace(plan, partitions=tuple(p for p in plan.partitions if p.name in names))
