"""`vectorferry observe`: shows what applications ask of their collection, and what of it a target cannot serve."""

from pathlib import Path
from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import observe as verbs


def observe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gateway pinecone --observe FILE` counted.")],
    spec: SpecPath,
    json: Json = False,
) -> None:
    """Show what applications ask of their collection, and which of it the target of a spec cannot serve. Exits 1 if there is any.

    Holds operations, the shapes of filters, namespaces and top_k; no values.
    """
    if not verbs.observe(desk_of(spec, Console(json=json), "observe"), file):
        raise typer.Exit(1)
