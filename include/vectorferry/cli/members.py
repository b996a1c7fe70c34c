"""`vectorferry members`: lists the routers of a migration, and forgets one that is known to be gone."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import members as verbs


def members(
    spec: SpecPath,
    json: Json = False,
    forget: Annotated[str, typer.Option(metavar="ID", help="Remove a router that is known to be gone.")] = "",
) -> None:
    """List the routers of a migration: phase, what they still have under way, and what is left of their leases.

    --forget removes one that died before tracking began: only a person can know that nothing of it lands any more. It is audited.
    """
    verbs.members(desk_of(spec, Console(json=json), "members"), forget)
