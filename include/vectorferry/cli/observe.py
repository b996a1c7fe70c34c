"""`vectorferry observe`: shows what applications ask of their collection, and what of it a target cannot serve."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, store_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Use


def observe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gateway pinecone --observe FILE` counted.")],
    spec: SpecPath,
    json: Json = False,
) -> None:
    """Show what applications ask of their collection, and which of it the target of a spec cannot serve. Exits 1 if there is any.

    Holds operations, the shapes of filters, namespaces and top_k; no values.
    """
    loaded = read_spec(spec)
    with store_of(loaded, "target") as target:
        uses = pipeline.observed_uses(file, loaded, target.capabilities)
    _show(Console(json=json), uses)
    if any(use.problem for use in uses):
        raise typer.Exit(1)


def _show(console: Console, uses: "Sequence[Use]") -> None:
    rows = [(use.kind, use.name or "(default)", use.count, use.problem or "yes") for use in uses]
    console.table("Observed", ("what", "which", "times", "served"), rows)
    lacking = any(use.problem for use in uses)
    then = (
        "change what cannot be served in your application, or choose another target"
        if lacking
        else "`vectorferry plan SPEC`"
    )
    console.result(
        uses, f"{len(uses)} uses, {sum(bool(use.problem) for use in uses)} of them cannot be served", then=then
    )
