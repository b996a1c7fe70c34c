"""The database roles of routers and of readers: what they may write, and what they cannot."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from journal.helpers import MIGRATION, Database
from vectorferry.core.errors import JournalError
from vectorferry.journal import Journal
from vectorferry.journal.roles import ADDS, READER, READS, ROUTER, WRITES, create_roles
from vectorferry.journal.tables import metadata

TABLES = [table.name for table in metadata.sorted_tables]


@pytest.fixture
def roles(journal: Journal) -> Journal:
    create_roles(journal)
    create_roles(journal)  # again is fine
    return journal


def as_router(journal: Journal, statement: str, role: str = ROUTER) -> None:
    with journal.database.transaction() as connection:
        connection.execute(sa.text(f"SET LOCAL ROLE {role}"))
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


@pytest.mark.parametrize("table", ["alembic_version", *TABLES])
def test_a_reader_reads_everything_and_writes_nothing(roles: Journal, table: str) -> None:
    as_router(roles, f"SELECT * FROM vectorferry.{table}", READER)
    for statement in (
        "INSERT INTO vectorferry.{} DEFAULT VALUES",
        "DELETE FROM vectorferry.{}",
        "TRUNCATE vectorferry.{}",
    ):
        with pytest.raises(JournalError, match="permission denied"):
            as_router(roles, statement.format(table), READER)


def test_a_reader_calls_nothing_that_writes(roles: Journal) -> None:
    for call in ("vectorferry.step_back('m', 'all', 1, 'x')", "nextval('vectorferry.generation')"):
        with pytest.raises(JournalError, match="permission denied"):
            as_router(roles, f"SELECT {call}", READER)


ACCESS = Path(__file__).parents[2] / "docs" / "access.md"
RIGHTS = {"": set(), "r": {"SELECT"}, "a": {"INSERT"}, "rw": {"SELECT", "INSERT", "UPDATE", "DELETE"}}


def documented() -> dict[tuple[str, str], set[str]]:
    """What docs/access.md says that a role may do with a table."""
    lines = ACCESS.read_text(encoding="utf-8").splitlines()
    [first] = [number for number, line in enumerate(lines) if line.startswith("| tables | owner")]
    names = [name.strip() for name in lines[first].strip("|").split("|")][1:]
    found = {}
    for line in lines[first + 2 : lines.index("", first)]:
        tables, *cells = line.removeprefix("|").removesuffix("|").split("|")
        for table in re.findall(r"`(\w+)`", tables):
            for role, cell in zip(names, cells, strict=True):
                assert (table, role) not in found, f"{table} is there twice"
                found[table, role] = RIGHTS[cell.strip()]
    return found


def test_the_documented_rights_are_those_of_every_table(roles: Journal) -> None:
    told = documented()
    assert {table for table, _ in told} == {"alembic_version", *TABLES}
    with roles.database.statement() as connection:
        held = {
            (table, role): {
                right
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
                if connection.execute(
                    sa.text("SELECT has_table_privilege(:role, :table, :right)"),
                    {"role": role, "table": f"vectorferry.{table}", "right": right},
                ).scalar_one()
            }
            for table, role in told
            if role != "owner"
        }
        owner = connection.execute(
            sa.text("SELECT bool_and(tableowner = current_user) FROM pg_tables WHERE schemaname = 'vectorferry'")
        ).scalar_one()
    assert owner
    assert held == {place: rights for place, rights in told.items() if place[1] != "owner"}
    assert {rights == RIGHTS["rw"] for (_, role), rights in told.items() if role == "owner"} == {True}
