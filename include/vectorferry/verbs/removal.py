"""Removal: what an unfinished migration left, and what retention no longer keeps, listed first and then removed."""

from collections.abc import Callable
from dataclasses import asdict

from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk

Agreed = Callable[[], bool]
"""Asked once what would be removed was listed, and only if there is any; whether to go on."""


def abandon(desk: Desk, agreed: Agreed) -> None:
    """List, then remove, what an unfinished migration left. Raises GateError from HOLD_A on."""
    with desk.session(upgrade=True) as session:
        found = pipeline.leftovers(session)
        left = [(name, value) for name, value in asdict(found).items() if value]
        desk.tell.table("Left behind", ("what", "where"), left)
        if left and not agreed():
            return
        pipeline.abandon(session)
    desk.tell.result(
        {"removed": asdict(found)},
        "removed" if left else "there was nothing to remove",
        then="`vectorferry plan SPEC` looks at both databases; `vectorferry run SPEC` begins anew",
    )


def prune(desk: Desk, agreed: Agreed) -> None:
    """List, then remove, what `backup.keep` and `backup.retention` no longer keep."""
    with desk.session(upgrade=True) as session:
        found = pipeline.prunable(session)
        desk.tell.table("No longer kept", ("what", "why"), ((each.path, each.why) for each in found))
        if found and not agreed():
            return
        removed = pipeline.prune(session, found)
    desk.tell.result(
        {"removed": [each.path for each in removed]},
        f"removed {len(removed)}" if removed else "there is nothing to remove",
    )
