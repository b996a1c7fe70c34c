"""`vectorferry abandon`: removes what an unfinished migration left."""

from dataclasses import asdict
from typing import Annotated

import typer

from vectorferry.cli.confirming import require_yes
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
        if left and not yes:
            require_yes(console, "Remove all of it?", unchanged="nothing was removed")
        pipeline.abandon(session)
    console.result(
        {"removed": asdict(found)},
        "removed" if left else "there was nothing to remove",
        then="`vectorferry plan SPEC` looks at both databases; `vectorferry run SPEC` begins anew",
    )
