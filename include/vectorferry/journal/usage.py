"""Usage of runs: what all sessions of a run have cost together."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from threading import Event, Lock, Thread

import sqlalchemy as sa

from vectorferry.core.errors import JournalError
from vectorferry.core.model import Usage
from vectorferry.journal.database import Database
from vectorferry.journal.tables import usage

KEEP_SECONDS = 10.0
log = logging.getLogger(__name__)


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
        """The sum over all sessions; of one that was killed what it used until some seconds before."""
        names = [field.name for field in fields(Usage)]
        sums = [sa.func.coalesce(sa.func.sum(usage.c[name]), 0) for name in names]
        query = sa.select(*sums).where(usage.c.migration == migration, usage.c.run_id == run_id)
        with self._database.statement() as connection:
            row = connection.execute(query).one()
        return Usage(*(int(value) for value in row[:3]), *(float(value) for value in row[3:]))


class Spending:
    """What one session uses, kept in the journal while it goes on: a session that is killed has told nearly all of it by then."""

    def __init__(self, usages: RunUsage, migration: str, run_id: str, used: Callable[[], Usage]) -> None:
        self._usages, self._migration, self._run_id, self._used = usages, migration, run_id, used
        self._lock = Lock()
        self._kept = Usage()

    def keep(self) -> None:
        """Keep what came since the last time. Raises JournalError, with nothing counted as kept."""
        with self._lock:
            now = self._used()
            new = now - self._kept
            if new.requests:
                self._usages.add(self._migration, self._run_id, new)
                self._kept = now

    @property
    def unkept(self) -> Usage:
        """What is not in the journal yet."""
        with self._lock:
            return self._used() - self._kept

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep it every few seconds during the block, and at its end."""
        ended = Event()
        thread = Thread(target=self._keep_until, args=(ended,), name="usage", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._try()

    def _keep_until(self, ended: Event) -> None:
        while not ended.wait(KEEP_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.keep()
        except JournalError:
            # A journal that is away ends the session with an error of its own, which this must not hide: only a figure says less.
            log.warning("what this session used could not be kept: %s", self.unkept)
