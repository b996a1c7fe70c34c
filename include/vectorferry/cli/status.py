"""`vectorferry status`: shows where a migration stands, from the journal alone."""

import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.members import MEMBER_COLUMNS
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Status

WATCH_SECONDS = 1.0
_RUN = "`vectorferry run SPEC` goes on from here; or trigger the DAG `<migration>.migrate`"
_THEN = {
    **dict.fromkeys(("OFF", "TRACK_A", "HOLD_A", "HOLD_B"), _RUN),
    "TRACK_B": "`vectorferry finalize SPEC` ends the migration for good; with routers `vectorferry rollback SPEC` undoes the cut-over",
    "DONE": "nothing is left to do: the migration has ended",
}


def status(
    spec: SpecPath,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
) -> None:
    """Show where a migration stands: phases, routers and leases, backlog, what is in the way, partitions, evidence, audit trail."""
    loaded, console = read_spec(spec), Console(json=json)
    with journal_of(loaded) as journal:
        while True:
            found = pipeline.status(journal, loaded)
            if watch:
                console.clear()
            _show(console, found)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


def _show(console: Console, found: "Status") -> None:
    console.table(f"Migration {found.migration}", ("cohort", "phase", "epoch"), found.phases)
    _show_writes(console, found)
    _show_work(console, found)
    for title, lines in (("In the way of the next step", found.in_the_way), ("Alerts", found.alerts)):
        if lines:
            console.table(title, ("",), ((line,) for line in lines))
    text = _evidence(found) if found.phases else f"migration {found.migration} was never begun"
    console.result(found, text, then=_then({phase for _, phase, _ in found.phases}))


def _then(phases: set[str]) -> str:
    """What comes next; of several cohorts the one that is furthest behind counts."""
    if not phases:
        return "`vectorferry plan SPEC` looks at both databases; `vectorferry run SPEC` begins"
    return next((then for phase, then in _THEN.items() if phase in phases), "")


def _show_writes(console: Console, found: "Status") -> None:
    """Routers, and what they have written."""
    if found.members:
        console.table("Routers", MEMBER_COLUMNS, found.members)
    if found.live:
        columns = (
            *("cohort", "dirty", "rejected", "writes open"),
            *("oldest open (s)", "left of the hold (s)", "last hold (s)"),
        )
        rows = (("-" if value is None else value for value in astuple(each)) for each in found.live)
        console.table("Live writes", columns, rows)


def _show_work(console: Console, found: "Status") -> None:
    """Partitions, verdicts, reconciliations, and who did what."""
    steps = ((s.step, f"{s.done}/{s.partitions}", s.running, s.rows, s.excused) for s in found.steps)
    console.table("Partitions", ("step", "done", "running", "rows", "excused"), steps)
    console.table("Verdicts", ("check", "passed", "all"), found.verdicts)
    if found.reconciliations:
        runs = ((f"{began:%Y-%m-%d %H:%M}", *rest) for began, *rest in found.reconciliations)
        console.table("Reconciliations", ("began", "scope", "outcome", "records read", "drifted"), runs)
    audit = ((f"{at:%Y-%m-%d %H:%M:%S}", who, what, detail) for at, who, what, detail in found.audit)
    console.table("Audit", ("at", "who", "what", "detail"), audit)


def _evidence(found: "Status") -> str:
    if not found.evidence:
        return "No evidence yet."
    answers = "; ".join(f"{decision} by {who}: {reason}" for decision, who, reason in found.approvals) or "none"
    signable = "can be signed" if found.approvable else "cannot be signed"
    return f"Evidence {found.evidence[:12]} ({signable}); answers: {answers}"
