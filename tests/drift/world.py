"""Servers, a migration between two of them, and its two sides as the judge sees them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from drift.hands import Hands, hands
from drift.rows import FIELDS, batches
from drift.settings import DIMENSION, Settings
from oracle import Key, Rows
from pipeline.worlds import World
from vectorferry import pipeline
from vectorferry.connections import Connection
from vectorferry.engine.approval import record_answer
from vectorferry.engine.planning import register
from vectorferry.engine.session import Session
from vectorferry.journal import Evidence
from vectorferry.local.stack import DATABASES, Databases, databases
from vectorferry.local.supervisor import Service, Supervisor
from vectorferry.model import CollectionDefinition, Metric
from vectorferry.records import canonical_json, make_batch

UNBOUND = {"requests_per_second": 100_000}
EXACT = {"pgvector": {"type": "none"}, "weaviate": {"type": "flat"}, "pinecone": {}}


@dataclass(frozen=True)
class Pair:
    """A migration, and how its two databases are reached."""

    settings: Settings
    world: World
    addresses: Mapping[str, Mapping[str, Any]]

    @contextmanager
    def sides(self) -> Iterator[tuple[Hands, Hands]]:
        """Raw clients of the source and of the target."""
        s = self.settings
        with (
            hands(s.source, self.addresses["source"], s.source_collection) as source,
            hands(s.target, self.addresses["target"], s.target_collection) as target,
        ):
            yield source, target

    @contextmanager
    def authority_and_follower(self) -> Iterator[tuple[Hands, Hands]]:
        """The same in the order of the phase."""
        with self.sides() as (source, target):
            yield (source, target) if self.settings.target_is_follower else (target, source)

    def fill(self, rows: Rows) -> None:
        """Make the source, and make the migration known, so that routers can join."""
        with self.world.source() as store:
            store.create(CollectionDefinition(DIMENSION, Metric.COSINE, self.world.spec.fields))
            for namespace, ids in batches(rows):
                found = [rows[namespace, id_] for id_ in ids]
                metadata = [canonical_json(row[1]) for row in found]
                batch = make_batch(namespace, list(ids), np.stack([row[0] for row in found]), metadata)
                assert not store.upsert(batch).rejected
        with self.world.session() as session:
            register(session.journal, session.spec, "drift")

    def move(self) -> None:
        """Load the target; where the phase is TRACK_B, cut over to it. A router must have joined."""
        with self.world.session() as session:
            if self.settings.phase == "TRACK_B":
                assert pipeline.run(session, _approve).switched is not None
                return
            _, plan = pipeline.prepare(session)
            for partition in plan.partitions:
                pipeline.export.export(session, plan, partition)
                pipeline.load.load(session, plan, partition)
            pipeline.settle(session, plan)

    def excuse(self, keys: Sequence[Key]) -> None:
        """Have the journal excuse records of the plan."""
        with self.world.session() as session:
            plan = session.plan()
            session.journal.records.excuse(plan, plan.partitions[0].name, [(*key, "on purpose") for key in keys])


def _approve(session: Session, evidence: Evidence) -> bool:
    record_answer(session, evidence.hash, "approve", person="drift", reason="drift", via="terminal")
    return True


def spec_of(settings: Settings) -> dict[str, Any]:
    """The migration; what it may mend is unlimited, and so are its requests."""
    index = EXACT[settings.target]
    return {
        "migration": settings.name,
        "source": {"connection": "source", "collection": settings.source_collection},
        "target": {"connection": "target", "collection": settings.target_collection, "index": index},
        "journal": "journal",
        "staging": {"url": str(settings.folder / "staging")},
        "writers": {"expected": 1},
        "fields": dict(FIELDS),
        "partitions": {"rows": max(400, settings.rows // 10), "parallel": 2},
        "budgets": {"source": UNBOUND, "target": UNBOUND},
        "limits": {"request_deadline": "5s", "lease": "10s", "excused": settings.unheld, "unheld": "excuse"},
        "checks": {
            "recall": {"sample": 10, "min_queries": 5, "threshold": 0.5},
            "latency": {"queries": 10, "rate": 200},
        },
        "shadow": {"share": 0},
        "approval": {"terminal": True, "four_eyes": False},
        "reconcile": {"repairs": 10_000_000, "deletions": 10_000_000},
    }


def pair_of(settings: Settings, servers: Databases) -> Pair:
    """A migration among running servers."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    addresses = {
        side: json.loads(servers.connections({kind: side})[side])
        for side, kind in (("source", settings.source), ("target", settings.target), ("journal", "journal"))
    }
    connections = {name: _connection(name, address) for name, address in addresses.items()}
    return Pair(settings, World(settings.folder, connections, spec_of(settings)), addresses)


def _connection(name: str, address: Mapping[str, Any]) -> Connection:
    fields = {field: address.get(field) or "" for field in ("host", "login", "password", "schema")}
    extra = dict(address.get("extra", {}))
    password = fields.pop("password") or extra.pop("token", "")
    return Connection(name, address["conn_type"], port=address.get("port"), password=password, extra=extra, **fields)


@contextmanager
def own_servers(settings: Settings) -> Iterator[Databases]:
    """Servers of this run's own."""
    found = databases(settings.folder, frozenset({settings.source, settings.target}))
    with Supervisor(settings.folder) as supervisor:
        supervisor.start(found.services())
        yield found


def beside(servers: Databases) -> list[Service]:
    """What is left to start where PostgreSQL and Weaviate run already."""
    for name in DATABASES:
        servers.postgres.create_database(name)
    return [replace(each, after=()) for each in servers.pinecone.services()] if servers.pinecone else []


def reserved(keys: Sequence[Key], every: int) -> list[Key]:
    """Each so-manieth key of every namespace."""
    found: list[Key] = []
    for space in dict.fromkeys(key[0] for key in keys):
        found += [key for key in keys if key[0] == space][::every]
    return found
