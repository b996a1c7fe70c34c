"""A small migration on real servers: two collections, a journal and staging, under a spec that a test may change."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from vectorferry.core.errors import ConnectionMissing
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.engine.session import Session, open_session
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.seaweedfs import SeaweedFS
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.spec.loader import parse_spec
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import VectorStore
from vectorferry.stores.registry import open_store, source_options

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "docs.parquet"
FIELDS = {"kind": "string", "lines": "number", "public": "boolean", "tags": "strings"}
_runs = itertools.count(1)


def rows_of(*namespaces: str, most: int = 200) -> pa.Table:
    """Records of the data set: at most `most` of each namespace."""
    table = pq.read_table(DATA)
    names = table.column("namespace").to_pylist()
    taken = [[n for n, name in enumerate(names) if name == wanted][:most] for wanted in namespaces]
    return table.take([n for each in taken for n in each])


@dataclass
class World:
    """Connections by name and the spec as a dict; `session()` opens a run."""

    folder: Path
    connections: dict[str, Connection]
    spec_dict: dict[str, Any]
    actors: list[str] = field(default_factory=list)

    @property
    def spec(self) -> MigrationSpec:
        return parse_spec(yaml.safe_dump(json.loads(json.dumps(self.spec_dict))), "world.yaml")

    @property
    def spec_file(self) -> Path:
        path = self.folder / "world.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(self.spec_dict))), encoding="utf-8")
        return path

    def connection(self, name: str) -> Connection:
        if name not in self.connections:
            raise ConnectionMissing(name)
        return self.connections[name]

    def environment(self) -> dict[str, str]:
        """The connections as AIRFLOW_CONN_ variables."""
        return {f"AIRFLOW_CONN_{name.upper()}": as_json(c) for name, c in self.connections.items()}

    @contextmanager
    def session(self, *, actor: str = "operator", run_id: str = "") -> Iterator[Session]:
        run = run_id or f"run-{next(_runs)}"
        with open_session(self.spec, actor=actor, run_id=run, connections=self.connection, upgrade=True) as session:
            yield session

    @contextmanager
    def source(self) -> Iterator[VectorStore]:
        store = open_store(self.connection("source"), self.spec.source.collection, source_options(self.spec))
        try:
            yield store
        finally:
            store.close()

    def fill(self, table: pa.Table, metric: Metric = Metric.COSINE) -> None:
        """Create the source collection and write records to it."""
        with self.source() as store:
            store.create(CollectionDefinition(table.schema.field("vector").type.list_size, metric, self.spec.fields))
            for batch in table.to_batches(max_chunksize=500):
                assert not store.upsert(batch).rejected


def as_json(connection: Connection) -> str:
    """A connection in Airflow's JSON form."""
    form = {"conn_type": connection.type, "host": connection.host, "port": connection.port, "login": connection.login}
    return json.dumps(
        form | {"password": connection.password, "schema": connection.schema, "extra": dict(connection.extra)}
    )


def postgres_connection(name: str, url: str) -> Connection:
    parts = urlsplit(url)
    user, password = parts.username or "", parts.password or ""
    return Connection(name, "postgres", parts.hostname or "", parts.port, user, password, parts.path.lstrip("/"))


def weaviate_connection(server: Weaviate) -> Connection:
    extra = {"http_secure": server.secure, "grpc_port": server.grpc_port, "grpc_secure": server.secure}
    return Connection("target", "weaviate", server.host, server.port, password=server.api_key, extra=extra)


def qdrant_connection(server: Qdrant) -> Connection:
    extra = {"grpc_port": server.grpc_port, "prefer_grpc": True, "https": server.secure}
    return Connection("target", "qdrant", server.host, server.port, password=server.api_key, extra=extra)


def on_object_store(world: World, server: SeaweedFS) -> None:
    """Have a world's files staged on an object store, in a folder of its own."""
    access = {"login": server.key, "password": server.password, "extra": server.extra}
    world.connections["staging"] = Connection("staging", "aws", **access)
    world.spec_dict["staging"] = {"url": f"s3://vectorferry/{world.folder.name}", "connection": "staging"}


def small_spec(folder: Path) -> dict[str, Any]:
    return {
        "migration": "small",
        "source": {"connection": "source", "collection": "docs"},
        "target": {"connection": "target", "collection": "docs_moved"},
        "journal": "journal",
        "staging": {"url": str(folder / "staging")},
        "writers": "none",
        "fields": dict(FIELDS),
        "partitions": {"rows": 100, "parallel": 2},
        "limits": {"request_deadline": "3s", "lease": "10s"},
        "checks": {
            "recall": {"sample": 15, "min_queries": 10, "threshold": 0.9},
            "latency": {"queries": 20, "rate": 200},
        },
        "approval": {"approvers": ["approver"]},
    }
