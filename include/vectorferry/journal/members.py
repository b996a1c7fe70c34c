"""Members: the routers of a migration, their leases, and the phases that they have acknowledged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.core.errors import GateError, JournalError, LeaseLost
from vectorferry.core.model import Phase
from vectorferry.journal.audit import note
from vectorferry.journal.control import ControlRow, control_rows
from vectorferry.journal.database import Database
from vectorferry.journal.tables import ahead, clock, control, intent, member, member_phase, seconds_until


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a member is in one cohort: its new operations begin in `phase`, some older ones may still be in `draining`."""

    phase: Phase
    draining: Phase | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Member:
    """A router. `lease_left` is in seconds by the journal's clock, negative once it lapsed."""

    id: str
    host: str
    pid: int
    version: str
    joined_at: datetime
    lease_left: float
    deadline: float
    cohorts: Mapping[str, Standing]

    def follows(self, row: ControlRow) -> bool:
        """Whether all that it does in a cohort, old and new, is in the phase of the cohort's row."""
        standing = self.cohorts.get(row.cohort)
        return standing is not None and standing.phase is row.phase and standing.draining is None


class Members:
    """The members of all migrations; an evicted one is no member any more.

    A member counts its lease from before it asked for it, on its own clock, so that it falls silent before the journal says so.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def join(
        self, migration: str, name: str, *, host: str, pid: int, version: str, lease: float, deadline: float
    ) -> tuple[ControlRow, ...]:
        """Become a member under a new name, in the phases of this moment, which are returned; seconds for both times.

        Who never heard the answer asks again under the same name: nothing may have begun under it. Raises JournalError where the
        migration is unknown, LeaseLost where that name was evicted meanwhile.
        """
        with self._database.transaction() as connection:
            # Whoever moves a phase locks these tables against us: it sees this member, or this member sees the new phase.
            _lock(connection)
            rows = control_rows(connection, migration)
            if not rows:
                raise JournalError(
                    f"the journal at {self._database.where} knows no migration {migration!r}: `vectorferry register SPEC` tells it"
                )
            values = {"id": name, "migration": migration, "host": host, "pid": pid, "version": version}
            new = insert(member).values(**values, lease_until=ahead(lease), deadline_seconds=deadline)
            changed = {"lease_until": new.excluded.lease_until}
            kept = new.on_conflict_do_update(
                index_elements=[member.c.id], set_=changed, where=member.c.evicted_at.is_(None)
            )
            if connection.scalar(kept.returning(member.c.id)) is None:
                raise LeaseLost(f"router {name} was evicted before it began: it must join under another name")
            for row in rows:
                connection.execute(_stand(name, row, None))
        return rows

    def renew(self, migration: str, name: str, lease: float) -> tuple[ControlRow, ...]:
        """Extend a lease, and return the control rows as they are now; raises LeaseLost. A lapsed lease cannot be renewed."""
        alive = sa.and_(member.c.id == name, member.c.evicted_at.is_(None), member.c.lease_until > clock())
        with self._database.statement() as connection:
            if connection.execute(sa.update(member).where(alive).values(lease_until=ahead(lease))).rowcount == 0:
                raise LeaseLost(f"the lease of router {name} has lapsed: it must join again")
            return control_rows(connection, migration)

    def acknowledge(self, name: str, row: ControlRow, draining: Phase | None = None) -> bool:
        """Say that new operations in a cohort begin in the phase of `row`; False, saying nothing, if the cohort has moved on since.

        `draining` is an earlier phase in which operations are still under way.
        """
        with self._database.transaction() as connection:
            _lock(connection)
            now = sa.select(control.c.epoch).where(control.c.migration == row.migration, control.c.cohort == row.cohort)
            if connection.scalar(now) != row.epoch:
                return False
            connection.execute(_stand(name, row, draining))
        return True

    def leave(self, name: str) -> None:
        """End one's own lease. Nothing may be under way: what was sent and not answered is waited for like after a death.

        Nothing untracked either: who leaves in OFF needs no person to say that it is gone.
        """
        untracked = sa.and_(member_phase.c.member == name, member_phase.c.phase == Phase.OFF)
        with self._database.transaction() as connection:
            ended = sa.func.least(member.c.lease_until, clock())
            connection.execute(sa.update(member).where(member.c.id == name).values(lease_until=ended))
            connection.execute(sa.delete(member_phase).where(untracked))

    def all(self, migration: str) -> tuple[Member, ...]:
        """The members, by name."""
        with self._database.statement() as connection:
            return tuple(members_of(connection, [migration])[migration])

    def evict_lapsed(self, migration: str, actor: str) -> tuple[str, ...]:
        """Evict every member of which nothing can land any more: its lease and D are over. Its ids stay dirty; returns the names.

        Removes intents that ended by themselves, too. Never a member that may have written untracked, in OFF: only a person can
        know that it is gone (`forget`).
        """
        untracked = sa.exists().where(
            member_phase.c.member == member.c.id,
            sa.or_(member_phase.c.phase == Phase.OFF, member_phase.c.draining == Phase.OFF),
        )
        over = sa.and_(member.c.migration == migration, member.c.evicted_at.is_(None), _landed(), ~untracked)
        with self._database.transaction() as connection:
            connection.execute(sa.delete(intent).where(intent.c.migration == migration, intent.c.closed_at < clock()))
            return _evict(connection, migration, over, actor)

    def forget(self, migration: str, name: str, actor: str) -> None:
        """Remove a member of which a person knows that it is gone. Raises GateError while its lease and D are not over."""
        one = sa.and_(member.c.migration == migration, member.c.id == name, member.c.evicted_at.is_(None))
        with self._database.transaction() as connection:
            _require_gone(migration, name, connection.scalar(sa.select(seconds_until(_silent_at())).where(one)))
            _evict(connection, migration, one, actor)

    def forgettable(self, migration: str, name: str) -> Member:
        """A member of which a person may say that it is gone. Raises GateError as `forget` would."""
        found = next((each for each in self.all(migration) if each.id == name), None)
        _require_gone(migration, name, None if found is None else found.lease_left + found.deadline)
        assert found is not None, "it is required"
        return found


def members_of(connection: sa.Connection, migrations: Sequence[str]) -> Mapping[str, list[Member]]:
    """The members of each of these migrations, by name."""
    left = seconds_until(member.c.lease_until).label("lease_left")
    query = sa.select(member, left).where(member.c.migration.in_(migrations), member.c.evicted_at.is_(None))
    rows = connection.execute(query.order_by(member.c.id)).all()
    standings = _standings(connection, [row.id for row in rows])
    found: dict[str, list[Member]] = {name: [] for name in migrations}
    for row in rows:
        found[row.migration].append(_member(row, standings.get(row.id, {})))
    return found


def _require_gone(migration: str, name: str, wait: float | None) -> None:
    """Raises GateError for a member that is not there (None), or that may write for `wait` seconds yet."""
    if wait is None:
        raise GateError(f"{migration!r} has no router {name}: `vectorferry members SPEC` lists them")
    if wait > 0:
        raise GateError(f"router {name} may still write for {wait:.0f} s: stop it, and try again then")


def _lock(connection: sa.Connection) -> None:
    connection.execute(sa.text("LOCK TABLE vectorferry.member, vectorferry.member_phase IN ROW EXCLUSIVE MODE"))


def _stand(name: str, row: ControlRow, draining: Phase | None) -> Any:
    new = insert(member_phase).values(
        member=name, cohort=row.cohort, phase=row.phase, draining=draining, epoch=row.epoch, acknowledged_at=clock()
    )
    changed = {key: new.excluded[key] for key in ("phase", "draining", "epoch", "acknowledged_at")}
    return new.on_conflict_do_update(index_elements=member_phase.primary_key, set_=changed)


def _silent_at() -> sa.ColumnElement[Any]:
    return member.c.lease_until + sa.cast(member.c.deadline_seconds * sa.literal(timedelta(seconds=1)), sa.Interval)


def _landed() -> sa.ColumnElement[bool]:
    return _silent_at() < clock()


def _evict(connection: sa.Connection, migration: str, where: sa.ColumnElement[bool], actor: str) -> tuple[str, ...]:
    gone = sa.update(member).where(where).values(evicted_at=clock(), evicted_by=actor).returning(member.c.id)
    names = tuple(sorted(connection.scalars(gone)))
    # Their ids stay dirty: what they wrote last is known by reading it.
    connection.execute(sa.delete(intent).where(intent.c.member.in_(names)))
    for name in names:
        note(connection, migration, actor, "evict", {"member": name})
    return names


def _standings(connection: sa.Connection, names: Iterable[str]) -> dict[str, dict[str, Standing]]:
    found: dict[str, dict[str, Standing]] = {}
    for row in connection.execute(sa.select(member_phase).where(member_phase.c.member.in_(list(names)))):
        draining = Phase(row.draining) if row.draining else None
        found.setdefault(row.member, {})[row.cohort] = Standing(Phase(row.phase), draining, row.epoch)
    return found


def _member(row: sa.Row[Any], cohorts: Mapping[str, Standing]) -> Member:
    return Member(row.id, row.host, row.pid, row.version, row.joined_at, row.lease_left, row.deadline_seconds, cohorts)
