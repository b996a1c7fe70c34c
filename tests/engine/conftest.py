"""A journal for tests of the engine that need one."""

from collections.abc import Iterator

import pytest

from journal.helpers import connection_of
from vectorferry.journal import Journal, open_journal
from vectorferry.local.servers.postgres import Postgres


@pytest.fixture(scope="module")
def journal(postgres: Postgres) -> Iterator[Journal]:
    """In a database of its own; `Sides` empties it."""
    with open_journal(connection_of(postgres.create_database("engine_journal")), upgrade=True) as opened:
        yield opened
    postgres.drop_database("engine_journal")
