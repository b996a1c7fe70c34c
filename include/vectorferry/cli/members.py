"""`vectorferry members`: lists the routers of a migration, and forgets one that is known to be gone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.operator import operator
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.journal import Member

MEMBER_COLUMNS = ("id", "host", "phase", "draining", "lease left (s)")
_NAMES = ("id", "host", "phase", "draining", "lease_left")


def members(
    spec: SpecPath,
    json: Json = False,
    forget: Annotated[str, typer.Option(metavar="ID", help="Remove a router that is known to be gone.")] = "",
) -> None:
    """List the routers of a migration: phase, what they still have under way, and what is left of their leases.

    --forget removes one that died before tracking began: only a person can know that nothing of it lands any more. It is audited.
    """
    loaded = read_spec(spec)
    with journal_of(loaded) as journal:
        if forget:
            journal.members.forget(loaded.migration, forget, operator())
        _show(Console(json=json), journal.members.all(loaded.migration), loaded.routers)


def _show(console: Console, found: "Sequence[Member]", expected: int) -> None:
    then = "`vectorferry run SPEC`" + (
        " waits for all that are expected" if expected else ": nobody has to join, the spec says `writers: none`"
    )
    if len(found) < expected:
        then = "start the routers that are missing: `Router(migration, journal)` in each process that writes (docs/applications.md)"
    rows = [pipeline.member_row(member) for member in found]
    console.table("Routers", MEMBER_COLUMNS, rows)
    console.result(
        [dict(zip(_NAMES, row, strict=True)) for row in rows], f"{len(found)} routers of {expected} expected", then=then
    )
