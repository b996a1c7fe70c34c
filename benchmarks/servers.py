"""The servers that the benchmarks run against: PostgreSQL, the real Weaviate, the local Pinecone and Qdrant, each a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from vectorferry.core.errors import ConnectionMissing
from vectorferry.local.servers.pinecone import DATABASE, Pinecone
from vectorferry.local.servers.pinecone import pinecone as local_pinecone
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.qdrant import qdrant as local_qdrant
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.local.servers.weaviate import weaviate as local_weaviate
from vectorferry.spec.connections import Connection

ROWS_DATABASE = "benchmarks"
JOURNAL_DATABASE = "benchmarks_journal"


@dataclass(frozen=True)
class Servers:
    """Running servers; `folder` takes staging and results."""

    folder: Path
    postgres: Postgres
    weaviate: Weaviate
    pinecone: Pinecone
    qdrant: Qdrant

    def connection(self, name: str) -> Connection:
        """The connections that specs name: journal, memory, the five databases, and backing (the local Pinecone's own records)."""
        match name:
            case "journal":
                return self._database(name, JOURNAL_DATABASE)
            case "pgvector":
                return self._database(name, ROWS_DATABASE)
            case "backing":
                return self._database(name, DATABASE)
            case "lancedb":
                return Connection(name, "lancedb", extra={"uri": str(self.folder.absolute() / "lancedb")})
            case "memory":
                return Connection(name, "memory")
            case "weaviate":
                server, extra = (
                    self.weaviate,
                    {"http_secure": self.weaviate.secure, "grpc_port": self.weaviate.grpc_port},
                )
                return Connection(name, "weaviate", server.host, server.port, password=server.api_key, extra=extra)
            case "qdrant":
                held, more = self.qdrant, {"grpc_port": self.qdrant.grpc_port, "https": self.qdrant.secure}
                return Connection(name, "qdrant", held.host, held.port, password=held.api_key, extra=more)
            case "pinecone":
                extra = {"grpc_ports": self._grpc_ports(), "grpc_scheme": "http", "visibility_delay": 0.0}
                return Connection(name, "pinecone", self.pinecone.url, password=self.pinecone.api_key, extra=extra)
        raise ConnectionMissing(name)

    def grpc_port(self, index: str) -> int:
        """Where an index of the local Pinecone is over gRPC."""
        return self._grpc_ports()[index]

    def _database(self, name: str, database: str) -> Connection:
        server = self.postgres
        return Connection(name, "postgres", server.host, server.port, server.user, server.password, database)

    def _grpc_ports(self) -> dict[str, int]:
        url, headers = f"{self.pinecone.url}/indexes", {"Api-Key": self.pinecone.api_key}
        with httpx.Client(headers=headers, trust_env=False) as client:
            names = [index["name"] for index in client.get(url).raise_for_status().json()["indexes"]]
            answers = {name: client.get(f"{url}/{name}").headers for name in names}
        return {name: int(answer["x-vectorferry-grpc-port"]) for name, answer in answers.items()}


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """All servers, started in a folder and stopped at the end."""
    postgres, weaviate = local_postgres(folder / "postgres"), local_weaviate(folder / "weaviate")
    qdrant = local_qdrant(folder / "qdrant")
    with Supervisor(folder) as supervisor:
        supervisor.start([*postgres.services(), *weaviate.services(), *qdrant.services()])
        with beside(folder, postgres, weaviate, qdrant) as servers:
            yield servers


@contextmanager
def beside(folder: Path, postgres: Postgres, weaviate: Weaviate, qdrant: Qdrant) -> Iterator[Servers]:
    """A local Pinecone beside servers that run already."""
    for database in (ROWS_DATABASE, JOURNAL_DATABASE, DATABASE):
        postgres.create_database(database)
    pinecone = local_pinecone(folder / "pinecone", postgres)
    with Supervisor(folder / "pinecone") as supervisor:
        supervisor.start([replace(service, after=()) for service in pinecone.services()])
        yield Servers(folder, postgres, weaviate, pinecone, qdrant)
