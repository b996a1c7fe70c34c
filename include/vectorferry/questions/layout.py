"""Layout of every question to an approver: one screen of Markdown, a table, and who asks until when."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from vectorferry.engine.session import Session
from vectorferry.journal import Evidence
from vectorferry.staging import report_folder

NO_BREAK = "\N{NO-BREAK SPACE}"
# An underscore within a word is none.
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


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
    """The rows that end every table: what stays behind whatever the answer, who asks, until when, and where to read more."""
    body, rules = evidence.body, session.spec.approval
    if body.get("sparse") == "leave":
        yield (
            "Left behind",
            f"**every sparse vector** of {code(session.source.name)} (`source.sparse: leave`): not moved, not compared",
        )
    yield "Asked by", f"{plain(body['requested_by'])}, run {code(body['run'])}"
    yield "Answer within", f"{span(rules.timeout)}; the evidence lapses after {span(rules.evidence_age)}"
    yield "Report", code(f"{session.staging.locate(evidence.plan_id)}/{report_folder(evidence.run_id)}")
    yield "Evidence", f"`{evidence.hash}`"


def code(text: str) -> str:
    """Text of the data as code: neither ends the code, the cell of a table, nor the line, whatever it holds."""
    shown = "".join("'" if c == "`" else c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return f"`{shown.replace('|', chr(92) + '|')}`"


def plain(text: str) -> str:
    """Text that may hold names of the data, as words: nothing in it is markup, and it stays on its line."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return _MARKUP.sub(r"\\\g<0>", shown)


def span(value: timedelta) -> str:
    """A time span for people."""
    hours = value.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
