"""Members of a migration: its live routers, and those that are expected and not there."""

from dataclasses import dataclass

from vectorferry.core.errors import GateError
from vectorferry.engine.session import Session, StepProgress
from vectorferry.journal import Journal, Member

# What changes here is in other processes: routers that join and acknowledge.
POLL_SECONDS = 0.2


def live_members(journal: Journal, migration: str, actor: str) -> tuple[Member, ...]:
    """The members, without those of which nothing can land any more: these are evicted."""
    journal.members.evict_lapsed(migration, actor)
    return journal.members.all(migration)


def routers_missing(session: Session, waited: float) -> StepProgress | None:
    """How many of the expected routers follow every cohort, None once all do.

    Raises GateError naming who is missing after `switch.wait_for_routers`.
    """
    found = _Joined.of(session)
    if found.complete:
        return None
    limit = session.spec.switch.wait_for_routers.total_seconds()
    if waited >= limit:
        raise GateError(f"{found} after {limit:g} s; {found.way_out}")
    far = f"{len(found.far)} have not followed" if found.far else ""
    return StepProgress("routers", session.migration, found.ready, found.expected, far, unit="routers")


def require_routers(session: Session) -> None:
    """Raise GateError where not all expected routers follow: what the others write is tracked by nobody."""
    found = _Joined.of(session)
    if not found.complete:
        raise GateError(f"{found}, so the source cannot be read yet; {found.way_out}; then wait for routers once more")


@dataclass(frozen=True, slots=True)
class _Joined:
    """Of the expected routers how many are `ready`, and the members that are `far` behind."""

    expected: int
    ready: int
    far: tuple[Member, ...]

    @classmethod
    def of(cls, session: Session) -> "_Joined":
        members = live_members(session.journal, session.migration, session.actor)
        rows = session.journal.control.all(session.migration)
        far = tuple(member for member in members if not all(member.follows(row) for row in rows))
        ready = sum(member not in far and member.lease_left > 0 for member in members)
        return cls(session.spec.routers, ready, far)

    @property
    def complete(self) -> bool:
        return not self.far and self.ready >= self.expected

    def __str__(self) -> str:
        return f"{self.ready} of {self.expected} expected routers follow"

    @property
    def way_out(self) -> str:
        """What to do about those who are missing."""
        lines = []
        if self.ready < self.expected:
            missing = self.expected - self.ready
            lines.append(f"{missing} have not joined: start the applications, or lower writers.expected")
        if self.far:
            names = ", ".join(f"{member.id} on {member.host}" for member in self.far)
            lines.append(f"not followed: {names}; stop those that are gone and `vectorferry members SPEC --forget ID`")
        return "; ".join(lines)
