"""Judging: the checks, each of which keeps its verdicts in the journal before it raises CheckFailed for one that failed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vectorferry.core.model import Partition, Verdict

if TYPE_CHECKING:
    from vectorferry.engine.session import Session, StepProgress
    from vectorferry.journal import Plan
    from vectorferry.spec.check_rules import LoadCheck


def check_partition(session: "Session", plan: "Plan", partition: Partition) -> Sequence[Verdict]:
    """Counts and content of one partition."""
    from vectorferry.engine.checks.content import check_counts
    from vectorferry.engine.signoff.gate import record_passed

    return record_passed(session, plan, check_counts(session, plan, partition))


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


def check_recall(session: "Session", plan: "Plan", partition: Partition) -> Sequence[Verdict]:
    """Recall of one partition's records."""
    from vectorferry.engine.checks.recall import recall_of_partition
    from vectorferry.engine.signoff.gate import record_passed

    return record_passed(session, plan, [recall_of_partition(session, plan, partition)])


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


def shadow_reads_missing(session: "Session", plan: "Plan", waited: float) -> "StepProgress | None":
    """What is missing of the shadow reads that the spec wants; None also after `shadow.wait`: `check_touched` says it then."""
    from vectorferry.engine.checks.shadow_reads import shadow_reads_missing

    return shadow_reads_missing(session, plan, waited)


def check_expectations(session: "Session", plan: "Plan") -> Sequence[Verdict]:
    """The expectations of the spec on the staged records, and those on what was staged and checked; importing takes seconds."""
    from vectorferry.engine.checks.expectations import check
    from vectorferry.engine.signoff.gate import record_passed

    return record_passed(session, plan, check.check_expectations(session, plan))


def check_touched(session: "Session", plan: "Plan") -> Sequence[Verdict]:
    """Shadow reads, then every record that routers wrote since the plan, settled and compared, read afresh."""
    from vectorferry.engine.checks.shadow_reads import check_shadow_reads
    from vectorferry.engine.signoff.gate import record, require_passed
    from vectorferry.engine.sync.touched_check import check_touched

    verdicts = [v for check in (check_shadow_reads, check_touched) for v in record(session, plan, check(session, plan))]
    require_passed(verdicts)
    return verdicts
