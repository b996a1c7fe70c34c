"""`vectorferry compare`: compares every record of both sides, without a journal unless excused records are to be left out."""

from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec, sides_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Comparison
    from vectorferry.spec.migration import MigrationSpec


def compare(
    spec: SpecPath,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="How many differing ids to list.")] = 20,
    excused: Annotated[
        bool, typer.Option("--excused", help="Let the target lack what the journal says is excused.")
    ] = False,
) -> None:
    """Read both sides in full and compare every record. Exits 0 only when they hold the same records."""
    console, loaded = Console(json=json), read_spec(spec)
    with sides_of(loaded) as (source, target):
        behind = _excused(loaded) if excused else frozenset()
        found = pipeline.compare(
            source,
            target,
            loaded.namespaces,
            report=console.report,
            limit=limit,
            excused=behind,
            adopted=loaded.target.adopt,
        )
    _show(console, found)
    if found.left_out:
        names = ", ".join(name or "(default)" for name in found.left_out)
        console.note(f"not compared: {names}, which only the target has (`target.adopt`)")
    if loaded.source.sparse == "leave":
        console.note("sparse vectors were not compared: they stay behind (`source.sparse: leave`)")
    if loaded.mapping.drop:
        console.note(f"not compared: {', '.join(loaded.mapping.drop)}, which stay behind (`mapping.drop`)")
    if not found.equal or found.empty:
        raise typer.Exit(1)


def _excused(spec: "MigrationSpec") -> frozenset[tuple[str, str]]:
    with journal_of(spec) as journal:
        return frozenset((row.namespace, row.id) for row in journal.records.excused(spec.migration))


def _show(console: Console, found: "Comparison") -> None:
    verdict = "equal" if found.equal else _unread(found) if found.unread else _differing(found)
    if found.empty:
        verdict = "nothing was compared; check `namespaces` and the collections in the spec"
    then = (
        ""
        if found.equal
        else "what was excused on purpose is left out with `--excused`; `vectorferry reconcile SPEC` repairs the rest once a migration "
        "is loaded, or names it with --report-only"
    )
    console.result(found, f"source {found.rows_source:,} rows, target {found.rows_target:,} rows: {verdict}", then=then)


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
