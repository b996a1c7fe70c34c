"""Signing: what people sign, what they are told of it, and their answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vectorferry.core.errors import CheckFailed

if TYPE_CHECKING:
    from collections.abc import Collection

    from vectorferry.engine.session import Session
    from vectorferry.engine.signoff.approval import Decision as Decision
    from vectorferry.engine.signoff.bundle_check import BundleCheck as BundleCheck
    from vectorferry.engine.signoff.findings import Finding as Finding
    from vectorferry.journal import Approval, Evidence, Journal, Plan
    from vectorferry.spec.connections import Connections
    from vectorferry.spec.migration import MigrationSpec


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


def check_bundle(path: Path, approved: str = "") -> "BundleCheck":
    """What does not fit in a bundle, which is to be of the evidence whose hash was approved, if one is given; needs only the file."""
    from vectorferry.engine.signoff.bundle_check import check_bundle

    return check_bundle(path, approved)


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


def prepare_operation(session: "Session", verb: str, arguments: Mapping[str, str]) -> "Evidence":
    """What an operation would destroy now, as evidence that can be signed. Raises GateError where it would be refused anyhow."""
    from vectorferry.engine.cutover.operation import prepare_operation

    return prepare_operation(session, verb, arguments)


def require_operation(session: "Session", evidence_hash: str, verb: str, arguments: Mapping[str, str]) -> "Approval":
    """The approval that lets exactly this operation begin, if the journal holds it; else NotApproved."""
    from vectorferry.engine.cutover.operation import require_operation

    return require_operation(session, evidence_hash, verb, arguments)
