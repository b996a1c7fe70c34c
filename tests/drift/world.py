"""Servers, a migration between two of them, and its two sides as the judge sees them."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, LiteralString

import numpy as np
import psycopg

from drift.commands import Command
from drift.hands import Address, Hands, hands, url_of
from drift.rows import FIELDS, batches
from drift.settings import DIMENSION, Settings
from oracle import Key, Rows
from pipeline.worlds import World
from vectorferry.core.model import COHORT, CollectionDefinition, Metric, Phase
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.journal import Evidence, Member
from vectorferry.local.servers.stack import DATABASES, Databases, databases
from vectorferry.local.servers.supervisor import Service, Supervisor
from vectorferry.spec.connections import Connection

UNBOUND = {"requests_per_second": 100_000}
EXACT = {"pgvector": {"type": "none"}, "weaviate": {"type": "flat"}, "pinecone": {}}


@dataclass(frozen=True)
class Pair:
    """A migration, and how its two databases are reached."""

    settings: Settings
    world: World
    addresses: Mapping[str, Address]

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
        forward = self.settings.phase == "TRACK_B"
        with self.world.session() as session:
            if forward and self.settings.whole:
                assert pipeline.run(session, _approve).switched is not None
                return
            _, plan = pipeline.prepare(session)
            for partition in plan.partitions:
                pipeline.export_partition(session, plan, partition)
                pipeline.load_partition(session, plan, partition)
            pipeline.settle(session, plan)
            for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B) if forward else ():
                _enter(session, phase)

    def command(self, *arguments: str) -> Command:
        """`vectorferry VERB SPEC …`, started in a process of its own."""
        verb, *options = arguments
        spec = str(self.world.spec_file)
        return Command(self.settings.folder, self.world.environment(), verb, spec, *options)

    def settle(self) -> None:
        """Settle what routers wrote."""
        with self.world.session() as session:
            settle_up_to_now(session)

    def reports(self) -> list[str]:
        """Where the drift report of each reconciliation is, the oldest first."""
        with self.world.session() as session:
            runs = session.journal.reconciliations.all(self.settings.name)
        return [str(run.figures["file"]) for run in reversed(runs) if run.figures]

    def progress(self) -> str:
        """How far the newest reconciliation is; changes with each of its steps."""
        found = self._ask(
            "SELECT id::text || ' ' || state::text FROM vectorferry.reconciliation WHERE migration = %s ORDER BY id"
        )
        return str(found[-1][0]) if found else ""

    def is_mending(self) -> bool:
        """Whether the newest reconciliation has ended, with drift that is not mended yet."""
        found = self._ask("SELECT outcome FROM vectorferry.reconciliation WHERE migration = %s ORDER BY id")
        return bool(found) and found[-1][0] == "drift"

    @property
    def url(self) -> str:
        """The database of the tables, where both sides are tables."""
        return url_of(self.addresses["source"])

    def _ask(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with psycopg.connect(url_of(self.addresses["journal"])) as connection:
            return connection.execute(query, [self.settings.name]).fetchall()

    def excuse(self, keys: Sequence[Key]) -> None:
        """Have the journal excuse records of the plan."""
        with self.world.session() as session:
            plan = session.plan()
            session.journal.records.excuse(plan, plan.partitions[0].name, [(*key, "on purpose") for key in keys])


def _enter(session: Session, phase: Phase) -> None:
    """Take one step, and wait until every router has followed."""
    control, members = session.journal.control, session.journal.members
    row = control.get(session.migration, COHORT)
    control.advance(row, phase, actor="drift", reason="drift", hold_seconds=60 if phase.blocks_writes else None)
    while any(_lags(member, phase) for member in members.all(session.migration)):
        time.sleep(0.01)


def _lags(member: Member, phase: Phase) -> bool:
    return member.cohorts[COHORT].phase is not phase or member.cohorts[COHORT].draining is not None


def _approve(session: Session, evidence: Evidence) -> bool:
    record_answer(session, evidence.hash, "approve", person="drift", reason="drift", via="terminal")
    return True


def spec_of(settings: Settings) -> dict[str, Any]:
    """The migration; its requests are not limited."""
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
        "approval": {"terminal": not settings.asks, "four_eyes": False},
        "reconcile": {} if settings.asks else {"repairs": 10_000_000, "deletions": 10_000_000},
    }


def pair_of(settings: Settings, servers: Databases) -> Pair:
    """A migration among running servers."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    addresses = {
        side: json.loads(servers.connections({kind: side})[side])
        for side, kind in (("source", settings.source), ("target", settings.target), ("journal", "journal"))
    }
    connections = {name: connection_of(name, address) for name, address in addresses.items()}
    return Pair(settings, World(settings.folder, connections, spec_of(settings)), addresses)


def connection_of(name: str, address: Address) -> Connection:
    """A connection of Airflow's form, as a store takes it."""
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
