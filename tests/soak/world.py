"""The world of a soak: PostgreSQL and the databases that are moved between, a migration for each round, and what is there in the end."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import psycopg

import oracle
from soak.driver import write_spec
from soak.history import Key, Value
from soak.settings import BASE_ROWS, NAMESPACES, Settings
from soak.values import DIMENSION, metadata_of, value_of, vector_of
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.engine.plan.register import register
from vectorferry.journal import open_journal
from vectorferry.local.servers.pinecone import Pinecone
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.stack import Databases, databases
from vectorferry.local.servers.supervisor import Service
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import load_spec
from vectorferry.stores.registry import open_store, source_options

PROBES = "vectorferry-probe"
LAGGING = "pinecone"
HARMED = ("pinecone", "qdrant")
"""Servers that speak a vendor's protocol for us: the soak starts them itself, has them fail on purpose, and kills them."""


def faults(settings: Settings, product: str) -> dict[str, Any]:
    """What such a server does to its clients. Reads that lag are answered from the past, so that killing it loses nothing."""
    rules: list[dict[str, Any]] = [
        {"kind": "rate_limit", "rate": 0.01, "seconds": 1, "operations": ["reads", "writes"]},
        {"kind": "error", "rate": 0.01, "operations": ["reads", "writes"]},
        {"kind": "latency", "rate": 0.03, "seconds": 0.3, "operations": ["reads", "writes"]},
        {"kind": "drop_before", "rate": 0.005, "operations": ["reads", "writes"]},
        {"kind": "drop_after", "rate": 0.01, "operations": ["writes"]},
        {"kind": "partial", "rate": 0.005, "operations": ["upsert"]},
    ]
    if product == LAGGING:
        rules.append({"kind": "stale", "rate": 0.3, "seconds": settings.stale, "operations": ["fetch"]})
    return {"seed": settings.seed, "rules": rules if settings.chaos else []}


@dataclass
class World:
    """The servers of a soak. `settings` are those of the round."""

    settings: Settings
    servers: Databases

    @classmethod
    def of(cls, settings: Settings) -> "World":
        servers = databases(settings.folder, frozenset({settings.source, settings.target}))
        names = {"journal": "journal"}
        made = servers.connections(names)
        source = json.loads(servers.connections({settings.source: "it"})["it"])
        if settings.source == LAGGING:
            source["extra"] = {"visibility_delay": settings.delay}
        target = json.loads(servers.connections({settings.target: "it"})["it"])
        made |= {"source": json.dumps(source), "target": json.dumps(target)}
        environment = {f"AIRFLOW_CONN_{name.upper()}": text for name, text in made.items()}
        journal = servers.postgres.url("journal")
        return cls(replace(settings, connections=environment, journal=journal), servers)

    def lasting(self) -> list[Service]:
        """The servers that nobody kills."""
        return [service for service in self.servers.services() if service.name != self.harmed]

    @property
    def harmed(self) -> str:
        """The product of the one server that the soak kills itself, "" where no side has any."""
        return next((each for each in (self.settings.source, self.settings.target) if each in HARMED), "")

    @property
    def server(self) -> Pinecone | Qdrant:
        """That server."""
        found = {"pinecone": self.servers.pinecone, "qdrant": self.servers.qdrant}[self.harmed]
        assert found is not None
        return found

    def gateway(self) -> Service | None:
        """That server with its faults, as a service whose command is a role and arguments of `child`."""
        found = next((each for each in self.servers.services() if each.name == self.harmed), None)
        if found is None:
            return None
        if self.harmed == "qdrant":
            role = ("qdrant", *found.command[found.command.index("vectorferry.local.qdrant") + 1 :])
        else:
            role = ("command", *found.command[found.command.index("gateway") :])
        return replace(found, command=(*role, "--faults", json.dumps(faults(self.settings, self.harmed))))

    def clear_faults(self) -> None:
        """From now on that server does what it is asked."""
        url, headers = f"{self.server.url}/_vectorferry/faults", {"Api-Key": self.server.api_key}
        httpx.delete(url, headers=headers, trust_env=False).raise_for_status()

    def new_round(self, number: int) -> dict[Key, Value]:
        """A migration of its own, with its source filled and its spec registered; returns what the source holds."""
        self.settings = replace(self.settings, migration=f"soak{number}{secrets.token_hex(2)}")
        self.settings.round_folder.mkdir(parents=True)
        self.settings.save()
        spec = load_spec(write_spec(self.settings))
        with open_journal(connection_from_environment(spec.journal), upgrade=True) as journal:
            register(journal, spec, "soak")
        return self._fill()

    def _fill(self) -> dict[Key, Value]:
        spec = load_spec(self.settings.spec_file)
        connection = connection_from_environment("source")
        store = open_store(connection, spec.source.collection, source_options(spec))
        rows: dict[Key, Value] = {}
        try:
            store.create(CollectionDefinition(DIMENSION, Metric.COSINE, spec.fields, {}))
            for place, namespace in enumerate(NAMESPACES):
                numbers = range(1 + place * BASE_ROWS, 1 + place * BASE_ROWS + BASE_ROWS // len(NAMESPACES))
                ids = [f"base-{number:05}" for number in numbers]
                metadata = [canonical_json(metadata_of(n, "")) for n in numbers]
                assert not store.upsert(make_batch(namespace, ids, _matrix(numbers), metadata)).rejected
                rows |= {(namespace, id_): (n, n, "") for id_, n in zip(ids, numbers, strict=True)}
        finally:
            store.close()
        return rows

    def dump(self) -> tuple[dict[Key, Value], dict[Key, Value]]:
        """What source and target hold, read by the vendors' own clients."""
        settings = self.settings
        return self._rows(settings.source, settings.migration), self._rows(settings.target, settings.collection)

    def _rows(self, kind: str, collection: str) -> dict[Key, Value]:
        rows = self._read(kind, collection)
        return {key: _value(*row) for key, row in rows.items() if key[0] != PROBES}

    def _read(self, kind: str, collection: str) -> oracle.Rows:
        if kind == "pinecone":
            assert self.servers.pinecone is not None
            return oracle.read_pinecone(
                collection, url=self.servers.pinecone.url, api_key=self.servers.pinecone.api_key
            )
        if kind == "pgvector":
            return oracle.read_pgvector(collection, url=self.servers.postgres.url("vectors"))
        if kind == "qdrant":
            known = self.servers.qdrant
            assert known is not None
            return oracle.read_qdrant(collection, url=known.url, grpc_port=known.grpc_port, api_key=known.api_key)
        server = self.servers.weaviate
        assert server is not None
        return oracle.read_weaviate(collection, url=server.url, grpc_port=server.grpc_port, api_key=server.api_key)

    def journal(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The journal's database, for looking at it in plain SQL."""
        return psycopg.connect(self.settings.journal, autocommit=True)


def _matrix(numbers: Sequence[int]) -> Any:
    import numpy as np

    return np.asarray([vector_of(number) for number in numbers], np.float32)


def _value(vector: Any, metadata: Mapping[str, Any]) -> Value:
    number, told, mark = value_of([float(x) for x in vector], metadata)
    return number, told, mark
