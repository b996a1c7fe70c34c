"""Compare: every record of both sides, without a journal unless excused records are to be left out."""

from typing import TYPE_CHECKING

from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk, Teller

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Comparison


def compare(desk: Desk, limit: int, *, excused: bool) -> bool:
    """Whether both sides hold the same records; lists the first `limit` that differ. `excused` ones may be missing in the target."""
    spec, tell = desk.spec, desk.tell
    with desk.sides() as (source, target):
        found = pipeline.compare(
            source,
            target,
            spec.namespaces,
            report=tell.report,
            limit=limit,
            excused=_excused(desk) if excused else frozenset(),
            adopted=spec.target.adopt,
        )
    _show(tell, found)
    if found.left_out:
        names = ", ".join(name or "(default)" for name in found.left_out)
        tell.note(f"not compared: {names}, which only the target has (`target.adopt`)")
    if spec.source.sparse == "leave":
        tell.note("sparse vectors were not compared: they stay behind (`source.sparse: leave`)")
    if spec.mapping.drop:
        tell.note(f"not compared: {', '.join(spec.mapping.drop)}, which stay behind (`mapping.drop`)")
    return found.equal and not found.empty


def _excused(desk: Desk) -> frozenset[tuple[str, str]]:
    with desk.journal() as journal:
        return frozenset((row.namespace, row.id) for row in journal.records.excused(desk.spec.migration))


def _show(tell: Teller, found: "Comparison") -> None:
    verdict = "equal" if found.equal else _unread(found) if found.unread else _differing(found)
    if found.empty:
        verdict = "nothing was compared; check `namespaces` and the collections in the spec"
    then = (
        ""
        if found.equal
        else "what was excused on purpose is left out with `--excused`; `vectorferry reconcile SPEC` repairs the rest once a migration "
        "is loaded, or names it with --report-only"
    )
    tell.result(found, f"source {found.rows_source:,} rows, target {found.rows_target:,} rows: {verdict}", then=then)


def _unread(found: "Comparison") -> str:
    return "\n".join(
        ["nothing was compared, for nobody can say which record is meant", *(f"  {each}" for each in found.unread)]
    )


def _differing(found: "Comparison") -> str:
    """The differences that are listed, and that there are more."""
    lines = [f"{found.total:,} differences", *(f"  {each}" for each in found.differences)]
    if (more := found.total - len(found.differences)) > 0:
        lines.append(f"  … and {more:,} more: --limit lists as many as it says")
    return "\n".join([*lines, *(f"  {each}" for each in found.miscounts)])
