"""Samples: figures of a migration over time, such as latency and backlog, kept for 90 days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from vectorferry.journal.database import Database
from vectorferry.journal.tables import clock, sample

KEPT = timedelta(days=90)

Kind = Literal["latency", "backlog"]
"""`latency`, by side: p50_ms, p95_ms, p99_ms, max_ms, queries, from ('probe' or 'routers').

`backlog`, by cohort: dirty, open, rejected, oldest_open (seconds).
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures of one scope (a side, a cohort) as they were at a moment of the journal's clock."""

    kind: Kind
    scope: str
    at: datetime
    figures: Mapping[str, Any]


class Samples:
    """The samples of all migrations. Rows are added and never changed, and go once they are older than `KEPT`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, migration: str, kind: Kind, scope: str, figures: Mapping[str, Any]) -> None:
        """Add one, of now; what is too old of this kind goes."""
        c = sample.c
        with self._database.transaction() as connection:
            connection.execute(
                sa.insert(sample).values(migration=migration, kind=kind, scope=scope, figures=dict(figures))
            )
            old = (c.migration == migration, c.kind == kind, c.at < clock() - KEPT)
            connection.execute(sa.delete(sample).where(*old))

    def of(
        self, migration: str, kind: Kind, since: datetime | None = None, scope: str | None = None
    ) -> tuple[Sample, ...]:
        """Those of a kind, oldest first: all, or those at a moment or later, or those of one scope."""
        c = sample.c
        query = sa.select(c.kind, c.scope, c.at, c.figures).where(c.migration == migration, c.kind == kind)
        query = query if since is None else query.where(c.at >= since)
        query = query if scope is None else query.where(c.scope == scope)
        with self._database.statement() as connection:
            return tuple(Sample(*row) for row in connection.execute(query.order_by(c.at, c.id)))

    def thinned(self, migration: str, kind: Kind, since: datetime, most: int) -> tuple[Sample, ...]:
        """Those since a moment, oldest first: of each scope at most so many, every n-th of them, and always the newest."""
        c = sample.c
        place = sa.func.row_number().over(partition_by=c.scope, order_by=(c.at.desc(), c.id.desc())) - 1
        every = sa.func.count().over(partition_by=c.scope)
        query = sa.select(c.id, c.kind, c.scope, c.at, c.figures, place.label("place"), every.label("every"))
        each = query.where(c.migration == migration, c.kind == kind, c.at >= since).subquery().c
        step = (each.every + most - 1) / most
        kept = sa.select(each.kind, each.scope, each.at, each.figures).where(
            each.place % sa.cast(sa.func.floor(step), sa.BigInteger) == 0
        )
        with self._database.statement() as connection:
            return tuple(Sample(*row) for row in connection.execute(kept.order_by(each.at, each.id)))
