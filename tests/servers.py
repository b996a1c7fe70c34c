"""Session-wide real servers for the tests: started when first asked for, stopped together at the end.

def test_x(postgres, weaviate): ...       # the servers, vectorferry.local.servers.postgres.Postgres and .weaviate.Weaviate
def test_y(database): ...                 # the URL of a fresh database with the extension vector, dropped afterwards
def test_s(object_store): ...          # a real S3: vectorferry.local.servers.seaweedfs.SeaweedFS
def test_z(journal_database): ...         # the same with an empty journal
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from journal.helpers import connection_of
from vectorferry.journal import open_journal
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.qdrant import qdrant as local_qdrant
from vectorferry.local.servers.seaweedfs import SeaweedFS, seaweedfs
from vectorferry.local.servers.supervisor import Service, Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.local.servers.weaviate import weaviate as local_weaviate

_numbers = itertools.count(1)
# What is committed survives a process that is killed, as always; nobody pulls the machine's plug. A commit takes an eighth of the time,
# and a dropped database a tenth: PostgreSQL writes everything out before it drops one.
UNSYNCED = "--fsync=off"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL of its own, for what needs databases of fixed names."""
    server = local_postgres(folder / "postgres")
    with Supervisor(folder) as supervisor:
        supervisor.start([_unsynced(each) for each in server.services()])
        yield server


def _unsynced(service: Service) -> Service:
    return replace(service, command=(*service.command, UNSYNCED)) if service.name == "postgres" else service


@pytest.fixture(scope="session")
def weaviate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weaviate]:
    folder = tmp_path_factory.mktemp("weaviate")
    server = local_weaviate(folder / "weaviate")
    with Supervisor(folder) as supervisor:
        supervisor.start(server.services())
        yield server


@pytest.fixture(scope="session")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qdrant]:
    folder = tmp_path_factory.mktemp("qdrant")
    server = local_qdrant(folder / "qdrant")
    with Supervisor(folder) as supervisor:
        supervisor.start(server.services())
        yield server


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS with the bucket `vectorferry`."""
    folder = tmp_path_factory.mktemp("objects")
    server = seaweedfs(folder / "seaweedfs")
    with Supervisor(folder) as supervisor:
        supervisor.start(server.services())
        server.make_bucket("vectorferry")
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of a fresh database, `postgresql://...`."""
    with contextlib.ExitStack() as cleanup:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        cleanup.callback(postgres.drop_database, name)
        yield postgres.create_database(name)


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A database with an empty journal: to copy it costs a third of what it costs to make one."""
    url = postgres.create_database("template_journal")
    open_journal(connection_of(url), upgrade=True).close()
    return "template_journal"


MakeJournal = Callable[[], str]


@pytest.fixture
def make_journal_database(postgres: Postgres, template: str) -> Iterator[MakeJournal]:
    """Makes databases with an empty journal; gives the URL of each."""
    with contextlib.ExitStack() as cleanup:

        def make() -> str:
            name = f"test_{os.getpid()}_{next(_numbers)}"
            with psycopg.connect(postgres.url(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
            cleanup.callback(postgres.drop_database, name)
            return postgres.url(name)

        yield make


@pytest.fixture
def journal_database(make_journal_database: MakeJournal) -> str:
    """The URL of a fresh database with an empty journal."""
    return make_journal_database()
