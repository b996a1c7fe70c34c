"""Usage of runs: what all sessions of a run have cost together."""

from dataclasses import asdict, fields

import sqlalchemy as sa

from vectorferry.core.model import Usage
from vectorferry.journal.database import Database
from vectorferry.journal.tables import usage


class RunUsage:
    """The usage of all runs; rows are added and never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, migration: str, run_id: str, used: Usage) -> None:
        """Keep what one session has used; a session that used nothing leaves no row."""
        if used.requests:
            with self._database.statement() as connection:
                connection.execute(sa.insert(usage).values(migration=migration, run_id=run_id, **asdict(used)))

    def of_run(self, migration: str, run_id: str) -> Usage:
        """The sum over all sessions that have ended; one that was killed is not in it."""
        names = [field.name for field in fields(Usage)]
        sums = [sa.func.coalesce(sa.func.sum(usage.c[name]), 0) for name in names]
        query = sa.select(*sums).where(usage.c.migration == migration, usage.c.run_id == run_id)
        with self._database.statement() as connection:
            row = connection.execute(query).one()
        return Usage(*(int(value) for value in row[:3]), *(float(value) for value in row[3:]))
