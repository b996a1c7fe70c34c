"""Operation counts: how many operations routers carried out in a phase, and how many of them failed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from vectorferry.core.model import Phase
from vectorferry.journal.database import Database
from vectorferry.journal.tables import traffic


@dataclass(frozen=True, slots=True)
class Counted:
    """What one router counted in one cohort and phase: operations in all, and those that ended in an error not of the caller's making."""

    cohort: str
    phase: Phase
    operations: int
    failed: int


class OperationCounts:
    """The operations of all migrations. Rows are added and never changed, as a router's role allows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, migration: str, member: str, counted: Iterable[Counted]) -> None:
        """Keep what a router has counted since it told last."""
        rows = [
            {
                "migration": migration,
                "member": member,
                "cohort": each.cohort,
                "phase": each.phase,
                "operations": each.operations,
                "failed": each.failed,
            }
            for each in counted
        ]
        if rows:
            with self._database.statement() as connection:
                # Inline: to return the rows' numbers needs the right to read the table, which a router has not.
                connection.execute(sa.insert(traffic).inline(), rows)

    def since(self, migration: str, cohort: str, phase: Phase, begin: datetime) -> Counted:
        """What all routers have told since a moment of one cohort in one phase."""
        c = traffic.c
        sums = (sa.func.coalesce(sa.func.sum(c.operations), 0), sa.func.coalesce(sa.func.sum(c.failed), 0))
        query = sa.select(*sums).where(c.migration == migration, c.cohort == cohort, c.phase == phase, c.at >= begin)
        with self._database.statement() as connection:
            operations, failed = connection.execute(query).one()
        return Counted(cohort, phase, int(operations), int(failed))
