"""Pipeline: every verb of the engine, the same under the DAG's tasks, the command line and the tests.

    preflight -> begin (TRACK_A) -> plan -> each partition: export_partition, load_partition, check_partition -> settle
      -> merge (truth and answers) -> each partition: check_recall -> check_collection -> check_touched -> evidence
      -> approval -> cut_over, cohort by cohort -> verify

Beside what follows the partitions, and before the evidence: check_expectations, which waits for nothing else.

At any time once it is loaded: reconcile -> approval, where it is too much to repair without -> repair.
After the cut-over: prepare_rollback -> approval -> roll_back, or prepare_finalize -> approval -> finish.
`settle` and `check_touched` are there for what routers write meanwhile, and only where the spec expects writers.
Every step is idempotent and goes on where a killed one stopped. A failed check is recorded before it raises CheckFailed.

What may take hours (routers, the target's index, shadow reads, the watch between cohorts) is asked for by a verb that looks once and does
not wait: `routers_missing`, `index_missing`, `shadow_reads_missing`, `still_watched`; `load_partition` can leave where there is no room.
`run` waits by them in this process, the DAG in tasks that hold no worker.

A verb imports what it uses when it is called: who asks for a status must not wait for the libraries that measure recall.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vectorferry.core.capacity import Seen
from vectorferry.core.errors import CheckFailed, GateError, PreflightFailed, VectorferryError
from vectorferry.core.model import COHORT, FINALIZE, REPAIR, ROLLBACK, Partition, Phase, Side, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from vectorferry.engine.backup.format import Backup as Backup
    from vectorferry.engine.backup.restore import Restored as Restored
    from vectorferry.engine.backup.retention import Removal as Removal
    from vectorferry.engine.checks.evaluation_set import EvaluationSet as EvaluationSet
    from vectorferry.engine.checks.searchable import SelfSearch as SelfSearch
    from vectorferry.engine.cutover.abandon import Leftovers as Leftovers
    from vectorferry.engine.cutover.switch import Switched as Switched
    from vectorferry.engine.diff.full_compare import Comparison as Comparison
    from vectorferry.engine.monitor.alerts import Alert as Alert
    from vectorferry.engine.monitor.audit_page import AuditPage as AuditPage
    from vectorferry.engine.monitor.detail import Detail as Detail
    from vectorferry.engine.monitor.evidence_list import Listed as Listed
    from vectorferry.engine.monitor.evidence_list import OneEvidence as OneEvidence
    from vectorferry.engine.monitor.gauges import Gauge as Gauge
    from vectorferry.engine.monitor.history import History as History
    from vectorferry.engine.monitor.overview import Overview as Overview
    from vectorferry.engine.monitor.partition_map import PartitionState as PartitionState
    from vectorferry.engine.monitor.status import MemberRow as MemberRow
    from vectorferry.engine.monitor.status import Status as Status
    from vectorferry.engine.plan.cost import Cost as Cost
    from vectorferry.engine.plan.mapped_keys import MappedKey as MappedKey
    from vectorferry.engine.plan.observed_use import Use as Use
    from vectorferry.engine.plan.preflight import Preflight as Preflight
    from vectorferry.engine.plan.proposal import Place as Place
    from vectorferry.engine.plan.proposal import Proposal as Proposal
    from vectorferry.engine.session import Report, Session, StepProgress
    from vectorferry.engine.signoff.approval import Decision as Decision
    from vectorferry.engine.signoff.bundle_check import BundleCheck as BundleCheck
    from vectorferry.engine.signoff.findings import Finding as Finding
    from vectorferry.journal import Approval, AuditFilter, Evidence, Journal, Member, Plan, Registered
    from vectorferry.spec.check_rules import LoadCheck
    from vectorferry.spec.connections import Connection, Connections
    from vectorferry.spec.cutover_rules import ChangeWindow
    from vectorferry.spec.loader import Fault
    from vectorferry.spec.migration import MigrationSpec
    from vectorferry.spec.sides import Namespaces
    from vectorferry.staging import Staging
    from vectorferry.stores.base import Capabilities, VectorStore

# --- Before there is a spec


def propose(source: "Place", target: "Place", report: "Report") -> "Proposal":
    """What a spec for moving a collection would be, by what both databases say; writes nothing and needs no journal."""
    from vectorferry.engine.plan.proposal import propose

    return propose(source, target, report)


def spec_text(found: "Proposal") -> str:
    """A proposal as a spec file with comments."""
    from vectorferry.engine.plan.spec_text import spec_text

    return spec_text(found)


def place(connection: "Connection", collection: str = "") -> "Place":
    """A collection on a connection; without its name, the database as a whole."""
    from vectorferry.engine.plan.proposal import Place

    return Place(connection, collection)


def make_evaluation_set(
    source: "VectorStore", spec: "MigrationSpec", report: "Report", *, file: str, queries: int, seed: int
) -> "EvaluationSet":
    """Write a query file that is made of the source itself; needs no journal. Raises PreflightFailed where there is nothing to ask by."""
    from vectorferry.engine.checks.evaluation_set import make_evaluation_set

    return make_evaluation_set(source, spec, report, file=file, queries=queries, seed=seed)


# --- The move


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


def export_partition(session: "Session", plan: "Plan", partition: Partition) -> None:
    """Write one partition to Parquet in staging, then its exact neighbours, made from these files."""
    from vectorferry.engine.checks.ground_truth import partition_truth
    from vectorferry.engine.transfer.export import export

    export(session, plan, partition)
    partition_truth(session, plan, partition)


def load_partition(
    session: "Session", plan: "Plan", partition: Partition, waited: float | None = None
) -> Mapping[str, int]:
    """Load one partition into the target; returns how many `rows` it holds now, and how many were `excused`.

    Where the target has no room it is waited for here; given for how many seconds it was `waited` elsewhere, RoomAwaited is raised at once.
    """
    from vectorferry.engine.transfer.load import load

    return load(session, plan, partition, waited)


def check_partition(session: "Session", plan: "Plan", partition: Partition) -> Sequence[Verdict]:
    """Counts and content of one partition."""
    from vectorferry.engine.checks.content import check_counts

    return _recorded(session, plan, check_counts(session, plan, partition))


def move_partition(session: "Session", plan: "Plan", partition: Partition) -> None:
    """Export, load and check one partition."""
    export_partition(session, plan, partition)
    load_partition(session, plan, partition)
    check_partition(session, plan, partition)


def settle(session: "Session", plan: "Plan") -> None:
    """Settle what routers wrote while the partitions were moved."""
    from vectorferry.engine.marker import under_marker
    from vectorferry.engine.sync.touched_check import settle_after_load

    with under_marker(session):
        settle_after_load(session, plan)


def index_missing(session: "Session", plan: "Plan", waited: float) -> "StepProgress | None":
    """What of the loaded rows cannot be searched yet, None once all can; raises CheckFailed after `checks.index_timeout`."""
    from vectorferry.engine.checks.index_ready import index_missing

    return index_missing(session, plan, waited)


def merge(session: "Session", plan: "Plan") -> None:
    """Merge the partitions' exact neighbours, and ask the target's index every query; raises CheckFailed where it is not complete."""
    from vectorferry.engine.checks.ground_truth import merge_truth
    from vectorferry.engine.checks.target_answers import ask_target

    merge_truth(session, plan)
    ask_target(session, plan)


def wait_and_merge(session: "Session", plan: "Plan") -> None:
    """`merge` once the target's index is complete, which this process waits for."""
    from vectorferry.engine.checks.index_ready import POLL_SECONDS
    from vectorferry.engine.waiting import wait_here

    wait_here(session, partial(index_missing, session, plan), POLL_SECONDS)
    merge(session, plan)


def check_recall(session: "Session", plan: "Plan", partition: Partition) -> Sequence[Verdict]:
    """Recall of one partition's records."""
    from vectorferry.engine.checks.recall import recall_of_partition

    return _recorded(session, plan, [recall_of_partition(session, plan, partition)])


def check_collection(session: "Session", plan: "Plan") -> Sequence[Verdict]:
    """Recall by namespace and effort, relevance, extra records, own counts, filters, keyword search, latency.

    A failure is raised after all. Last, where the spec requires it and the others have passed, the load that the target holds.
    """
    from vectorferry.engine.checks.effort import check_effort
    from vectorferry.engine.checks.extras import check_extras
    from vectorferry.engine.checks.filter_parity import check_filters
    from vectorferry.engine.checks.held import check_held
    from vectorferry.engine.checks.keyword import check_keyword
    from vectorferry.engine.checks.latency import check_latency
    from vectorferry.engine.checks.recall import recall_by_namespace
    from vectorferry.engine.checks.relevance import check_relevance
    from vectorferry.engine.signoff.gate import record, require_passed

    checks = (
        recall_by_namespace,
        check_extras,
        check_held,
        check_filters,
        check_keyword,
        check_effort,
        check_relevance,
        check_latency,
    )
    verdicts = [v for check in checks for v in record(session, plan, check(session, plan))]
    require_passed(verdicts)
    if session.spec.checks.load:
        verdicts.append(loadtest(session, plan, session.spec.checks.load))
        require_passed(verdicts)
    return verdicts


def loadtest(session: "Session", plan: "Plan", rules: "LoadCheck") -> Verdict:
    """Search the target at ever higher rates until it leaves its budget; the verdict is kept, passed or not.

    Raises GateError where the target is not loaded yet, or serves applications and the rules do not say that this is all right.
    """
    from vectorferry.engine.checks.load.check import check_load
    from vectorferry.engine.signoff.gate import record

    return record(session, plan, [check_load(session, plan, rules)])[0]


def current_plan(session: "Session") -> "Plan":
    """The plan in force, whatever the spec says by now; raises GateError where nothing was loaded or declared a pair."""
    from vectorferry.engine.session import plan_of

    return plan_of(session)


def shadow_reads_missing(session: "Session", plan: "Plan", waited: float) -> "StepProgress | None":
    """What is missing of the shadow reads that the spec wants; None also after `shadow.wait`: `check_touched` says it then."""
    from vectorferry.engine.checks.shadow_reads import shadow_reads_missing

    return shadow_reads_missing(session, plan, waited)


def check_expectations(session: "Session", plan: "Plan") -> Sequence[Verdict]:
    """The expectations of the spec on the staged records, and those on what was staged and checked; importing takes seconds."""
    from vectorferry.engine.checks.expectations import check

    return _recorded(session, plan, check.check_expectations(session, plan))


def check_touched(session: "Session", plan: "Plan") -> Sequence[Verdict]:
    """Shadow reads, then every record that routers wrote since the plan, settled and compared, read afresh."""
    from vectorferry.engine.checks.shadow_reads import check_shadow_reads
    from vectorferry.engine.signoff.gate import record, require_passed
    from vectorferry.engine.sync.touched_check import check_touched

    verdicts = [v for check in (check_shadow_reads, check_touched) for v in record(session, plan, check(session, plan))]
    require_passed(verdicts)
    return verdicts


def evidence(session: "Session", plan: "Plan", *, approvable: bool = True) -> "Evidence":
    """Bind all verdicts of this run into evidence that can be signed. Raises CheckFailed, naming at most ten failures.

    `approvable=False` marks the evidence of a subset or dry run: it is kept, and can never be signed.
    """
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import failures
    from vectorferry.engine.signoff.report import where_to_look

    against = list(failures(plan, session.spec.checks, session.journal.evidence.verdicts(plan.id, session.run_id)))
    made = collect(session, plan, against, approvable=approvable and not against)
    if against and approvable:
        more = f"\n… and {len(against) - 10} more" if len(against) > 10 else ""
        told = "\n".join(f"- {line}" for line in against[:10]) + more
        raise CheckFailed(f"NO-GO:\n{told}\n{where_to_look(session.staged(plan), made)}")
    return made


def worst_findings(body: Mapping[str, Any], most: int = 10) -> "tuple[Finding, ...]":
    """The worst of what failed in a body of evidence, each with its likely cause and what to do."""
    from vectorferry.engine.signoff.findings import worst_findings

    return worst_findings(body, most)


def report_of(evidence: "Evidence", answers: "Sequence[Approval]" = (), dag: str = "") -> str:
    """The report about evidence, as one HTML file; `dag` is where people were asked."""
    from vectorferry.engine.signoff.report import report_of

    return report_of(evidence, answers, dag)


def export_bundle(
    journal: "Journal", connections: "Connections", spec: "MigrationSpec", spec_file: Path, run_or_hash: str
) -> "tuple[Evidence, bytes]":
    """The evidence of a run, or with a hash, and its bundle as one file; asks no database of a store. Raises GateError, see `bundle_of`."""
    from vectorferry.engine.session import open_staging
    from vectorferry.engine.signoff.bundle import bundle_of, found_evidence

    found = found_evidence(journal, spec.migration, run_or_hash)
    return found, bundle_of(journal, open_staging(spec, connections), spec, spec_file, found)


def check_bundle(path: Path) -> "BundleCheck":
    """What does not fit in a bundle; needs nothing but the file."""
    from vectorferry.engine.signoff.bundle_check import check_bundle

    return check_bundle(path)


def bundle_in_words(found: "BundleCheck") -> str:
    """The outcome of a bundle's check for people."""
    from vectorferry.engine.signoff.bundle_check import in_words

    return in_words(found)


def record_answer(
    session: "Session",
    evidence_hash: str,
    decision: "Decision",
    *,
    person: str,
    reason: str,
    via: Literal["airflow", "terminal"],
    asked_at: datetime | None = None,
) -> "Approval":
    """Write a person's answer to the journal. Raises NotApproved where this person may not give it; nothing is written then."""
    from vectorferry.engine.signoff.approval import record_answer

    return record_answer(session, evidence_hash, decision, person=person, reason=reason, via=via, asked_at=asked_at)


def cut_over(session: "Session", plan: "Plan", evidence_hash: str, cohort: str = COHORT) -> "Switched":
    """Move a cohort's authority to the target, if the journal holds a valid approval of this evidence; else refuse."""
    from vectorferry.engine.cutover.switch import cut_over
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker

    with naming_way_out(session), under_marker(session):
        return cut_over(session, plan, evidence_hash, cohort)


def still_watched(session: "Session", cohort: str) -> "StepProgress | None":
    """Look at a cohort after its switch; None once it was watched for long enough.

    One that breaks a guardrail is rolled back, and GateError says why.
    """
    from vectorferry.engine.cutover.guardrails import still_watched
    from vectorferry.engine.marker import under_marker

    with under_marker(session):
        return still_watched(session, cohort)


def watch_cohort(session: "Session", cohort: str) -> None:
    """Watch a cohort in this process; see `still_watched`."""
    from vectorferry.engine.cutover.guardrails import POLL_SECONDS
    from vectorferry.engine.waiting import wait_here

    wait_here(session, lambda _: still_watched(session, cohort), POLL_SECONDS)


def opens_at(window: "ChangeWindow", now: datetime) -> datetime | None:
    """When the window for cut-overs opens next, None where it is open now; `now` has a time zone."""
    from vectorferry.engine.cutover.change_window import opens_at

    return opens_at(window, now)


def verify(session: "Session", plan: "Plan") -> Verdict:
    """Verify the new authority after the cut-over."""
    from vectorferry.engine.cutover.target_check import verify_after
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.signoff.gate import record, require_passed

    with naming_way_out(session):
        verdict = verify_after(session, plan)
        record(session, plan, [verdict])
        session.journal.audit.write(session.migration, session.actor, "verified", {"passed": verdict.passed})
        require_passed([verdict])
    return verdict


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run in one process ended; `switched` is None where it was not approved."""

    plan: "Plan"
    evidence: "Evidence"
    switched: "Switched | None"


Approve = Callable[["Session", "Evidence"], bool]
"""Asks for the approval and writes the answer to the journal; returns whether it was given."""


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
        _recorded(session, plan, [judged()])
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


def subset(plan: "Plan", names: Sequence[str]) -> "Plan":
    """The plan with only the named partitions, for a subset run. Raises CheckFailed for a name that is not in the plan."""
    unknown = set(names) - {p.name for p in plan.partitions}
    if unknown:
        raise CheckFailed(
            f"no partition {', '.join(sorted(unknown))} in plan {plan.id}; it has p0000 to {plan.partitions[-1].name}"
        )
    return replace(plan, partitions=tuple(p for p in plan.partitions if p.name in names))


def _recorded(session: "Session", plan: "Plan", verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """Keep the verdicts in the journal, then raise CheckFailed for one that failed."""
    from vectorferry.engine.signoff.gate import record, require_passed

    kept = record(session, plan, verdicts)
    require_passed(kept)
    return kept


# --- After the cut-over


def prepare_rollback(session: "Session", cohort: str | None = None) -> "Evidence":
    """What a rollback of one cohort, or of all, would do now, as evidence that can be signed.

    Raises GateError where there is nothing to roll back.
    """
    from vectorferry.engine.cutover.switch import inspect_rollback
    from vectorferry.engine.session import plan_of
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import record

    plan = plan_of(session)
    record(session, plan, [inspect_rollback(session, cohort)])
    return collect(session, plan, (), approvable=True, kind=ROLLBACK)


def roll_back(session: "Session", evidence_hash: str) -> "Switched":
    """Roll back the cohorts that it was approved for. Safe to call again after any crash."""
    from vectorferry.engine.cutover.alias import point_back
    from vectorferry.engine.cutover.switch import Switched, asked_cohort, is_away
    from vectorferry.engine.signoff.approval import require_approval

    cohort = asked_cohort(session, evidence_hash)
    if not is_away(session, cohort):
        point_back(session)
        return Switched(Phase.TRACK_A, 0.0, 0, "")
    approval = require_approval(session, evidence_hash, ROLLBACK)
    return roll_back_now(session, f"{approval.reason} (approved by {approval.actor}, {evidence_hash[:12]})", cohort)


def roll_back_now(session: "Session", reason: str, cohort: str | None = None) -> "Switched":
    """Roll back on an operator's word: one cohort, or all that were cut over, the last first."""
    from vectorferry.engine.cutover.switch import roll_back
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker

    with naming_way_out(session), under_marker(session):
        return roll_back(session, reason, cohort)


def prepare_finalize(session: "Session") -> "Evidence":
    """Compare both sides in full, as evidence that can be signed for DONE.

    Raises CheckFailed where they differ, GateError where the restore drill that the spec requires is missing.
    """
    from vectorferry.engine.backup.drill import last_drill
    from vectorferry.engine.cutover.finalize import require_cut_over, verify_fresh
    from vectorferry.engine.session import plan_of
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import describe, record, require_passed

    plan = plan_of(session)
    require_cut_over(session)
    if drilled := last_drill(session):
        record(session, plan, [drilled])
    verdicts = record(session, plan, [verify_fresh(session)])
    against = [describe(verdict) for verdict in verdicts if not verdict.passed]
    made = collect(session, plan, against, approvable=not against, kind=FINALIZE)
    require_passed(verdicts)
    return made


def finish(session: "Session", evidence_hash: str) -> None:
    """Enter DONE as it was approved, and wait until nothing can write to the source any more. Safe to call again."""
    from vectorferry.engine.cutover.finalize import finish
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker

    with naming_way_out(session), under_marker(session):
        finish(session, evidence_hash)


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


def is_cut_over(session: "Session") -> bool:
    """Whether the target has the authority in every cohort."""
    from vectorferry.engine.cutover.finalize import is_cut_over

    return is_cut_over(session)


# --- At any time


def settle_up_to_now(session: "Session") -> None:
    """Settle everything that routers have written until now."""
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker
    from vectorferry.engine.sync.settle_loop import settle_up_to_now

    with naming_way_out(session), under_marker(session):
        settle_up_to_now(session)


def to_settle(journal: "Journal", migration: str) -> int | None:
    """How many records and open writes wait for a settler; None once the migration is DONE."""
    from vectorferry.engine.sync.settle_loop import to_settle

    return to_settle(journal, migration)


def settle_continuously(session: "Session", turn: float | None = None) -> None:
    """Settle whatever routers write, until DONE; or for a turn of so many seconds, which ends once nothing was written for a while."""
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker
    from vectorferry.engine.sync.settle_loop import settle_continuously

    with naming_way_out(session), under_marker(session):
        settle_continuously(session, turn)


def excuse(session: "Session", namespace: str, id_: str, reason: str) -> str:
    """Leave a record behind that the following side rejects; returns why it does. Settling takes it as excused from then on."""
    from vectorferry.engine.sync.rejected import excuse

    return excuse(session, namespace, id_, reason)


def taint(session: "Session", reason: str) -> int:
    """Have every record of both sides settled anew; returns how many ids were marked. Voids evidence and approvals."""
    from vectorferry.engine.sync.taint import taint

    return taint(session, reason)


def compare(
    source: "VectorStore",
    target: "VectorStore",
    chosen: "Namespaces",
    *,
    report: "Report",
    limit: int,
    excused: "Container[tuple[str, str]]" = frozenset(),
    adopted: bool = False,
) -> "Comparison":
    """Read both sides in full and compare every record; keeps the first `limit` differences. Needs no journal.

    The target may lack the records of `excused`, (namespace, id), and nothing else; an `adopted` one may have namespaces of its own.
    """
    from vectorferry.engine.diff.full_compare import compare

    return compare(source, target, chosen, report=report, limit=limit, excused=excused, adopted=adopted)


def search_each(session: "Session", side: Side, share: float) -> "SelfSearch":
    """Search a share of one side's records by their own vectors; what `put_again` had staged as it died is written first."""
    from vectorferry.engine.checks.searchable import search_each
    from vectorferry.engine.diff.sampling import Sample
    from vectorferry.engine.reconcile.put_again import finish_put_again

    finish_put_again(session, side)
    return search_each(session, side, Sample(share))


def put_again(session: "Session", side: Side, keys: "Sequence[tuple[str, str]]") -> None:
    """Write records, (namespace, id), of one side anew, so that their database indexes them."""
    from vectorferry.engine.reconcile.put_again import put_again

    put_again(session, side, keys)


def leftovers(session: "Session") -> "Leftovers":
    """What an unfinished migration left, and `abandon` would remove. Raises GateError from HOLD_A on."""
    from vectorferry.engine.cutover.abandon import leftovers

    return leftovers(session)


def abandon(session: "Session") -> "Leftovers":
    """Remove what `leftovers` lists. The audit trail and backups stay."""
    from vectorferry.engine.cutover.abandon import abandon

    return abandon(session)


def prepare_operation(session: "Session", verb: str, arguments: Mapping[str, str]) -> "Evidence":
    """What an operation would destroy now, as evidence that can be signed. Raises GateError where it would be refused anyhow."""
    from vectorferry.engine.cutover.operation import prepare_operation

    return prepare_operation(session, verb, arguments)


def require_operation(session: "Session", evidence_hash: str, verb: str, arguments: Mapping[str, str]) -> "Approval":
    """The approval that lets exactly this operation begin, if the journal holds it; else NotApproved."""
    from vectorferry.engine.cutover.operation import require_operation

    return require_operation(session, evidence_hash, verb, arguments)


def not_reconcilable(session: "Session") -> str:
    """Why both sides cannot be compared now; empty where they can."""
    from vectorferry.engine.reconcile.preconditions import not_reconcilable

    return not_reconcilable(session)


def keep_equal(session: "Session") -> None:
    """Declare two filled collections a pair, to be kept equal from now on."""
    from vectorferry.engine.reconcile.preconditions import keep_equal

    keep_equal(session)


def reconcile(session: "Session", *, full: bool = True) -> "Evidence":
    """What differs between both sides now, in full or of the share that is due, as evidence for its repair. Repairs nothing.

    Raises GateError, with nothing changed, where the two cannot be compared or are no copies of each other.
    """
    from vectorferry.engine.reconcile.reconcile import reconcile
    from vectorferry.engine.session import plan_of
    from vectorferry.engine.signoff.evidence import collect
    from vectorferry.engine.signoff.gate import describe, record

    plan = plan_of(session)
    verdicts = record(session, plan, [reconcile(session, full=full)])
    against = [describe(verdict) for verdict in verdicts if not verdict.passed]
    return collect(session, plan, against, approvable=bool(verdicts[0].figures["repairs"]), kind=REPAIR)


def needs_person(found: "Evidence") -> bool:
    """Whether what was found is more than the spec lets be repaired without asking."""
    return bool(drift_figures(found)["over"])


def drift_figures(found: "Evidence") -> Mapping[str, Any]:
    """The figures of the reconciliation whose evidence this is."""
    from vectorferry.engine.reconcile.repair import drift_figures

    return drift_figures(found)


def summarize(figures: Mapping[str, Any]) -> str:
    """One reconciliation in a few lines, from the figures that the journal keeps of it."""
    from vectorferry.engine.reconcile.summary import summarize

    return summarize(figures)


def finding_to_decide(session: "Session") -> "Evidence":
    """What this run asks a person about; raises GateError where nothing waits for an answer."""
    from vectorferry.engine.reconcile.undecided import finding_to_decide

    return finding_to_decide(session)


def note_question(session: "Session", evidence: "Evidence", place: Mapping[str, str]) -> None:
    """Keep that this run asks about this evidence, and where; raises GateError where it asked about other evidence before."""
    from vectorferry.engine.signoff.questions import note_question

    note_question(session, evidence, place)


def asked_at(journal: "Journal", evidence: "Evidence") -> frozenset[str]:
    """The places (DAGs) at which people were asked about this evidence."""
    from vectorferry.engine.signoff.questions import asked_at

    return asked_at(journal, evidence)


def note_answerer(journal: "Journal", place: Mapping[str, str], person: str, roles: "Collection[str]") -> str:
    """Keep which roles a person has who is about to answer in Airflow; returns why this person may not, or nothing."""
    from vectorferry.engine.signoff.questions import note_answerer

    return note_answerer(journal, place, person, roles)


def repair(session: "Session", evidence_hash: str) -> Verdict:
    """Repair what a reconciliation found, and compare it once more; raises CheckFailed where it still differs. Safe to call again."""
    from vectorferry.engine.reconcile.repair import repair
    from vectorferry.engine.session import plan_of

    found = session.journal.evidence.get(evidence_hash)
    if found is None or found.migration != session.migration or found.kind != REPAIR:
        raise GateError(f"the journal holds no reconciliation of {session.migration} under {evidence_hash[:12]}")
    return _recorded(session, plan_of(session), [repair(session, found)])[0]


# --- Backups


def backup(session: "Session", side: Side = "target") -> "Backup":
    """Back a side up to staging, going on where a killed try stopped."""
    from vectorferry.engine.backup.create import backup

    return backup(session, side)


def open_backup(files: "Staging") -> "Backup":
    """A complete backup in this folder. Raises StagingError where there is none, StagingCorrupt for one that is damaged."""
    from vectorferry.engine.backup.format import open_backup

    return open_backup(files)


def restore(
    backup: "Backup",
    store: "VectorStore",
    *,
    excused: int = 0,
    resume: bool = False,
    index: Mapping[str, Any] | None = None,
    report: "Report",
) -> "Restored":
    """Load a backup into a collection that does not exist yet, or is empty, and read every record back."""
    from vectorferry.engine.backup.restore import Rules, restore

    return restore(backup, store, Rules(excused, resume, index, report=report))


def drill(session: "Session", side: Side = "target", *, fresh: bool = False) -> Verdict:
    """Restore the newest backup of a side into a scratch collection, verify it in full, and drop it again."""
    from vectorferry.engine.backup.drill import drill

    return drill(session, side, fresh=fresh)


def clear_scratch(session: "Session", side: Side = "target") -> bool:
    """Drop the scratch collection that a killed drill of a side left; whether there was one."""
    from vectorferry.engine.backup.drill import clear_scratch

    return clear_scratch(session, side)


def prunable(session: "Session") -> "tuple[Removal, ...]":
    """What retention does not keep."""
    from vectorferry.engine.backup.retention import prunable

    return prunable(session)


def prune(session: "Session", chosen: "Sequence[Removal]") -> "tuple[Removal, ...]":
    """Remove those of them that may still be removed; returns what was."""
    from vectorferry.engine.backup.retention import prune

    return prune(session, chosen)


# --- Where it stands


def status(journal: "Journal", spec: "MigrationSpec") -> "Status":
    """The state of a migration, from the journal alone."""
    from vectorferry.engine.monitor.status import status

    return status(journal, spec)


def registered(journal: "Journal") -> "dict[str, Registered]":
    """The migrations that the journal knows, by name."""
    from vectorferry.engine.monitor.overview import registered

    return registered(journal)


def dags_that_asked(journal: "Journal", names: Sequence[str]) -> dict[str, frozenset[str]]:
    """The DAGs of other names in which questions of these migrations were asked, as where one is a group of a DAG; by migration."""
    from vectorferry.engine.monitor.overview import dags_that_asked

    return dags_that_asked(journal, names)


def gauges(journal: "Journal") -> "Iterator[Gauge]":
    """What the journal knows of all migrations, as figures for metrics: name, value and labels."""
    from vectorferry.engine.monitor.gauges import gauges

    return gauges(journal)


def overviews(journal: "Journal", migrations: "Sequence[Registered]") -> "tuple[Overview, ...]":
    """Where these migrations stand, from the journal alone; a few statements, however many there are."""
    from vectorferry.engine.monitor.overview import overviews

    return overviews(journal, migrations)


def detail(journal: "Journal", migration: str) -> "Detail":
    """Timeline, routers, plan, reconciliations and approvals of a migration."""
    from vectorferry.engine.monitor.detail import detail

    return detail(journal, migration)


def partition_map(journal: "Journal", migration: str) -> "tuple[PartitionState, ...]":
    """How far each partition of the live plan is, and what the checks of the newest run found of it."""
    from vectorferry.engine.monitor.partition_map import partition_map

    return partition_map(journal, migration)


def evidence_list(journal: "Journal", migration: str) -> "tuple[Listed, ...]":
    """The newest evidence of a migration, with the answers to each."""
    from vectorferry.engine.monitor.evidence_list import listed

    return listed(journal, migration)


def one_evidence(journal: "Journal", migration: str, digest: str) -> "OneEvidence | None":
    """One piece of evidence of a migration with its body; None where it has none with this hash."""
    from vectorferry.engine.monitor.evidence_list import one_evidence

    return one_evidence(journal, migration, digest)


def history(journal: "Journal", migration: str, kind: "History", since: datetime) -> tuple[Mapping[str, Any], ...]:
    """Latency, backlog or drift of a migration over time."""
    from vectorferry.engine.monitor.history import history

    return history(journal, migration, kind, since)


def audit_page(journal: "Journal", migration: str, wanted: "AuditFilter", most: int) -> "AuditPage":
    """Rows of a migration's audit trail that are wanted, the newest first."""
    from vectorferry.engine.monitor.audit_page import audit_page

    return audit_page(journal, migration, wanted, most)


def member_row(member: "Member") -> "MemberRow":
    """A router as people are shown it."""
    from vectorferry.engine.monitor.status import member_row

    return member_row(member)


def measured(session: "Session") -> tuple[Seen, ...]:
    """How full both databases are, as far as they can be measured."""
    from vectorferry.engine.capacity import measured

    return measured(session)


def sample(session: "Session") -> Mapping[Side, str]:
    """Keep how fast both sides answer now, and what waits to be settled; returns why a side could not be searched."""
    from vectorferry.engine.checks.latency_probe import sample_latency
    from vectorferry.engine.sync.backlog import sample_backlog

    sample_backlog(session.journal, session.migration)
    return sample_latency(session)


def new_alerts(
    journal: "Journal",
    spec: "MigrationSpec",
    actor: str,
    measured: Sequence[Seen] = (),
    unanswered: Mapping[Side, str] | None = None,
) -> "tuple[Alert, ...]":
    """What people should know and were not told of yet, or not for a day; it counts as told from now on.

    `unanswered` is what `sample` returned.
    """
    from vectorferry.engine.monitor.alerts import new_alerts

    return new_alerts(journal, spec, actor, measured, unanswered)


def is_news(journal: "Journal", spec: "MigrationSpec", actor: str, key: str, text: str) -> bool:
    """Whether nobody was ever told of what `key` stands for; they count as told from now on."""
    from vectorferry.engine.monitor.alerts import Alert, is_news

    return is_news(journal, spec, actor, Alert(key, text))


def observed_uses(file: Path, spec: "MigrationSpec", able: "Capabilities") -> "list[Use]":
    """What applications were seen to ask, with what of it the target cannot serve."""
    from vectorferry.engine.plan.observed_use import judged

    return judged(file, spec, able)
