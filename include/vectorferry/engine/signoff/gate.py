"""Gate: the verdicts that a cut-over needs, and what is wrong with those at hand; a missing one is as bad as a failed one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vectorferry.core.errors import CheckFailed
from vectorferry.core.model import Verdict
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.check_names import MEASURES_A_SHARE, NOT_RUN
from vectorferry.engine.sync.touched import watermark_of
from vectorferry.engine.transfer.staged import planned_searchable
from vectorferry.journal import Plan
from vectorferry.spec.check_rules import Checks

PER_PARTITION = ("counts", "content", "recall")
OVERALL = ("recall", "extras", "held", "filters", "latency", "expectations")


def required(plan: Plan, checks: Checks) -> frozenset[tuple[str, str]]:
    """(check, scope) of every verdict that a cut-over of this plan needs under the `checks` of its spec; others may come on top."""
    partitions = {(check, p.name) for check in PER_PARTITION for p in plan.partitions}
    namespaces = {("recall", f"namespace:{n}") for n in plan.details["namespaces"]}
    overall = OVERALL if watermark_of(plan) is None else (*OVERALL, "touched", "shadow_reads")
    overall = (*overall, "keyword") if planned_searchable(plan) else overall
    overall = (*overall, *_wanted(checks))
    return frozenset(partitions | namespaces | {(check, "overall") for check in overall})


def _wanted(checks: Checks) -> Iterator[str]:
    """The checks that are needed only where the spec says so."""
    yield from ["effort"] if checks.effort.required else []
    yield from ["relevance"] if checks.relevance else []
    yield from ["load"] if checks.load else []


def failures(plan: Plan, checks: Checks, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """What stands against a cut-over, one line each: missing verdicts, empty ones, failed ones with their first difference,
    and those that passed in spite of one."""
    found = {(v.check, v.scope) for v in verdicts}
    for check, scope in sorted(required(plan, checks) - found):
        yield f"{check} of {scope}{NOT_RUN}"
    for verdict in verdicts:
        if not verdict.figures:
            yield f"{verdict.check} of {verdict.scope}: empty, nothing was measured"
        elif not verdict.passed:
            yield describe(verdict)
        elif verdict.total_differences and verdict.check != MEASURES_A_SHARE:
            yield describe(replace(verdict, reason="passed, and yet there are"))


def describe(verdict: Verdict) -> str:
    """A failed verdict in one line."""
    first = f"; first: {verdict.differences[0]}" if verdict.differences else ""
    count = f" {verdict.total_differences} differences" if verdict.total_differences else ""
    return f"{verdict.check} of {verdict.scope}: {verdict.reason or 'failed'}{count}{first}"


def record(session: Session, plan: Plan, verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Keep verdicts in the journal, passed or not."""
    kept = tuple(verdicts)
    session.journal.evidence.save_verdicts(plan.id, session.run_id, kept)
    session.judged(kept)
    return kept


def require_passed(verdicts: Sequence[Verdict]) -> None:
    """Raise CheckFailed naming every failed verdict and its first differences."""
    failed = [v for v in verdicts if not v.passed]
    if failed:
        lines = [line for v in failed for line in (describe(v), *(f"  {d}" for d in v.differences[:10]))]
        raise CheckFailed("\n".join(lines))


def record_passed(session: Session, plan: Plan, verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Keep the verdicts in the journal, then raise CheckFailed for one that failed."""
    kept = record(session, plan, verdicts)
    require_passed(kept)
    return kept
