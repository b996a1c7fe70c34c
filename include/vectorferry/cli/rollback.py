"""`vectorferry rollback`: gives the authority back to the source."""

from typing import Annotated

import typer

from vectorferry.cli.confirming import require_yes
from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

_THEN = "`vectorferry status SPEC` shows what went wrong; `vectorferry run SPEC` cuts over anew, and what is loaded stays loaded"


def rollback(
    spec: SpecPath,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    json: Json = False,
    cohort: Annotated[str, typer.Option(help="Only this cohort; else all that were cut over, the last first.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Roll back without asking.")] = False,
) -> None:
    """Give the authority back to the source, with everything that was written to the target since the cut-over.

    Routers kept the source up; their writes wait for a short hold. Only with tracked writers, and until DONE.
    """
    console, loaded = Console(json=json), read_spec(spec)
    what = f"cohort {cohort} of {loaded.migration}" if cohort else loaded.migration
    if not yes:
        require_yes(
            console,
            f"Move the authority of {what} back to {loaded.source.collection}?",
            unchanged="nothing has changed",
        )
    with session_of(loaded, console, "rollback") as session:
        done = pipeline.roll_back_now(session, reason, cohort or None)
    value = {"phase": str(done.phase), "hold_seconds": round(done.hold_seconds, 3), "by": done.approved_by}
    console.result(value, f"rolled back: phase {done.phase}, writes waited for {done.hold_seconds:.2f} s", then=_THEN)
