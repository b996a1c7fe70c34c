"""The databases of the pairs: how each is reached, what a collection is called there, and how its vendor's own client reads it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import oracle
from drift.world import connection_of
from vectorferry.local.servers.pinecone import pinecone as local_pinecone
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.stack import DATABASES, Databases, databases
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection

JOURNAL = "journal"


@dataclass(frozen=True)
class Place:
    """One database: `connection` as Airflow has it, `called` makes the name of a collection, `read` is the oracle's.

    `tolerance` is that of vectors under cosine.
    """

    kind: str
    address: Mapping[str, Any]
    called: Callable[[str], str]
    read: Callable[[str], oracle.Rows]
    tolerance: float = 0.0

    def connection(self, name: str) -> Connection:
        """The connection under a name."""
        return connection_of(name, self.address)


def pinecone(address: Mapping[str, Any], _: Databases) -> Place:
    reading = {"url": address["host"], "api_key": address["password"]}
    return Place("pinecone", address, str, lambda name: oracle.read_pinecone(name, **reading))


def weaviate(address: Mapping[str, Any], servers: Databases) -> Place:
    assert servers.weaviate is not None
    reading = {
        "url": servers.weaviate.url,
        "grpc_port": servers.weaviate.grpc_port,
        "api_key": servers.weaviate.api_key,
    }
    return Place("weaviate", address, str.title, lambda name: oracle.read_weaviate(name, **reading))


def pgvector(address: Mapping[str, Any], servers: Databases) -> Place:
    url = servers.postgres.url(address["schema"])
    return Place("pgvector", address, str, lambda name: oracle.read_pgvector(name, url=url))


def qdrant(address: Mapping[str, Any], servers: Databases) -> Place:
    assert servers.qdrant is not None
    server = servers.qdrant
    reading = {"url": server.url, "grpc_port": server.grpc_port, "api_key": server.api_key}
    return Place("qdrant", address, str, lambda name: oracle.read_qdrant(name, **reading), tolerance=1e-6)


def lancedb(address: Mapping[str, Any], _: Databases) -> Place:
    return Place("lancedb", address, str, lambda name: oracle.read_lancedb(name, uri=address["extra"]["uri"]))


PLACES = {made.__name__: made for made in (pinecone, weaviate, pgvector, qdrant, lancedb)}
KINDS = tuple(PLACES)


@dataclass(frozen=True)
class World:
    """All databases, the journal, and a folder for staging."""

    folder: Path
    places: Mapping[str, Place]
    journal: Connection


def world_of(folder: Path, servers: Databases) -> World:
    """The databases among running servers."""
    addresses = {
        kind: json.loads(text) for kind, text in servers.connections({kind: kind for kind in (*KINDS, JOURNAL)}).items()
    }
    places = {kind: made(addresses[kind], servers) for kind, made in PLACES.items()}
    return World(folder, places, connection_of(JOURNAL, addresses[JOURNAL]))


@contextmanager
def world_beside(folder: Path, postgres: Postgres, weaviate: Weaviate, qdrant: Qdrant) -> Iterator[World]:
    """The other databases beside servers that run already, with databases of their own in PostgreSQL."""
    for database in DATABASES:
        postgres.create_database(database)
    servers = Databases(postgres, local_pinecone(folder / "pinecone", postgres), weaviate, qdrant, folder / "lancedb")
    others = [service for each in (servers.pinecone,) if each for service in each.services()]
    with Supervisor(folder) as supervisor:
        supervisor.start([replace(service, after=()) for service in others])
        yield world_of(folder, servers)
    for database in DATABASES:
        postgres.drop_database(database)


@contextmanager
def own_servers(folder: Path) -> Iterator[World]:
    """Servers of their own."""
    servers = databases(folder, frozenset(KINDS))
    with Supervisor(folder) as supervisor:
        supervisor.start(servers.services())
        yield world_of(folder, servers)
