"""Members: makes a migration known, lists its routers, and forgets one that is known to be gone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk, Teller

if TYPE_CHECKING:
    from vectorferry.journal import Member

MEMBER_COLUMNS = ("id", "host", "phase", "draining", "lease left (s)", "version")
_NAMES = ("id", "host", "phase", "draining", "lease_left", "version")


def register(desk: Desk) -> None:
    """Make the migration known to the journal, so that routers can join before anything is moved."""
    spec = desk.spec
    with desk.journal(upgrade=True) as journal:
        pipeline.register(journal, spec, desk.actor)
        phases = {row.cohort: str(row.phase) for row in journal.control.all(spec.migration)}
    then = (
        "start your applications' routers; `vectorferry members SPEC` shows who has joined"
        if spec.routers
        else "`vectorferry plan SPEC` looks at both databases"
    )
    value = {"migration": spec.migration, "expected_routers": spec.routers, "phases": phases}
    desk.tell.result(value, f"{spec.migration} is registered; it expects {spec.routers} routers", then=then)


def members(desk: Desk, forget: str = "") -> None:
    """List the routers, after removing the one that is to be forgotten. Raises GateError where it may still write."""
    spec = desk.spec
    with desk.journal() as journal:
        if forget:
            journal.members.forget(spec.migration, forget, desk.actor)
        _show(desk.tell, journal.members.all(spec.migration), spec.routers)


def _show(tell: Teller, found: "Sequence[Member]", expected: int) -> None:
    then = "`vectorferry run SPEC`" + (
        " waits for all that are expected" if expected else ": nobody has to join, the spec says `writers: none`"
    )
    if len(found) < expected:
        then = "start the routers that are missing: `Router(migration, journal)` in each process that writes (docs/applications.md)"
    rows = [pipeline.member_row(member) for member in found]
    tell.table("Routers", MEMBER_COLUMNS, rows)
    tell.result(
        [dict(zip(_NAMES, row, strict=True)) for row in rows], f"{len(found)} routers of {expected} expected", then=then
    )
