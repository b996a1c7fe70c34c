"""`vectorferry searchable`: finds records that are stored and that no search returns, and writes them again."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.confirming import require_yes
from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SideOption, SpecPath, Which
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import SelfSearch

_SHOWN = 20


def searchable(
    spec: SpecPath,
    side: SideOption = Which.TARGET,
    share: Annotated[float, typer.Option(min=0.0001, max=1.0, help="Share of the records, drawn by their ids.")] = 1.0,
    again: Annotated[bool, typer.Option("--put-again", help="Write those that are not found again.")] = False,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
) -> None:
    """Search each record by its own vector, and name those that are stored and that no search returns.

    Weaviate may store a put whose client went away without its index: such a record is counted, read and listed like any other.
    With --put-again these are written anew; under routers settling does it, on the side that follows; without them nobody may write
    to the collection meanwhile. Exits 0 when every record was found in the end.
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "searchable", upgrade=True) as session:
        found = pipeline.search_each(session, side.value, share)
        if found.unsearchable and again:
            if not yes:
                _ask(console, found)
            pipeline.put_again(session, side.value, found.unsearchable)
            found = pipeline.search_each(session, side.value, share)
    _show(console, found)
    if found.unsearchable:
        raise typer.Exit(1)


def _ask(console: Console, found: "SelfSearch") -> None:
    question = (
        f"Write {len(found.unsearchable):,} records of {found.store} again? Nobody else may write to them meanwhile."
    )
    require_yes(console, question, unchanged="nothing was written")


def _show(console: Console, found: "SelfSearch") -> None:
    told = f"{found.store}: {found.looked_at:,} records looked at, {len(found.unsearchable):,} are not found by their own vector"
    if found.undecided:
        told += f", of {found.undecided:,} it cannot be told"
    lines = [told, *(f"  {namespace or '(default)'}/{id_}" for namespace, id_ in found.unsearchable[:_SHOWN])]
    if (more := len(found.unsearchable) - _SHOWN) > 0:
        lines.append(f"  … and {more:,} more: --json lists all")
    then = "`vectorferry searchable SPEC --put-again` writes them again" if found.unsearchable else ""
    console.result(asdict(found), "\n".join(lines), then=then)
