"""`vectorferry compare`: compares every record of both sides."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import compare as verbs


def compare(
    spec: SpecPath,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="How many differing ids to list.")] = 20,
    excused: Annotated[
        bool, typer.Option("--excused", help="Let the target lack what the journal says is excused.")
    ] = False,
) -> None:
    """Read both sides in full and compare every record. Exits 0 only when they hold the same records."""
    if not verbs.compare(desk_of(spec, Console(json=json), "compare"), limit, excused=excused):
        raise typer.Exit(1)
