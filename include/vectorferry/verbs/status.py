"""Status: where a migration stands, from the journal alone."""

from dataclasses import astuple
from typing import TYPE_CHECKING

from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk, Teller
from vectorferry.verbs.members import MEMBER_COLUMNS

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Status

_RUN = "`vectorferry run SPEC` goes on from here; or trigger the DAG `<migration>.migrate`"
_THEN = {
    **dict.fromkeys(("OFF", "TRACK_A", "HOLD_A", "HOLD_B"), _RUN),
    "TRACK_B": "`vectorferry finalize SPEC` ends the migration for good; with routers `vectorferry rollback SPEC` undoes the cut-over",
    "DONE": "nothing is left to do: the migration has ended",
}


def status(desk: Desk) -> None:
    """Show phases, routers, what is in the way, partitions, evidence and who did what."""
    with desk.journal() as journal:
        show(desk.tell, pipeline.status(journal, desk.spec))


def show(tell: Teller, found: "Status") -> None:
    """Tell what was found."""
    tell.table(f"Migration {found.migration}", ("cohort", "phase", "epoch"), found.phases)
    _show_writes(tell, found)
    _show_work(tell, found)
    for title, lines in (("In the way of the next step", found.in_the_way), ("Alerts", found.alerts)):
        if lines:
            tell.table(title, ("",), ((line,) for line in lines))
    text = _evidence(found) if found.phases else f"migration {found.migration} was never begun"
    tell.result(found, text, then=_then({phase for _, phase, _ in found.phases}))


def _then(phases: set[str]) -> str:
    """What comes next; of several cohorts the one that is furthest behind counts."""
    if not phases:
        return "`vectorferry plan SPEC` looks at both databases; `vectorferry run SPEC` begins"
    return next((then for phase, then in _THEN.items() if phase in phases), "")


def _show_writes(tell: Teller, found: "Status") -> None:
    """Routers, and what they have written."""
    if found.members:
        tell.table("Routers", MEMBER_COLUMNS, found.members)
    if found.live:
        columns = (
            *("cohort", "dirty", "rejected", "writes open"),
            *("oldest open (s)", "left of the hold (s)", "last hold (s)"),
        )
        rows = (("-" if value is None else value for value in astuple(each)) for each in found.live)
        tell.table("Live writes", columns, rows)


def _show_work(tell: Teller, found: "Status") -> None:
    """Partitions, verdicts, reconciliations, and who did what."""
    steps = ((s.step, f"{s.done}/{s.partitions}", s.running, s.rows, s.excused) for s in found.steps)
    tell.table("Partitions", ("step", "done", "running", "rows", "excused"), steps)
    tell.table("Verdicts", ("check", "passed", "all"), found.verdicts)
    if found.reconciliations:
        runs = ((f"{began:%Y-%m-%d %H:%M}", *rest) for began, *rest in found.reconciliations)
        tell.table("Reconciliations", ("began", "scope", "outcome", "records read", "drifted"), runs)
    audit = ((f"{at:%Y-%m-%d %H:%M:%S}", who, what, detail) for at, who, what, detail in found.audit)
    tell.table("Audit", ("at", "who", "what", "detail"), audit)


def _evidence(found: "Status") -> str:
    if not found.evidence:
        return "No evidence yet."
    answers = "; ".join(f"{decision} by {who}: {reason}" for decision, who, reason in found.approvals) or "none"
    signable = "can be signed" if found.approvable else "cannot be signed"
    return f"Evidence {found.evidence[:12]} ({signable}); answers: {answers}"
