"""Values and a back door that the tests of the journal share."""

import sqlalchemy as sa

from vectorferry.core.model import KeyOrder, KeyRange, Partition, Phase
from vectorferry.journal import Evidence, Journal, Plan
from vectorferry.journal.tables import metadata
from vectorferry.spec.connections import Connection

MIGRATION = "docs"
SPEC = "spec-1"


def connection_of(url: str) -> Connection:
    parts = sa.make_url(url)
    return Connection(
        "journal",
        "postgres",
        parts.host or "",
        parts.port,
        parts.username or "",
        str(parts.password),
        parts.database or "",
    )


def make_plan(name: str = "plan-1", fingerprint: str = SPEC, partitions: int = 2) -> Plan:
    ranges = [Partition(f"p{n}", n, (KeyRange("ns", f"k{n}", f"k{n + 1}", 10),)) for n in range(partitions)]
    return Plan(name, MIGRATION, fingerprint, KeyOrder.ID, "listing.parquet", None, tuple(ranges), {"dimension": 4})


def make_evidence(digest: str = "e" * 32, **changes: object) -> Evidence:
    values = {
        "hash": digest,
        "migration": MIGRATION,
        "plan_id": "plan-1",
        "run_id": "run-1",
        "spec_fingerprint": SPEC,
        "watermark": 0,
        "kind": "cutover",
        "body": {"verdicts": 3},
        "approvable": True,
    }
    return Evidence(**{**values, **changes})  # type: ignore[arg-type]


def empty(journal: Journal) -> None:
    """Delete everything but the journal's id, past triggers and foreign keys."""
    tables = [table for table in metadata.sorted_tables if table.name != "journal_meta"]
    with journal.database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text("ALTER SEQUENCE vectorferry.generation RESTART"))
        connection.exec_driver_sql("; ".join(f"DELETE FROM {table}" for table in tables))


class Database:
    """What the tests do behind the journal's back."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def run(self, statement: str, **values: object) -> sa.CursorResult[object]:
        with self._journal.database.statement() as connection:
            return connection.execute(sa.text(statement), values)

    def age(self, table: str, seconds: float, column: str = "created_at") -> None:
        """Make all rows of an append-only table older."""
        with self._journal.database.transaction() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(
                sa.text(f"UPDATE vectorferry.{table} SET {column} = {column} - :s * interval '1 s'"), {"s": seconds}
            )

    def join(self, member: str, phase: Phase | None, draining: Phase | None = None, cohort: str = "all") -> None:
        self.run(
            "INSERT INTO vectorferry.member (id, migration, host, pid, version, deadline_seconds) "
            "VALUES (:id, :migration, 'host', 1, '0', 1) ON CONFLICT DO NOTHING",
            id=member,
            migration=MIGRATION,
        )
        if phase is not None:
            self.acknowledge(member, phase, draining, cohort)

    def acknowledge(self, member: str, phase: Phase, draining: Phase | None = None, cohort: str = "all") -> None:
        self.run(
            "INSERT INTO vectorferry.member_phase (member, cohort, phase, draining, epoch) "
            "VALUES (:member, :cohort, :phase, :draining, 0) "
            "ON CONFLICT (member, cohort) DO UPDATE SET phase = excluded.phase, draining = excluded.draining",
            member=member,
            cohort=cohort,
            phase=phase,
            draining=draining,
        )

    def evict(self, member: str) -> None:
        self.run("UPDATE vectorferry.member SET evicted_at = clock_timestamp() WHERE id = :id", id=member)
