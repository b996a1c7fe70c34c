"""Layout of every question to an approver: one screen of Markdown, a table, and who asks until when."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from vectorferry.engine.session import Session
from vectorferry.journal import Evidence
from vectorferry.staging import report_folder

NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Question:
    """What the approver is asked; `body` is Markdown."""

    subject: str
    body: str


def asked(subject: str, told: str, rows: Iterable[tuple[str, str]], after: Sequence[str] = ()) -> Question:
    """A question: what an answer does, a table of (name, value), and what comes below it."""
    table = (f"| {name.replace(' ', NO_BREAK)} | {value} |" for name, value in rows)
    return Question(subject, "\n".join([told, "", "| | |", "|---|---|", *table, "", *after]))


def about(session: Session, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """The rows that end every table: who asks, until when, and where to read more."""
    body, rules = evidence.body, session.spec.approval
    yield "Asked by", f"{body['requested_by']}, run `{body['run']}`"
    yield "Answer within", f"{span(rules.timeout)}; the evidence lapses after {span(rules.evidence_age)}"
    yield "Report", f"`{session.staging.locate(evidence.plan_id)}/{report_folder(evidence.run_id)}`"
    yield "Evidence", f"`{evidence.hash}`"


def span(value: timedelta) -> str:
    """A time span for people."""
    hours = value.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
