"""Journal: one object with an attribute for each concern."""

from types import TracebackType
from typing import Self

import sqlalchemy as sa

from vectorferry.journal import schema
from vectorferry.journal.approvals import Approvals
from vectorferry.journal.attempts import Attempts
from vectorferry.journal.audit import Audit
from vectorferry.journal.claims import Claims
from vectorferry.journal.control import Control
from vectorferry.journal.database import Database
from vectorferry.journal.evidence import EvidenceStore
from vectorferry.journal.forget import forget
from vectorferry.journal.intents import Intents
from vectorferry.journal.many import Many
from vectorferry.journal.marker import Marker
from vectorferry.journal.members import Members
from vectorferry.journal.operation_counts import OperationCounts
from vectorferry.journal.plans import Plans
from vectorferry.journal.reconciliations import Reconciliations
from vectorferry.journal.record_states import RecordStates
from vectorferry.journal.samples import Samples
from vectorferry.journal.shadow_reads import Shadows
from vectorferry.journal.tables import journal_meta
from vectorferry.journal.usage import RunUsage
from vectorferry.spec.connections import Connection


class Journal:
    """The control database of migrations. Thread-safe; usable after a fork."""

    def __init__(self, database: Database, id: str) -> None:  # noqa: A002 (its own name)
        self.database = database
        self.id = id
        self.control = Control(database)
        self.plans = Plans(database)
        self.attempts = Attempts(database)
        self.evidence = EvidenceStore(database)
        self.approvals = Approvals(database)
        self.records = RecordStates(database)
        self.members = Members(database)
        self.intents = Intents(database)
        self.claims = Claims(database)
        self.shadows = Shadows(database)
        self.audit = Audit(database)
        self.traffic = OperationCounts(database)
        self.reconciliations = Reconciliations(database)
        self.samples = Samples(database)
        self.usage = RunUsage(database)
        self.many = Many(database)

    def forget(self, migration: str, *, actor: str = "journal") -> None:
        """Delete all rows of a migration but its audit; raises GateError from HOLD_A on or while it has live routers."""
        forget(self.database, migration, actor)

    def epoch(self, migration: str) -> int:
        """The sum of its cohorts' epochs: grows with every change of a phase."""
        return sum(row.epoch for row in self.control.all(migration))

    def marker(self, migration: str) -> Marker:
        """What a target is to remember of this journal now."""
        return Marker(self.id, self.epoch(migration), self.records.watermark())

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_journal(connection: Connection, *, upgrade: bool = False) -> Journal:
    """Open the journal in a PostgreSQL database; `upgrade` makes its tables, or brings them up to date.

    Raises JournalUnavailable if it cannot be reached, JournalError if its schema is of another revision.
    """
    database = Database(connection)
    try:
        schema.require(database, upgrade=upgrade)
        with database.statement() as statement:
            return Journal(database, str(statement.execute(sa.select(journal_meta.c.id)).scalar_one()))
    except BaseException:
        database.close()
        raise
