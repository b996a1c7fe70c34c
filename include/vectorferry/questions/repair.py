"""Question before a repair that is larger than the spec allows: what drifted, what would be written, what would be deleted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vectorferry.core.model import DifferenceKind
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.journal import Evidence
from vectorferry.questions.layout import Question, about, asked, code, plain

_FIRST = 2
_MOST_OF_NAMESPACE, _MOST_OF_ID = 20, 36
# What is deleted comes first.
_KINDS: Mapping[str, tuple[str, str]] = {
    DifferenceKind.EXTRA: ("Extra", "**deleted**"),
    DifferenceKind.NAMESPACE: ("Wrong namespace", "written where they belong, **deleted** where they lie"),
    DifferenceKind.MISSING: ("Missing", "written"),
    DifferenceKind.VECTOR: ("Other vector", "overwritten"),
    DifferenceKind.METADATA: ("Other metadata", "overwritten"),
}


def repair_question(session: Session, evidence: Evidence) -> Question:
    """Whether to repair what a reconciliation found."""
    figures = drift_figures(evidence)
    count, deletions = figures["repairs"], figures["deletions"]
    deleted = f"which **deletes {deletions:,}** there" if deletions else "which deletes nothing"
    told = (
        f"Approved, each of **{count:,}** records is read again from the side that has the authority, and the other side is made to agree, "
        f"{deleted}. Rejected, nothing changes: they go on differing, and the next reconciliation finds them again."
    )
    subject = f"Repair {count:,} records of {evidence.migration}" + (f", deleting {deletions:,}?" if deletions else "?")
    return asked(subject, told, _rows(session, evidence, figures))


def _rows(session: Session, evidence: Evidence, figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Asked because", plain("; ".join(figures["over"]))
    yield from _authorities(session)
    scope = "all of them" if figures["scope"] == "full" else "a share of them"
    yield (
        "Compared",
        f"{scope}: {figures['rows_source']:,} records of the source, {figures['rows_target']:,} of the target",
    )
    [verdict] = verdicts_of(evidence, "drift")
    for kind, (name, done) in _KINDS.items():
        if count := figures["kinds"].get(kind, 0):
            yield name, f"**{count:,}** will be {done}: {_first(verdict['differences'], kind, count)}"
    yield "Undo", "none: what the other side holds now is gone, unless a backup has it"
    yield "All of them", code(figures["file"])
    yield from about(session, evidence)


def _authorities(session: Session) -> Iterator[tuple[str, str]]:
    rows = session.journal.control.all(session.migration)
    for rules, right, wrong in ((True, session.source, session.target), (False, session.target, session.source)):
        cohorts = [row.cohort for row in rows if row.phase.source_is_authority is rules]
        if cohorts:
            of = f" for {', '.join(cohorts)}" if len(cohorts) < len(rows) else ""
            yield "Authority", f"{code(right.name)}{of}; what is repaired is {code(wrong.name)}"


def _first(differences: Sequence[Mapping[str, Any]], kind: str, count: int) -> str:
    shown = [_place(each) for each in differences if each["kind"] == kind][:_FIRST]
    return ", ".join(shown) + (", …" if count > len(shown) else "")


def _place(found: Mapping[str, Any]) -> str:
    """A record's namespace and id as code, which neither ends the code nor the table."""
    namespace = _short(found["namespace"] or "(default)", _MOST_OF_NAMESPACE)
    return code(f"{namespace}/{_short(found['id'], _MOST_OF_ID)}")


def _short(text: str, most: int) -> str:
    """Beginning and end: what tells ids apart may be in either."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"
