"""The servers of the demo: which there are, where each keeps its data, and the connections by which Airflow knows them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vectorferry.local.servers.airflow import Airflow, airflow
from vectorferry.local.servers.pinecone import DATABASE as PINECONE_DATABASE
from vectorferry.local.servers.pinecone import Pinecone, pinecone
from vectorferry.local.servers.postgres import Postgres, postgres
from vectorferry.local.servers.qdrant import Qdrant, qdrant
from vectorferry.local.servers.supervisor import Service
from vectorferry.local.servers.weaviate import Weaviate, weaviate

FOLDER = ".vectorferry"
JOURNAL_DATABASE = "journal"
PGVECTOR_DATABASE = "vectors"
DATABASES = (JOURNAL_DATABASE, PGVECTOR_DATABASE, PINECONE_DATABASE)
AIRFLOW_PORT = 8080


@dataclass(frozen=True)
class Databases:
    """The databases that are moved between and the journal; what a migration does not touch is None.

    `lancedb` is a folder: its engine runs in the process that opens it.
    """

    postgres: Postgres
    pinecone: Pinecone | None
    weaviate: Weaviate | None
    qdrant: Qdrant | None = None
    lancedb: Path | None = None

    def services(self) -> list[Service]:
        """Return all services, to be started by one supervisor."""
        others = (each for each in (self.pinecone, self.weaviate, self.qdrant) if each is not None)
        return [*self.postgres.services(DATABASES), *(service for each in others for service in each.services())]

    def connections(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return Airflow connections as JSON: `names` gives the connection id of each of journal and the databases."""
        known = self._known()
        return {connection_id: json.dumps(known[server]) for server, connection_id in names.items()}

    def _known(self) -> dict[str, dict[str, object]]:
        found = {
            "journal": self._postgres_connection(JOURNAL_DATABASE),
            "pgvector": self._postgres_connection(PGVECTOR_DATABASE),
        }
        if self.pinecone:
            found["pinecone"] = _pinecone_connection(self.pinecone)
        if self.weaviate:
            found["weaviate"] = _weaviate_connection(self.weaviate)
        if self.qdrant:
            found["qdrant"] = _qdrant_connection(self.qdrant)
        if self.lancedb:
            found["lancedb"] = {"conn_type": "lancedb", "extra": {"uri": str(self.lancedb)}}
        return found

    def _postgres_connection(self, database: str) -> dict[str, object]:
        server = self.postgres
        return {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "login": server.user,
            "password": server.password,
            "schema": database,
        }


def databases(root: Path, kinds: frozenset[str]) -> Databases:
    """Return the servers that `kinds` (of pinecone, weaviate, pgvector, qdrant, lancedb) need, with a folder each below `root`."""
    server = postgres(root / "postgres")
    return Databases(
        server,
        pinecone(root / "pinecone", server) if "pinecone" in kinds else None,
        weaviate(root / "weaviate") if "weaviate" in kinds else None,
        qdrant(root / "qdrant") if "qdrant" in kinds else None,
        root.absolute() / "lancedb" if "lancedb" in kinds else None,
    )


def airflow_of(
    checkout: Path, root: Path, servers: Databases, connections: Mapping[str, str], variables: Mapping[str, str]
) -> Airflow:
    """Return the Airflow of the checkout, at its usual port if that is free."""
    return airflow(
        root / "airflow",
        checkout,
        servers.postgres,
        port=AIRFLOW_PORT,
        connections=connections,
        variables=variables,
    )


def _pinecone_connection(server: Pinecone) -> dict[str, object]:
    # The vendor's index takes seconds until it shows what was written, the local one none.
    extra = {"visibility_delay": 0}
    return {"conn_type": "pinecone", "host": server.url, "password": server.api_key, "extra": extra}


def _weaviate_connection(server: Weaviate) -> dict[str, object]:
    extra = {
        "token": server.api_key,
        "http_secure": server.secure,
        "grpc_host": server.host,
        "grpc_port": server.grpc_port,
        "grpc_secure": server.secure,
    }
    return {"conn_type": "weaviate", "host": server.host, "port": server.port, "extra": extra}


def _qdrant_connection(server: Qdrant) -> dict[str, object]:
    extra = {"grpc_port": server.grpc_port, "prefer_grpc": True, "https": server.secure}
    return {"conn_type": "qdrant", "host": server.host, "port": server.port, "password": server.api_key, "extra": extra}
