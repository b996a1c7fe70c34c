"""The question after a reconciliation that found more than may be mended without asking."""

from collections.abc import Iterator, Mapping
from typing import Any

from vectorferry.engine.session import Session
from vectorferry.journal import Evidence
from vectorferry.model import DifferenceKind
from vectorferry.report.asking import Question, about, asked
from vectorferry.report.evidence import verdicts_of

_SHOWN = 10
_MEANS = {
    DifferenceKind.MISSING: "the follower lacks it: it is written",
    DifferenceKind.EXTRA: "only the follower has it: it is **deleted** there",
    DifferenceKind.VECTOR: "another vector: the authority's is written",
    DifferenceKind.METADATA: "other metadata: the authority's is written",
    DifferenceKind.NAMESPACE: "the follower has it in another namespace: written in the right one, **deleted** in the wrong one",
}


def repair_question(session: Session, evidence: Evidence) -> Question:
    """Whether to mend what drifted."""
    [found] = verdicts_of(evidence, "drift")
    figures = found["figures"]
    told = (
        f"Approved, **{figures['repairs']:,}** records of **{evidence.migration}** are settled: read afresh from the side that has the "
        f"authority, and written to its copy; **{figures['deletions']:,}** are **deleted** there. Rejected, nothing changes."
    )
    first = [f"- `{_place(each)}` {each['kind']} {each['field']}".rstrip() for each in found["differences"][:_SHOWN]]
    more = figures["repairs"] - len(first)
    after = ["First of them:", "", *first, *([f"- … and {more:,} more, in `{figures['file']}`"] if more > 0 else [])]
    return asked(
        f"Mend {figures['repairs']:,} records of {evidence.migration}?", told, _rows(session, evidence, figures), after
    )


def _rows(session: Session, evidence: Evidence, figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Asked because", "; ".join(figures["over"])
    for kind, means in _MEANS.items():
        if count := figures["kinds"].get(str(kind)):
            yield kind.capitalize(), f"**{count:,}**: {means}"
    yield (
        "Compared",
        f"source **{figures['rows_source']:,}**, target **{figures['rows_target']:,}** records read ({figures['scope']})",
    )
    yield "Sides", f"`{evidence.body['source']}` and `{evidence.body['target']}`; {_authority(session)}"
    yield "Undo", "none by itself: what is deleted in the copy was not in the authority; a backup has what it held"
    yield from about(session, evidence)


def _authority(session: Session) -> str:
    rows = session.journal.control.all(session.migration)
    return "; ".join(
        f"cohort {row.cohort}: the {'source' if row.phase.source_rules else 'target'} has the authority" for row in rows
    )


def _place(difference: Mapping[str, Any]) -> str:
    return f"{difference['namespace'] or '(default)'}/{difference['id']}"
