"""`vectorferry prune`: removes the backups, reports and staged files that are no longer kept."""

from typing import Annotated

import typer

from vectorferry.cli.confirming import agreement
from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import removal


def prune(
    spec: SpecPath,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List, then remove, what is no longer kept: backups beyond `backup.keep`, and old reports and staged files (`backup.retention`).

    Never the plan in force, nor the newest backup that a drill has proven.
    """
    console = Console(json=json)
    removal.prune(desk_of(spec, console, "prune"), agreement(console, yes=yes))
