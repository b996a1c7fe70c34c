"""Reconciling: finds where two copies differ, and repairs it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vectorferry.core.errors import GateError
from vectorferry.core.model import REPAIR, Side, Verdict

if TYPE_CHECKING:
    from collections.abc import Container

    from vectorferry.engine.checks.searchable import SelfSearch as SelfSearch
    from vectorferry.engine.diff.full_compare import Comparison as Comparison
    from vectorferry.engine.session import Report, Session
    from vectorferry.journal import Evidence
    from vectorferry.spec.sides import Namespaces
    from vectorferry.stores.base import VectorStore


def not_reconcilable(session: "Session") -> str:
    """Why both sides cannot be compared now; empty where they can."""
    from vectorferry.engine.reconcile.preconditions import not_reconcilable

    return not_reconcilable(session)


def keep_equal(session: "Session") -> None:
    """Declare two filled collections a pair, to be kept equal from now on."""
    from vectorferry.engine.reconcile.preconditions import keep_equal

    keep_equal(session)


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


def repair(session: "Session", evidence_hash: str) -> Verdict:
    """Repair what a reconciliation found, and compare it once more; raises CheckFailed where it still differs. Safe to call again."""
    from vectorferry.engine.reconcile.repair import repair
    from vectorferry.engine.session import plan_of
    from vectorferry.engine.signoff.gate import record_passed

    found = session.journal.evidence.get(evidence_hash)
    if found is None or found.migration != session.migration or found.kind != REPAIR:
        raise GateError(f"the journal holds no reconciliation of {session.migration} under {evidence_hash[:12]}")
    return record_passed(session, plan_of(session), [repair(session, found)])[0]


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
