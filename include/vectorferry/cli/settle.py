"""`vectorferry settle`: settles what routers wrote, once or until the migration is done."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def settle(
    spec: SpecPath,
    json: Json = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until DONE, as for the rollback window.")] = False,
) -> None:
    """Settle what routers wrote: copy it, read afresh, from the side that has the authority to the other one.

    Ends once everything written until now is settled. Several may run at a time.
    """
    console, loaded = Console(json=json), read_spec(spec)
    with session_of(loaded, console, "settle") as session:
        (pipeline.settle_continuously if follow else pipeline.settle_up_to_now)(session)
        left = [session.journal.claims.backlog(loaded.migration, cohort.name) for cohort in loaded.cohorts]
    then = "`vectorferry status SPEC` shows what is in the way of the next step"
    value = {"dirty": sum(each.dirty for each in left), "open": sum(each.open for each in left)}
    console.result(value, f"settled; written meanwhile: {value['dirty']} dirty, {value['open']} open", then=then)
