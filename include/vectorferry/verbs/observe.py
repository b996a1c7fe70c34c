"""Observe: what applications ask of their collection, and what of it a target cannot serve."""

from pathlib import Path

from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk


def observe(desk: Desk, file: Path) -> bool:
    """Whether the target can serve all that was observed. Raises SpecError where it is no file of observations."""
    with desk.store("target") as target:
        uses = pipeline.observed_uses(file, desk.spec, target.capabilities)
    rows = [(use.kind, use.name or "(default)", use.count, use.problem or "yes") for use in uses]
    desk.tell.table("Observed", ("what", "which", "times", "served"), rows)
    lacking = sum(bool(use.problem) for use in uses)
    then = (
        "change what cannot be served in your application, or choose another target"
        if lacking
        else "`vectorferry plan SPEC`"
    )
    desk.tell.result(uses, f"{len(uses)} uses, {lacking} of them cannot be served", then=then)
    return not lacking
