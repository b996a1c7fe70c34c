"""`vectorferry abandon`: removes what an unfinished migration left."""

from dataclasses import asdict
from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def abandon(
    spec: SpecPath,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List, then remove, what an unfinished migration left: the target that it made, staging, journal rows.

    Refused from HOLD_A on. The audit trail and backups stay.
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "abandon", upgrade=True) as session:
        found = pipeline.leftovers(session)
        left = [(name, value) for name, value in asdict(found).items() if value]
        console.table("Left behind", ("what", "where"), left)
        if not yes and not typer.confirm("Remove all of it?"):
            raise typer.Exit(1)
        pipeline.abandon(session)
    console.result({"removed": asdict(found)}, "removed")
