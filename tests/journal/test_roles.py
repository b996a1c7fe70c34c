"""The routers' database role: what it may write, and what it cannot."""

import pytest
import sqlalchemy as sa

from journal.helpers import MIGRATION, Database
from vectorferry.core.errors import JournalError
from vectorferry.journal import Journal
from vectorferry.journal.roles import ADDS, READS, ROUTER, WRITES, create_roles
from vectorferry.journal.tables import metadata

TABLES = [table.name for table in metadata.sorted_tables]


@pytest.fixture
def roles(journal: Journal) -> Journal:
    create_roles(journal)
    create_roles(journal)  # again is fine
    return journal


def as_router(journal: Journal, statement: str) -> None:
    with journal.database.transaction() as connection:
        connection.execute(sa.text(f"SET LOCAL ROLE {ROUTER}"))
        connection.execute(sa.text(statement))


@pytest.mark.parametrize("table", [name for name in TABLES if name not in (*WRITES, *ADDS)])
@pytest.mark.parametrize(
    "statement", ["INSERT INTO vectorferry.{} DEFAULT VALUES", "DELETE FROM vectorferry.{}", "TRUNCATE vectorferry.{}"]
)
def test_a_router_cannot_write(roles: Journal, table: str, statement: str) -> None:
    with pytest.raises(JournalError, match="permission denied"):
        as_router(roles, statement.format(table))


@pytest.mark.parametrize(
    "change",
    [
        "control SET phase = 'DONE'",
        "evidence SET approvable = true",
        "approval SET decision = 'approve'",
        "plan SET retired_at = NULL",
        "audit SET actor = 'x'",
    ],
)
def test_a_router_cannot_change(roles: Journal, change: str) -> None:
    with pytest.raises(JournalError, match="permission denied"):
        as_router(roles, f"UPDATE vectorferry.{change}")


@pytest.mark.parametrize("table", ["approval", "evidence", "verdict", "audit"])
def test_a_router_does_not_read_what_it_does_not_need(roles: Journal, table: str) -> None:
    with pytest.raises(JournalError, match="permission denied"):
        as_router(roles, f"SELECT * FROM vectorferry.{table}")


def test_a_router_can_do_its_work(roles: Journal, behind: Database) -> None:
    for table in READS:
        as_router(roles, f"SELECT * FROM vectorferry.{table}")
    as_router(
        roles,
        "INSERT INTO vectorferry.member (id, migration, host, pid, version, deadline_seconds) "
        f"VALUES ('r', '{MIGRATION}', 'h', 1, '0', 1)",
    )
    as_router(
        roles,
        "INSERT INTO vectorferry.record_state (migration, namespace, id, generation, dirty) "
        f"VALUES ('{MIGRATION}', '', 'x', nextval('vectorferry.generation'), true)",
    )
    as_router(roles, "UPDATE vectorferry.member SET lease_until = clock_timestamp()")
    as_router(roles, "DELETE FROM vectorferry.intent")


@pytest.mark.parametrize("table", ADDS)
@pytest.mark.parametrize("statement", ["UPDATE vectorferry.{} SET migration = ''", "DELETE FROM vectorferry.{}"])
def test_a_router_only_adds(roles: Journal, table: str, statement: str) -> None:
    with pytest.raises(JournalError, match="permission denied"):
        as_router(roles, statement.format(table))
