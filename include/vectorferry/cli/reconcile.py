"""`vectorferry reconcile`: compare both sides now, repair what differs, or show what was found before."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectorferry.cli.approval import ask_approval
from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Evidence, Reconciliation
    from vectorferry.spec.migration import MigrationSpec


_THEN = {
    "drift": "`vectorferry reconcile SPEC` repairs it; above the limits of `reconcile` in the spec a person is asked",
    "paused": "`vectorferry reconcile SPEC` goes on where this run was paused",
}


def reconcile(
    spec: SpecPath,
    json: Json = False,
    share: Annotated[
        bool,
        typer.Option(
            "--share", help="Only what was written since the last time, and the share of the rest that is due."
        ),
    ] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Repair nothing.")] = False,
    pair: Annotated[
        bool,
        typer.Option("--pair", help="Declare the target a copy of the source, filled by others, to be kept equal."),
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Show what was found before; reads neither side.")] = False,
) -> None:
    """Compare every record of both sides, and repair what differs from the side that has the authority.

    A difference counts only if nothing wrote the record while it was looked at. Above the spec's limits (`reconcile.repairs`,
    `reconcile.deletions`) a person is asked, here where the spec allows that, else in Airflow. Killed, it goes on where it stopped.
    Exits 0 when both sides are equal in the end.
    """
    console, loaded = Console(json=json), read_spec(spec)
    if history:
        _show_history(loaded, console)
        return
    with session_of(loaded, console, "reconcile", upgrade=pair) as session:
        if pair:
            pipeline.keep_equal(session)
        found = pipeline.reconcile(session, full=not share)
        if not report_only:
            _repair(session, found, console)
        figures = _figures(session, found)
    console.result(dict(figures), pipeline.summarize(figures), then=_THEN.get(str(figures["outcome"]), ""))
    if figures["outcome"] not in ("equal", "repaired"):
        raise typer.Exit(1)


def _repair(session: "Session", found: "Evidence", console: Console) -> None:
    """Repair what was found, if anything was, and if a person who has to be asked agrees."""
    if found.approvable and (not pipeline.needs_person(found) or ask_approval(console, session, found)):
        pipeline.repair(session, found.hash)


def _figures(session: "Session", found: "Evidence") -> Mapping[str, Any]:
    """What the reconciliation came to, as the journal has it now."""
    number = pipeline.drift_figures(found)["reconciliation"]
    return session.journal.reconciliations.get(number).figures or {}


def _show_history(loaded: "MigrationSpec", console: Console) -> None:
    with journal_of(loaded) as journal:
        runs = journal.reconciliations.all(loaded.migration)
    console.result(
        {"reconciliations": [_plain(run) for run in runs]},
        "\n".join(
            f"{run.began_at:%Y-%m-%d %H:%M} {pipeline.summarize(run.figures) if run.figures else 'not ended'}"
            for run in runs
        )
        or "none yet",
    )


def _plain(run: "Reconciliation") -> dict[str, Any]:
    return {"id": run.id, "began_at": run.began_at.isoformat(), "run": run.run_id, "figures": run.figures}
