"""The control rows: one phase per cohort, moved by compare-and-set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.core.errors import GateError, JournalError, NotSettled, PhaseConflict
from vectorferry.core.model import Cohort, Phase
from vectorferry.journal.audit import note
from vectorferry.journal.claims import BACKLOG, NEWEST
from vectorferry.journal.database import Database
from vectorferry.journal.tables import (
    ahead,
    audit,
    clock,
    control,
    member,
    member_phase,
    migration,
    record_state,
    seconds_until,
)

CHAIN = tuple(Phase)
HOLDS = (Phase.HOLD_A, Phase.HOLD_B)


@dataclass(frozen=True, slots=True)
class ControlRow:
    """Where a cohort stands; `epoch` grows by one with every change and is never used twice.

    It has the namespaces that one of its `patterns` matches, and that no row before it has.
    `loaded` says that the follower has had everything once, `loads` how many loads were begun, `came_from` from where a hold was entered,
    and `hold_left` how many seconds it has by the journal's clock (None outside of a hold); `phase_seconds` for how many
    seconds it has been in its phase, by the same clock.
    """

    migration: str
    cohort: str
    phase: Phase
    epoch: int
    hold_deadline: datetime | None
    changed_at: datetime
    loaded: bool = False
    loads: int = 0
    came_from: Phase | None = None
    hold_left: float | None = None
    patterns: tuple[str, ...] = ("*",)
    phase_seconds: float = field(default=0.0, compare=False)


def may_follow(old: Phase, new: Phase) -> bool:
    """Whether a phase is one step from another along the chain; DONE has no way back."""
    return old is not Phase.DONE and abs(CHAIN.index(old) - CHAIN.index(new)) == 1


class Control:
    """The control rows of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(
        self,
        migration: str,
        spec_fingerprint: str,
        cohorts: Sequence[Cohort],
        actor: str,
        *,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the migration known, its cohorts in OFF, in the order in which they are cut over; the last has every namespace left.

        Registering again is fine: a changed fingerprint is taken over, and voids the approvals given under the old one. Raises
        GateError, changing nothing, where other cohorts are given than those by which routers write already.
        """
        with self._database.transaction() as connection:
            old = _register_migration(connection, migration, spec_fingerprint, spec, actor)
            _register_cohorts(connection, migration, cohorts, actor)
            if old != spec_fingerprint:
                note(connection, migration, actor, "register", {"spec": spec_fingerprint, "before": old})

    def spec(self, migration_name: str) -> Mapping[str, Any] | None:
        """The spec that was registered, None where there is none."""
        with self._database.statement() as connection:
            query = sa.select(migration.c.spec).where(migration.c.name == migration_name)
            found: Mapping[str, Any] | None = connection.scalar(query)
        return found

    def fingerprint(self, migration_name: str) -> str:
        """The fingerprint of the spec that was registered last; raises JournalError where there is none."""
        with self._database.statement() as connection:
            query = sa.select(migration.c.spec_fingerprint).where(migration.c.name == migration_name)
            found: str | None = connection.scalar(query)
        if found is None:
            raise JournalError(
                f"the journal at {self._database.where} knows no migration {migration_name!r}: `vectorferry register SPEC` tells it"
            )
        return found

    def get(self, migration: str, cohort: str) -> ControlRow:
        """The row of one cohort; raises JournalError if it was never registered."""
        found = next((row for row in self.all(migration) if row.cohort == cohort), None)
        if found is None:
            raise JournalError(
                f"the journal at {self._database.where} knows no cohort {cohort!r} of {migration!r}: register it first"
            )
        return found

    def all(self, migration: str) -> tuple[ControlRow, ...]:
        """The rows of all cohorts, in the order in which they are cut over; empty if the migration is unknown."""
        with self._database.statement() as connection:
            return control_rows(connection, migration)

    def advance(
        self,
        row: ControlRow,
        to: Phase,
        *,
        actor: str,
        reason: str,
        hold_seconds: float | None = None,
        upto: int | None = None,
    ) -> ControlRow:
        """Move a cohort one step from where `row` saw it; returns the new row.

        `hold_seconds` sets the hold's deadline on the journal's clock; without it a hold keeps the deadline that it has. Raises
        PhaseConflict, changing nothing, if the step is not along the chain, if somebody else moved the cohort since,
        or if a member is in neither of the two phases; NotSettled if the authority would move while the follower lacks something, or
        if tracking would end while it lacks a write of a generation up to `upto`.
        """
        if not may_follow(row.phase, to):
            raise PhaseConflict(
                f"{_name(row)}: {row.phase} -> {to} is not a step along {' - '.join(CHAIN)}, or leads back from DONE"
            )
        with self._database.transaction() as connection:
            _lock_as_seen(connection, row)
            _require_members_near(connection, row, to)
            if {row.phase, to} == set(HOLDS):
                _require_settled(connection, row)
            if to is Phase.DONE:
                _require_settled_upto(connection, row, upto)
            moved = _move(connection, row, to, actor, reason, hold_seconds)
            detail = {"from": row.phase, "to": to, "reason": reason}
            note(connection, row.migration, actor, "phase", detail, cohort=row.cohort, epoch=moved.epoch)
        return moved

    def step_back(self, row: ControlRow, actor: str) -> bool:
        """End a hold whose time is over, by one step towards where it came from; False if there is nothing to do, or something in the way.

        Anybody may, routers too.
        """
        query = sa.select(sa.func.vectorferry.step_back(row.migration, row.cohort, row.epoch, actor))
        with self._database.statement() as connection:
            return bool(connection.scalar(query))

    def begin_load(self, migration: str, cohort: str) -> int:
        """Note that a load begins; returns its number. Until it is complete nothing is settled, or cleaned by a mirrored write.

        Raises PhaseConflict where a router may still write untracked, NotSettled while a settler may still write what it read before.
        """
        with self._database.transaction() as connection:
            query = sa.select(control).where(_is(migration, cohort))
            row = _control_row(connection.execute(query.add_columns(_LEFT, _AGO).with_for_update()).one())
            if row.phase is not Phase.TRACK_A:
                raise PhaseConflict(f"{_name(row)} is in {row.phase}: it is loaded in TRACK_A only")
            if row.loaded:
                return row.loads
            _require_members_in(connection, row, (Phase.TRACK_A,), f"{_name(row)} cannot be loaded")
            _require_no_claims(connection, row)
            update = sa.update(control).where(_is(migration, cohort)).values(loads=control.c.loads + 1)
            return int(connection.execute(update.returning(control.c.loads)).scalar_one())

    def mark_loaded(self, migration: str, cohort: str, loads: int | None = None) -> None:
        """Note that the whole cohort is loaded, and that no request of any load can land any more.

        `loads` is the number of the load; raises PhaseConflict if the cohort was in OFF since, or another load began.
        """
        same = sa.true() if loads is None else sa.and_(control.c.loads == loads, control.c.phase != Phase.OFF)
        with self._database.statement() as connection:
            update = sa.update(control).where(_is(migration, cohort), same).values(loaded=True)
            if not connection.execute(update).rowcount and loads is not None:
                raise PhaseConflict(f"load {loads} of cohort {cohort!r} of {migration!r} is out of date: load again")


def control_rows(connection: sa.Connection, migration: str) -> tuple[ControlRow, ...]:
    """The rows of all cohorts, in the order in which they are cut over."""
    return control_rows_of(connection, control.c.migration == migration)


def control_rows_of(connection: sa.Connection, where: sa.ColumnElement[bool]) -> tuple[ControlRow, ...]:
    """Those of several migrations, in the same order within each."""
    order = (control.c.migration, control.c.position, control.c.cohort)
    query = sa.select(control, _LEFT, _AGO).where(where).order_by(*order)
    return tuple(_control_row(row) for row in connection.execute(query))


_LEFT = seconds_until(control.c.hold_deadline).label("hold_left")
_AGO = (-seconds_until(control.c.changed_at)).label("phase_seconds")


def _is(migration: str, cohort: str) -> sa.ColumnElement[bool]:
    return sa.and_(control.c.migration == migration, control.c.cohort == cohort)


def _register_migration(
    connection: sa.Connection, name: str, fingerprint: str, spec: Mapping[str, Any] | None, actor: str
) -> str | None:
    # Inserting first makes the later read see, and lock, whichever row won.
    connection.execute(
        insert(migration)
        .values(name=name, spec_fingerprint=fingerprint, spec=spec, created_by=actor)
        .on_conflict_do_nothing()
    )
    row = sa.select(migration.c.spec_fingerprint).where(migration.c.name == name).with_for_update()
    old: str = connection.execute(row).scalar_one()
    if old != fingerprint:
        connection.execute(
            sa.update(migration).where(migration.c.name == name).values(spec_fingerprint=fingerprint, spec=spec)
        )
        return old
    new = sa.select(control.c.cohort).where(control.c.migration == name).limit(1)
    return old if connection.scalar(new) is not None else None


def _register_cohorts(connection: sa.Connection, migration: str, cohorts: Sequence[Cohort], actor: str) -> None:
    rows = control_rows(connection, migration)
    if [(row.cohort, row.patterns) for row in rows] == [(each.name, each.patterns) for each in cohorts]:
        return
    if rows:
        mine = control.c.migration == migration
        connection.execute(sa.select(control.c.cohort).where(mine).with_for_update())
        _require_unused(connection, migration, control_rows(connection, migration))
        connection.execute(sa.delete(control).where(mine))
    for position, cohort in enumerate(cohorts):
        _register_cohort(connection, migration, cohort, position, actor)


def _require_unused(connection: sa.Connection, migration: str, rows: Sequence[ControlRow]) -> None:
    # Who joins later reads the new rows.
    connection.execute(_LOCK_MEMBERS)
    members = sa.select(sa.func.count()).where(member.c.migration == migration, member.c.evicted_at.is_(None))
    joined = connection.scalar(members)
    if joined or any(row.phase is not Phase.OFF for row in rows):
        names = ", ".join(f"{row.cohort} {list(row.patterns)} in {row.phase}" for row in rows)
        raise GateError(
            f"the cohorts of {migration!r} cannot change any more: {names}, {joined} routers write by them. "
            "Restore `switch.cohorts` in the spec, or stop the routers before anything is moved"
        )


def _register_cohort(connection: sa.Connection, migration: str, cohort: Cohort, position: int, actor: str) -> None:
    used = sa.select(sa.func.max(audit.c.epoch)).where(audit.c.migration == migration, audit.c.cohort == cohort.name)
    connection.execute(
        insert(control)
        .values(
            migration=migration,
            cohort=cohort.name,
            position=position,
            patterns=cohort.patterns,
            phase=Phase.OFF,
            epoch=sa.func.coalesce(used.scalar_subquery() + 1, 0),  # one that was forgotten goes on counting
            changed_by=actor,
            reason="registered",
        )
        .on_conflict_do_nothing()
    )


def _lock_as_seen(connection: sa.Connection, row: ControlRow) -> None:
    query = sa.select(control).where(control.c.migration == row.migration, control.c.cohort == row.cohort)
    found = connection.execute(query.with_for_update()).one_or_none()
    if found is None:
        raise PhaseConflict(f"{_name(row)} is no longer in the journal: it was forgotten")
    if (found.phase, found.epoch) != (row.phase, row.epoch):
        raise PhaseConflict(
            f"{_name(row)} is no longer in {row.phase} (epoch {row.epoch}): {found.changed_by} moved it to {found.phase} "
            f"(epoch {found.epoch}) at {found.changed_at:%Y-%m-%d %H:%M:%S %Z}: {found.reason}. Read it again and decide anew"
        )


def _require_members_near(connection: sa.Connection, row: ControlRow, to: Phase) -> None:
    _require_members_in(connection, row, (row.phase, to), f"{_name(row)} cannot go {row.phase} -> {to}")


def _require_members_in(connection: sa.Connection, row: ControlRow, near: tuple[Phase, ...], refusal: str) -> None:
    # Until this commits, nobody joins or acknowledges: a member that is not seen here would read the new phase.
    connection.execute(_LOCK_MEMBERS)
    at = member_phase.c
    there = sa.and_(at.phase.in_(near), sa.or_(at.draining.is_(None), at.draining.in_(near)))
    query = (
        sa.select(member.c.id, member.c.host, at.phase, at.draining, (member.c.lease_until < clock()).label("lapsed"))
        .outerjoin_from(member, member_phase, sa.and_(at.member == member.c.id, at.cohort == row.cohort))
        .where(member.c.migration == row.migration, member.c.evicted_at.is_(None), there.is_not(True))
        .order_by(member.c.id)
    )
    far = connection.execute(query).all()
    if far:
        names = ", ".join(_member_text(each) for each in far)
        where = " or ".join(near)
        raise PhaseConflict(
            f"{refusal}: not every router is in {where}: {names}. "
            "Wait until they acknowledge, or remove the ones that are gone"
        )


def _require_no_claims(connection: sa.Connection, row: ControlRow) -> None:
    # Nobody claims while a cohort is not loaded, and a claim and this wait for each other at the control row.
    live = sa.and_(record_state.c.claim.is_not(None), record_state.c.claim_until > clock())
    query = sa.select(sa.func.count(), sa.func.max(seconds_until(record_state.c.claim_until)))
    mine = sa.and_(record_state.c.migration == row.migration, record_state.c.cohort == row.cohort)
    found, left = connection.execute(query.where(mine, live)).one()
    if found:
        raise NotSettled(
            f"{_name(row)} cannot be loaded: a settler may still write {found} records, for at most {left:.0f} s"
        )


def _require_settled(connection: sa.Connection, row: ControlRow) -> None:
    # In a hold nobody opens an intent, and who is not in a hold stopped the step above: what is settled here stays so.
    if not connection.execute(sa.select(control.c.loaded).where(_is(row.migration, row.cohort))).scalar_one():
        raise NotSettled(f"{_name(row)} is not loaded: the follower has never had everything")
    _refuse_backlog(connection, row, NEWEST, "cannot change its authority: the follower")


def _require_settled_upto(connection: sa.Connection, row: ControlRow, upto: int | None) -> None:
    # Writes go on meanwhile, and nobody goes back to the old side: it is left as it was at a moment that somebody looked at.
    _refuse_backlog(connection, row, NEWEST if upto is None else upto, "cannot be finished: the old side")


def _refuse_backlog(connection: sa.Connection, row: ControlRow, upto: int, refusal: str) -> None:
    values = {"migration": row.migration, "cohort": row.cohort, "upto": upto}
    found = connection.execute(BACKLOG, values).one()
    if found.dirty or found.open:
        raise NotSettled(
            f"{_name(row)} {refusal} may lack {found.dirty} records, and {found.open} writes may still land"
        )


_LOCK_MEMBERS = sa.text("LOCK TABLE vectorferry.member, vectorferry.member_phase IN SHARE MODE")


def _member_text(row: sa.Row[Any]) -> str:
    where = f"in {row.draining or row.phase}" if row.phase else "has acknowledged no phase"
    return f"{row.id} on {row.host} ({where}{', lease lapsed' if row.lapsed else ''})"


def _move(
    connection: sa.Connection, row: ControlRow, to: Phase, actor: str, reason: str, hold_seconds: float | None
) -> ControlRow:
    deadline = None if to not in HOLDS else control.c.hold_deadline if hold_seconds is None else ahead(hold_seconds)
    entered = control.c.came_from if row.phase in HOLDS else sa.literal(row.phase, sa.Text)
    update = (
        sa.update(control)
        .where(control.c.migration == row.migration, control.c.cohort == row.cohort)
        .where(control.c.phase == row.phase, control.c.epoch == row.epoch)
        .values(
            phase=to,
            epoch=control.c.epoch + 1,
            hold_deadline=deadline,
            came_from=entered if to in HOLDS else None,
            loaded=sa.false() if to is Phase.OFF else control.c.loaded,
            # What was opened before does not count for the next load.
            loads=control.c.loads + int(to is Phase.OFF),
            changed_at=clock(),
            changed_by=actor,
            reason=reason,
        )
        .returning(control, _LEFT, _AGO)
    )
    return _control_row(connection.execute(update).one())


def _control_row(row: sa.Row[Any]) -> ControlRow:
    return ControlRow(
        row.migration,
        row.cohort,
        Phase(row.phase),
        row.epoch,
        row.hold_deadline,
        row.changed_at,
        row.loaded,
        row.loads,
        Phase(row.came_from) if row.came_from else None,
        row.hold_left,
        tuple(row.patterns),
        row.phase_seconds,
    )


def _name(row: ControlRow) -> str:
    return f"cohort {row.cohort!r} of {row.migration!r}"
