"""Backlog samples: what waits to be settled in each cohort, kept over time."""

import time
from dataclasses import asdict

from vectorferry.core.model import Phase
from vectorferry.journal import Journal

EVERY_SECONDS = 10.0


def sample_backlog(journal: Journal, migration: str) -> None:
    """Keep how much is dirty, open and rejected now, of each cohort whose writes are tracked or held."""
    for row in journal.control.all(migration):
        if row.phase not in (Phase.OFF, Phase.DONE):
            found = journal.claims.backlog(migration, row.cohort)
            journal.samples.write(migration, "backlog", row.cohort, asdict(found))


class BacklogSampler:
    """Samples the backlog of one migration while its writes are followed, at most every ten seconds."""

    def __init__(self, journal: Journal, migration: str) -> None:
        self._journal = journal
        self._migration = migration
        self._due = 0.0

    def look(self) -> None:
        """Sample it, unless it was a moment ago."""
        if time.monotonic() >= self._due:
            sample_backlog(self._journal, self._migration)
            self._due = time.monotonic() + EVERY_SECONDS
