"""Members of a migration: its live routers, and the wait for those that are expected."""

import time

from vectorferry.core.errors import GateError
from vectorferry.engine.session import Session, StepProgress
from vectorferry.journal import Journal, Member

# What changes here is in other processes: routers that join and acknowledge.
POLL_SECONDS = 0.2


def live_members(journal: Journal, migration: str, actor: str) -> tuple[Member, ...]:
    """The members, without those of which nothing can land any more: these are evicted."""
    journal.members.evict_lapsed(migration, actor)
    return journal.members.all(migration)


def await_expected(session: Session) -> None:
    """Wait until the expected routers have joined and follow every cohort; raises GateError naming who is missing."""
    expected, limit = session.spec.routers, session.spec.switch.wait_for_routers.total_seconds()
    end = time.monotonic() + limit
    while True:
        members = live_members(session.journal, session.migration, session.actor)
        rows = session.journal.control.all(session.migration)
        far = [member for member in members if not all(member.follows(row) for row in rows)]
        ready = sum(member not in far and member.lease_left > 0 for member in members)
        if not far and ready >= expected:
            return
        if time.monotonic() >= end:
            raise GateError(_missing(session, ready, far, limit))
        session.report(
            StepProgress("routers", session.migration, ready, expected, f"{len(far)} have not followed" if far else "")
        )
        time.sleep(POLL_SECONDS)


def _missing(session: Session, ready: int, far: list[Member], limit: float) -> str:
    lines = [f"{ready} of {session.spec.routers} expected routers follow after {limit:g} s"]
    if ready < session.spec.routers:
        lines.append(
            f"{session.spec.routers - ready} have not joined: start the applications, or lower writers.expected"
        )
    if far:
        names = ", ".join(f"{member.id} on {member.host}" for member in far)
        lines.append(f"not followed: {names}; stop those that are gone and `vectorferry members SPEC --forget ID`")
    return "; ".join(lines)
