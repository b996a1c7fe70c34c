"""Opening: the schema is the one that the code describes, others are refused, and outages are named."""

import inspect
import os
import re
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from vectorferry.core.errors import ConnectionMissing, JournalError, JournalRefused, JournalUnavailable
from vectorferry.core.model import Cohort
from vectorferry.journal import Journal, open_journal, schema
from vectorferry.journal.schema import REVISION
from vectorferry.journal.tables import SCHEMA, metadata
from vectorferry.local.servers.ports import free_port
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection


def test_the_migrations_make_the_tables_that_the_code_describes(journal: Journal) -> None:
    def ours(name: str | None, kind: str, parents: object) -> bool:
        return name == SCHEMA if kind == "schema" else name != "alembic_version"

    options = {"include_schemas": True, "include_name": ours, "compare_server_default": False}
    with journal.database.transaction() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    assert found == []


def test_the_code_names_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(schema._config()).get_current_head() == schema.REVISION


def test_a_migration_only_adds_or_loosens() -> None:
    """Routers and tasks of the version before go on while the journal is brought to the next one."""
    taken = re.compile(
        r"DROP (TABLE|COLUMN|SEQUENCE|FUNCTION)|RENAME|SET NOT NULL|\bTYPE\b|drop_column|drop_table|alter_column",
        re.IGNORECASE,
    )
    for each in ScriptDirectory.from_config(schema._config()).walk_revisions():
        assert not taken.search(inspect.getsource(each.module)), each.revision


def test_a_database_without_a_journal_is_refused(connection: Connection) -> None:
    with pytest.raises(JournalError, match=r"there is no journal yet.*upgrade=True"):
        open_journal(connection)


def test_upgrading_twice_keeps_the_journal(connection: Connection) -> None:
    with open_journal(connection, upgrade=True) as first, open_journal(connection, upgrade=True) as second:
        assert first.id == second.id
        assert len(first.id) == 36


def test_many_upgrades_at_once_make_one_journal(connection: Connection) -> None:
    ids: list[str] = []

    def run() -> None:
        with open_journal(connection, upgrade=True) as journal:
            ids.append(journal.id)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1


@pytest.mark.parametrize("upgrade", [False, True])
def test_another_revision_is_refused(connection: Connection, upgrade: bool) -> None:
    with open_journal(connection, upgrade=True) as journal, journal.database.statement() as statement:
        statement.execute(sa.text("UPDATE vectorferry.alembic_version SET version_num = '9999'"))
    with pytest.raises(JournalError, match=f"revision 9999, this version of vectorferry needs {REVISION}"):
        open_journal(connection, upgrade=upgrade)


def test_a_journal_that_is_down_is_named_without_its_password() -> None:
    away = Connection("control_db", "postgres", "127.0.0.1", free_port(0), "u", "s3cret", "j")
    with pytest.raises(JournalUnavailable) as caught:
        open_journal(away)
    assert f"127.0.0.1:{away.port}/j" in str(caught.value)
    assert "control_db" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_is_not_shown(postgres: Postgres) -> None:
    wrong = Connection("journal", "postgres", postgres.host, postgres.port, postgres.user, "not-it", "postgres")
    with pytest.raises(JournalRefused, match="password authentication failed") as caught:
        open_journal(wrong)
    assert "not-it" not in str(caught.value)


def test_another_database_product_is_refused(connection: Connection) -> None:
    with pytest.raises(ConnectionMissing, match="the journal is PostgreSQL"):
        open_journal(replace(connection, type="weaviate"))


def test_a_journal_that_goes_down_says_so_at_once_and_comes_back(connection: Connection, postgres: Postgres) -> None:
    with open_journal(connection, upgrade=True) as journal:
        journal.control.register("m", "f", [Cohort()], "ann")
        with pytest.raises(JournalUnavailable, match="terminat"), journal.database.transaction() as statement:
            statement.execute(sa.text("SELECT 1"))
            _terminate(postgres, connection.schema)
            statement.execute(sa.text("SELECT 1"))
        assert journal.control.get("m", "all").epoch == 0


def _terminate(postgres: Postgres, database: str) -> None:
    import psycopg

    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))


def test_a_forked_child_gets_connections_of_its_own(journal: Journal) -> None:
    def backend() -> int:
        with journal.database.statement() as connection:
            return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

    first = backend()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(backend()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert int(answer.read()) != first
    assert backend() == first
