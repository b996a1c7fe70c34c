"""A journal in a fresh database, with a migration registered, a plan, and routers made by hand."""

from collections.abc import Callable, Iterator

import pytest

from journal.helpers import MIGRATION, SPEC, Database, connection_of, empty, make_plan
from vectorferry.core.model import Cohort, Phase
from vectorferry.journal import Journal, Plan, open_journal
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection


@pytest.fixture
def connection(database: str) -> Connection:
    return connection_of(database)


@pytest.fixture(scope="session")
def shared(postgres: Postgres) -> Iterator[Connection]:
    """A database with a journal for the whole session: to empty it takes milliseconds, to make one a second."""
    connection = connection_of(postgres.create_database("journal_shared"))
    open_journal(connection, upgrade=True).close()
    yield connection
    postgres.drop_database("journal_shared")


@pytest.fixture
def journal(shared: Connection) -> Iterator[Journal]:
    """A journal that knows the migration, in OFF, with one cohort, and nothing else."""
    with open_journal(shared) as opened:
        empty(opened)
        opened.control.register(MIGRATION, SPEC, [Cohort()], "ann")
        yield opened


@pytest.fixture
def plan(journal: Journal) -> Plan:
    return journal.plans.save(make_plan())


@pytest.fixture
def behind(journal: Journal) -> Database:
    return Database(journal)


Move = Callable[..., None]


@pytest.fixture
def move(journal: Journal) -> Move:
    """Move a cohort along the chain, step by step, up to a phase; it counts as loaded."""

    def to(phase: Phase, cohort: str = "all") -> None:
        journal.control.mark_loaded(MIGRATION, cohort)
        chain = list(Phase)
        while (row := journal.control.get(MIGRATION, cohort)).phase is not phase:
            step = 1 if chain.index(phase) > chain.index(row.phase) else -1
            journal.control.advance(row, chain[chain.index(row.phase) + step], actor="ann", reason="test")

    return to
