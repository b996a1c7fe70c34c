"""Report of evidence: the page that people look at, with what each failure likely comes of, written beside evidence.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from vectorferry.engine.session import Session
from vectorferry.engine.signoff.causes import SYMPTOMS, symptom_of
from vectorferry.engine.signoff.check_names import CHECKS
from vectorferry.engine.signoff.findings import worst_findings
from vectorferry.journal import Approval, Evidence, Plan
from vectorferry.report.page import Context, Diagnosis, report_page
from vectorferry.staging import Staging, report_folder

_SEEN = {symptom.anchor: symptom.seen for symptom in SYMPTOMS}


def report_of(evidence: Evidence, answers: Sequence[Approval] = (), dag: str = "") -> str:
    """The report as one HTML file; `answers` are those that the journal has by now, `dag` is where people were asked."""
    worst = [
        Diagnosis(f.check, f.scope, f.reason, _SEEN[f.anchor], f.cause, f.advice, f.anchor)
        for f in worst_findings(evidence.body)
    ]
    return report_page(evidence, Context(worst, _diagnose, CHECKS, answers, dag))


def _diagnose(verdict: Mapping[str, Any]) -> Diagnosis:
    row = symptom_of(verdict)
    return Diagnosis(verdict["check"], verdict["scope"], verdict["reason"], row.seen, row.cause, row.advice, row.anchor)


def write_report(session: Session, plan: Plan, evidence: Evidence) -> None:
    """Keep the report in staging, in the folder of its run."""
    session.staged(plan).write_bytes(report_path(evidence.run_id), report_of(evidence).encode())


def report_path(run_id: str) -> str:
    """Where a run's report lies under the plan's folder."""
    return f"{report_folder(run_id)}/report.html"


def where_to_look(staged: Staging, evidence: Evidence) -> str:
    """The report of evidence that says no, and the rows of docs/diagnosing.md that it leads to, in words."""
    return f"likely causes: {', '.join(anchors(evidence.body))} (docs/diagnosing.md); report: {staged.locate(report_path(evidence.run_id))}"


def anchors(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The rows of docs/diagnosing.md that the worst findings show, each once."""
    return tuple(dict.fromkeys(found.anchor for found in worst_findings(body)))
