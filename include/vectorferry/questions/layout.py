"""Layout of every question to an approver: one screen of Markdown, what is doubtful first, a table, and who asks until when."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from vectorferry.engine.session import Session
from vectorferry.journal import Evidence
from vectorferry.staging import report_folder

MOST_DOUBTS = 3
MOST_KEYS = 5
LONGEST_KEY = 24
NO_BREAK = "\N{NO-BREAK SPACE}"
# An underscore within a word is none.
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Question:
    """What the approver is asked; `body` is Markdown."""

    subject: str
    body: str

    def explained(self, guide: str, page: str = "") -> "Question":
        """The question with links to what each of its lines means, and to the migration's page, on its first line: they take no room of
        their own.
        """
        told, rest = self.body.split("\n", 1)
        more = f" · [the migration's page]({page})" if page else ""
        return Question(self.subject, f"{told} [What each line means]({guide}){more}\n{rest}")


def asked(
    subject: str, told: str, rows: Iterable[tuple[str, str]], doubts: Sequence[str] = (), against: Sequence[str] = ()
) -> Question:
    """A question: what an answer does, what to look at first (what stands `against` it, then `doubts`), and a table of (name, value).

    Airflow puts the buttons below it: with all of `doubts` shown they would not be seen on a screen of 1,000 pixels. Where something
    stands against it, Airflow is never asked.
    """
    table = (f"| {name.replace(' ', NO_BREAK)} | {value} |" for name, value in rows)
    return Question(subject, "\n".join([told, "", *_first(against, doubts), "| | |", "|---|---|", *table, ""]))


def _first(against: Sequence[str], doubts: Sequence[str]) -> Iterator[str]:
    if not against and not doubts:
        return
    yield "**Look at first:**"
    yield ""
    yield from (f"- {line}" for line in (*against, *doubts[:MOST_DOUBTS]))
    if len(doubts) > MOST_DOUBTS:
        yield f"- … and {len(doubts) - MOST_DOUBTS:,} more, in the report"
    yield ""


def about(session: Session, evidence: Evidence, report: str | None) -> Iterator[tuple[str, str]]:
    """What ends every table: what stays behind whatever the answer, who asks, until when, where to read more, and what is signed.

    `report` is the address of the report; where it is empty, the folder is named in which it lies. None where that is told elsewhere.
    """
    if evidence.body.get("sparse") == "leave":
        yield (
            "Left behind",
            f"**every sparse vector** of {code(session.source.name)} (`source.sparse: leave`): not moved, not compared",
        )
    if dropped := evidence.body.get("dropped"):
        keys = [
            code(shortened(key, LONGEST_KEY)) + (f" of **{rows:,}** records" if rows else "")
            for key, rows in dropped.items()
        ]
        more = f" and {len(keys) - MOST_KEYS:,} more keys" if len(keys) > MOST_KEYS else ""
        yield "Dropped", f"{', '.join(keys[:MOST_KEYS])}{more} (`mapping.drop`): not moved, not compared"
    rules, who = session.spec.approval, plain(evidence.body["requested_by"])
    within, lapses = f"answer within {span(rules.timeout)}", f"lapses after {span(rules.evidence_age)}"
    if report:
        asked_by = f"asked by {who}; {within}; evidence `{evidence.hash[:12]}` {lapses}"
        yield "Report", f"[every check with its figures]({report}); {asked_by}"
        return
    yield "Asked by", f"{who}; {within}; the evidence {lapses}"
    if report is not None:
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


def shortened(text: str, most: int) -> str:
    """Beginning and end of a long name: what tells names apart may be in either."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"


def span(value: timedelta) -> str:
    """A time span for people."""
    hours = value.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
