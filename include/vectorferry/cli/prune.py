"""`vectorferry prune`: removes the backups, reports and staged files that are no longer kept."""

from typing import Annotated

import typer

from vectorferry.cli.confirming import require_yes
from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def prune(
    spec: SpecPath,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List, then remove, what is no longer kept: backups beyond `backup.keep`, and old reports and staged files (`backup.retention`).

    Never the plan in force, nor the newest backup that a drill has proven.
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "prune", upgrade=True) as session:
        found = pipeline.prunable(session)
        console.table("No longer kept", ("what", "why"), ((each.path, each.why) for each in found))
        if found and not yes:
            require_yes(console, "Remove all of it?", unchanged="nothing was removed")
        removed = pipeline.prune(session, found)
    console.result(
        {"removed": [each.path for each in removed]},
        f"removed {len(removed)}" if removed else "there is nothing to remove",
    )
