"""Plans: a migration's partitions, fixed once and bound to the spec's fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from vectorferry.core.errors import GateError, JournalError, PlanMismatch
from vectorferry.core.model import KeyOrder, KeyRange, Partition
from vectorferry.journal.audit import note
from vectorferry.journal.database import Database
from vectorferry.journal.tables import attempt, clock, migration, partition, plan, progress, step_done

REPLANNED = "replan"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a migration is cut. `listing` says where the ids that it was made from lie; `created_at` is set by the journal."""

    id: str
    migration: str
    fingerprint: str
    key_order: KeyOrder
    listing: str
    created_at: datetime | None = None
    partitions: tuple[Partition, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def partition(self, name: str) -> Partition:
        """The partition of that name; raises PlanMismatch if there is none."""
        found = next((each for each in self.partitions if each.name == name), None)
        if found is None:
            raise PlanMismatch(f"plan {self.id} of {self.migration!r} has no partition {name!r}")
        return found


class Plans:
    """The plans of all migrations; one live plan a migration, the others retired."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, new: Plan) -> Plan:
        """Keep a plan; returns the live plan of that fingerprint, which is an earlier one if there was one already.

        Raises PlanMismatch if the live plan has another fingerprint, or if this plan was retired.
        """
        with self._database.transaction() as connection:
            _lock_migration(connection, new.migration)
            live = _live(connection, new.migration)
            if live is not None:
                return _require_same(live, new.fingerprint)
            _insert(connection, new)
            saved = _live(connection, new.migration)
        assert saved is not None
        return saved

    def current(self, migration: str) -> Plan | None:
        """The live plan, None where there is none."""
        with self._database.statement() as connection:
            return _live(connection, migration)

    def get(self, plan_id: str) -> Plan | None:
        """The plan of that id, retired or not; None where there is none."""
        with self._database.statement() as connection:
            return _read(connection, sa.select(plan).where(plan.c.id == plan_id))

    def require(self, migration: str, fingerprint: str) -> Plan:
        """The live plan; raises PlanMismatch if there is none or if it was made from another spec."""
        live = self.current(migration)
        if live is None:
            raise PlanMismatch(f"{migration!r} has no plan in the journal at {self._database.where}: make one first")
        return _require_same(live, fingerprint)

    def replace(self, old: Plan, new: Plan, actor: str) -> Plan:
        """Keep another plan in the place of the live one under which nothing was exported, audited; returns it.

        Raises PlanMismatch if `old` is not live, and GateError if a step of a partition was recorded under it, or is at work now.
        """
        with self._database.transaction() as connection:
            _lock_migration(connection, new.migration)
            # Whoever begins an attempt meanwhile waits for this, and then finds the plan retired.
            here = sa.select(plan.c.id).where(plan.c.id == old.id, plan.c.retired_at.is_(None)).with_for_update()
            if connection.scalar(here) is None:
                raise PlanMismatch(f"plan {old.id} of {old.migration!r} is no longer in force: look again")
            if (busy := connection.scalar(_worked_on(old.id))) is not None:
                raise GateError(
                    f"plan {old.id} of {old.migration!r} can no longer be cut anew: partition {busy} was exported, or is being. "
                    "Go on with it, or abandon the migration (`vectorferry abandon SPEC`)"
                )
            connection.execute(sa.update(plan).where(plan.c.id == old.id).values(retired_at=clock()))
            _insert(connection, new)
            detail = {"from": old.id, "to": new.id, "partitions": [len(old.partitions), len(new.partitions)]}
            note(connection, new.migration, actor, REPLANNED, detail)
            saved = _live(connection, new.migration)
        assert saved is not None
        return saved

    def retire(self, migration: str) -> None:
        """End the live plan, if there is one: no attempt can begin on it any more."""
        live = sa.and_(plan.c.migration == migration, plan.c.retired_at.is_(None))
        with self._database.statement() as connection:
            connection.execute(sa.update(plan).where(live).values(retired_at=clock()))


def _worked_on(plan_id: str) -> sa.CompoundSelect[str]:
    """A partition of which something is recorded, or that a worker has a lease on."""
    recorded = (sa.select(table.c.partition).where(table.c.plan_id == plan_id) for table in (progress, step_done))
    held = sa.select(attempt.c.partition).where(
        attempt.c.plan_id == plan_id, attempt.c.finished_at.is_(None), attempt.c.lease_until > clock()
    )
    return sa.union_all(*recorded, held).limit(1)


def _require_same(live: Plan, fingerprint: str) -> Plan:
    if live.fingerprint != fingerprint:
        raise PlanMismatch(
            f"the plan of {live.migration!r} was made from spec {live.fingerprint}, the spec is now {fingerprint}: "
            f"restore the spec, cut the plan anew where only `partitions` changed and nothing was exported (`vectorferry replan SPEC`), "
            f"or abandon the migration (`vectorferry abandon`) and start again"
        )
    return live


def _lock_migration(connection: sa.Connection, name: str) -> None:
    row = sa.select(migration.c.name).where(migration.c.name == name).with_for_update()
    if connection.scalar(row) is None:
        raise JournalError(f"the journal knows no migration {name!r}: register it first")


def _live(connection: sa.Connection, name: str) -> Plan | None:
    return _read(connection, sa.select(plan).where(plan.c.migration == name, plan.c.retired_at.is_(None)))


def _read(connection: sa.Connection, query: sa.Select[Any]) -> Plan | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else _plan_row(row, _partitions(connection, row.id))


def _partitions(connection: sa.Connection, plan_id: str) -> tuple[Partition, ...]:
    query = sa.select(partition).where(partition.c.plan_id == plan_id).order_by(partition.c.index)
    return tuple(
        Partition(row["name"], row["index"], tuple(KeyRange(*each) for each in row["ranges"]), row["cohort"])
        for row in connection.execute(query).mappings()
    )


def _plan_row(row: sa.Row[Any], partitions: tuple[Partition, ...]) -> Plan:
    order = KeyOrder(row.key_order)
    return Plan(row.id, row.migration, row.fingerprint, order, row.listing, row.created_at, partitions, row.details)


def _insert(connection: sa.Connection, new: Plan) -> None:
    if connection.scalar(sa.select(plan.c.id).where(plan.c.id == new.id)) is not None:
        raise PlanMismatch(f"plan {new.id} of {new.migration!r} was retired: make a new one")
    connection.execute(
        sa.insert(plan).values(
            id=new.id,
            migration=new.migration,
            fingerprint=new.fingerprint,
            key_order=new.key_order,
            listing=new.listing,
            details=dict(new.details),
        )
    )
    if new.partitions:
        connection.execute(sa.insert(partition), [_partition_values(new.id, each) for each in new.partitions])


def _partition_values(plan_id: str, each: Partition) -> dict[str, Any]:
    ranges = [[r.namespace, r.start, r.end, r.rows] for r in each.ranges]
    return {"plan_id": plan_id, "name": each.name, "index": each.index, "cohort": each.cohort, "ranges": ranges}
