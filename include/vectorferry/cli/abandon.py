"""`vectorferry abandon`: removes what an unfinished migration left."""

from typing import Annotated

import typer

from vectorferry.cli.confirming import agreement
from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import removal


def abandon(
    spec: SpecPath,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List, then remove, what an unfinished migration left: the target that it made, staging, journal rows.

    Refused from HOLD_A on. The audit trail and backups stay.
    """
    console = Console(json=json)
    removal.abandon(desk_of(spec, console, "abandon"), agreement(console, yes=yes))
