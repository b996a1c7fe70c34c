"""`vectorferry compare`: compares every record of both sides, without a journal."""

from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, store_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Comparison


def compare(
    spec: SpecPath,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="How many differing ids to list.")] = 20,
) -> None:
    """Read both sides in full and compare every record. Exits 0 only when they hold the same records."""
    console, loaded = Console(json=json), read_spec(spec)
    with store_of(loaded, "source") as source, store_of(loaded, "target") as target:
        found = pipeline.compare(source, target, loaded.namespaces, report=console.report, limit=limit)
    _show(console, found)
    if loaded.source.sparse == "leave":
        console.note("sparse vectors were not compared: they stay behind (`source.sparse: leave`)")
    if not found.equal:
        raise typer.Exit(1)


def _show(console: Console, found: "Comparison") -> None:
    differences = "\n".join(f"  {each}" for each in found.differences)
    verdict = "equal" if found.equal else f"{found.total} differences\n{differences}"
    console.result(found, f"source {found.rows_source} rows, target {found.rows_target} rows: {verdict}")
