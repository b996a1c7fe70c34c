"""A journal behind a pooler that lends a connection for one transaction: what it could not serve is not asked of it."""

import sqlalchemy as sa

from pipeline.worlds import postgres_connection
from vectorferry.journal.database import Database
from vectorferry.spec.connections import Connection


def behind(url: str, **extra: object) -> Database:
    plain = postgres_connection("journal", url)
    return Database(
        Connection(plain.name, plain.type, plain.host, plain.port, plain.login, plain.password, plain.schema, extra)
    )


def prepared(database: Database) -> int:
    with database.transaction() as connection:
        for _ in range(10):
            connection.execute(sa.text("SELECT 1"))
        return int(connection.scalar(sa.text("SELECT count(*) FROM pg_catalog.pg_prepared_statements")) or 0)


def timeout(database: Database) -> str:
    with database.statement() as connection:
        return str(connection.scalar(sa.text("SHOW statement_timeout")))


def test_nothing_is_prepared_and_no_startup_options_are_sent(database: str) -> None:
    pooled, plain = behind(database, pooler=True), behind(database)
    assert (prepared(pooled), timeout(pooled)) == (0, "0")
    assert (prepared(plain), timeout(plain)) == (1, "20s")
    for each in (pooled, plain):
        each.close()


def test_nobody_listens_there(database: str) -> None:
    pooled, plain = behind(database, pooler="true"), behind(database)
    with pooled.news() as hears, plain.statement() as connection:
        connection.execute(sa.text("NOTIFY vectorferry, 'small'"))
        assert not hears(0.05)
        listening = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        assert connection.scalar(sa.text(listening)) == 0
    for each in (pooled, plain):
        each.close()
