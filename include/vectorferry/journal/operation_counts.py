"""Operation counts: how many operations routers carried out in a phase, and how many of them failed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from vectorferry.core.model import Phase, Side
from vectorferry.journal.database import Database
from vectorferry.journal.shadow_reads import Latencies
from vectorferry.journal.tables import traffic

Times = Mapping[tuple[str, Side], Latencies]
"""How long a side took to answer, by kind of operation ('search', 'fetch', 'read' or 'write') and side."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one router counted in one cohort and phase: operations in all, and those that ended in an error not of the caller's making.

    `times` are of the requests that a side answered, those for shadow reads and mirrored writes included; empty where an older router told.
    """

    cohort: str
    phase: Phase
    operations: int
    failed: int
    times: Times = field(default_factory=dict)


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
                "latencies": _to_row(each.times),
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

    def times(self, migration: str, cohorts: Iterable[str], kind: str, side: Side, begin: datetime) -> Latencies:
        """How long a side took for operations of a kind, as all routers have told since a moment, of these cohorts."""
        c = traffic.c
        # Every phase by its name: the index has it before the time.
        query = sa.select(c.latencies).where(c.cohort.in_(list(cohorts)), c.phase.in_([*map(str, Phase)]))
        query = query.where(c.migration == migration, c.at > begin, c.latencies.is_not(None))
        with self._database.statement() as connection:
            rows = [row.get(kind, {}).get(side, {}) for row in connection.scalars(query)]
        return sum((Latencies({int(step): count for step, count in row.items()}) for row in rows), Latencies())


def _to_row(times: Times) -> dict[str, Any] | None:
    row: dict[str, dict[str, Any]] = {}
    for (kind, side), found in times.items():
        row.setdefault(kind, {})[side] = dict(found.counts)
    return row or None
