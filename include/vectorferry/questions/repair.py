"""Question before a repair that is larger than the spec allows: what drifted, what would be written, what would be deleted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vectorferry.core.model import DifferenceKind
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.journal import Evidence
from vectorferry.questions.layout import Question, about, asked, code, plain, shortened

_FIRST = 2
_MOST_OF_NAMESPACE, _MOST_OF_ID = 20, 36
# What is deleted stands in a row of its own, before what is written.
_ROWS: Mapping[str, Mapping[str, str]] = {
    "Deleted": {
        DifferenceKind.EXTRA: "extra",
        DifferenceKind.NAMESPACE: "of a wrong namespace, written where they belong",
    },
    "Written": {
        DifferenceKind.MISSING: "missing",
        DifferenceKind.VECTOR: "with another vector",
        DifferenceKind.METADATA: "with other metadata",
    },
}


def repair_question(session: Session, evidence: Evidence, report: str | None) -> Question:
    """Whether to repair what a reconciliation found."""
    figures = drift_figures(evidence)
    count, deletions = figures["repairs"], figures["deletions"]
    deleted = f"which **deletes {deletions:,}** there" if deletions else "which deletes nothing"
    told = (
        f"Approved, **{count:,}** records are read afresh from the authority and the other side is made to agree, {deleted}; "
        "only a backup undoes it. Rejected, nothing changes, and the next reconciliation asks again."
    )
    subject = f"Repair {count:,} records of {evidence.migration}" + (f", deleting {deletions:,}?" if deletions else "?")
    return asked(subject, told, _rows(session, evidence, figures, report))


def _rows(
    session: Session, evidence: Evidence, figures: Mapping[str, Any], report: str | None
) -> Iterator[tuple[str, str]]:
    scope = "all" if figures["scope"] == "full" else "a share"
    read = f"{figures['rows_source']:,} records of the source and {figures['rows_target']:,} of the target"
    yield "Asked because", f"{plain('; '.join(figures['over']))}; compared: {scope}, {read}"
    yield from _authorities(session)
    [verdict] = verdicts_of(evidence, "drift")
    for row, kinds in _ROWS.items():
        found = [(kind, words, count) for kind, words in kinds.items() if (count := figures["kinds"].get(kind, 0))]
        if found:
            yield (
                row,
                "; ".join(f"**{n:,}** {words}: {_first(verdict['differences'], kind, n)}" for kind, words, n in found),
            )
    yield "All of them", code(figures["file"])
    yield from about(session, evidence, report)


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
    namespace = shortened(found["namespace"] or "(default)", _MOST_OF_NAMESPACE)
    return code(f"{namespace}/{shortened(found['id'], _MOST_OF_ID)}")
