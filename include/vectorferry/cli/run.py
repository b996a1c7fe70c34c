"""`vectorferry run`: runs a whole migration in one process."""

from typing import TYPE_CHECKING, Any

import typer

from vectorferry.cli.approval import asking
from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import RunOutcome
    from vectorferry.engine.session import Session


def run(spec: SpecPath, json: Json = False) -> None:
    """Run the whole migration in this process: plan, export, load, checks, evidence, approval, cut-over, verification.

    Killed, it goes on where it stopped. It asks for the approval here where the spec allows that (`approval.terminal`).
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "run", upgrade=True) as session:
        outcome = pipeline.run(session, asking(console))
        _show(console, session, outcome)
    if outcome.switched is None:
        raise typer.Exit(1)


def _show(console: Console, session: "Session", outcome: "RunOutcome") -> None:
    """Show how a run ended and where its files lie."""
    folder = session.staging.locate(outcome.plan.id)
    value: dict[str, Any] = {"plan": outcome.plan.id, "evidence": outcome.evidence.hash, "files": folder}
    if outcome.switched is None:
        console.result(
            value | {"phase": "TRACK_A"},
            f"not approved: nothing has changed, the source has the authority. Files: {folder}",
            then="`vectorferry run SPEC` repeats the checks and asks again; what is loaded stays loaded",
        )
        return
    value |= {"phase": str(outcome.switched.phase), "approved_by": outcome.switched.approved_by}
    value |= {"hold_seconds": round(outcome.switched.hold_seconds, 3)} if session.spec.routers else {}
    then = (
        "`vectorferry settle SPEC --follow` keeps the source up for a rollback; `vectorferry finalize SPEC` ends the migration for good"
        if session.spec.routers
        else "point readers at the target; `vectorferry finalize SPEC` ends the migration once the source is no longer needed"
    )
    told = f"cut over: phase {outcome.switched.phase}, the target has the authority. Files: {folder}"
    console.result(value, told, then=then)
