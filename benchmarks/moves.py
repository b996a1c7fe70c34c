"""Our side: the engine's own export and load of one partition, as the DAG's tasks run them."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.records import FIELDS, NAMESPACE, Records
from benchmarks.servers import Servers
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session, open_session
from vectorferry.engine.transfer import export, listing, load
from vectorferry.journal import Plan
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.registry import open_store

_numbers = itertools.count(1)
_FREE = {"requests_per_second": 100_000}


@dataclass(frozen=True)
class Place:
    """A collection behind one of the benchmarks' connections; `index` are the target database's own settings."""

    connection: str
    collection: str
    index: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> StoreOptions:
        return StoreOptions(FIELDS_TYPED, index=self.index)


FIELDS_TYPED = MigrationSpec.model_validate(
    {
        "migration": "fields",
        "source": {"connection": "a", "collection": "a"},
        "target": {"connection": "b", "collection": "b"},
        "staging": {"url": "."},
        "writers": "none",
        "fields": FIELDS,
    }
).fields


@contextmanager
def opened(servers: Servers, place: Place) -> Iterator[VectorStore]:
    """The store of a place, for filling and for reading back."""
    store = open_store(servers.connection(place.connection), place.collection, place.options)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def empty(servers: Servers, place: Place, dimension: int) -> Iterator[None]:
    """A collection made for one run, and removed after it."""
    with opened(servers, place) as store:
        store.drop()
        store.create(CollectionDefinition(dimension, Metric.COSINE, FIELDS_TYPED, place.index))
        try:
            yield
        finally:
            store.drop()


@contextmanager
def filled(servers: Servers, place: Place, records: Records) -> Iterator[None]:
    """A collection that holds the records."""
    with empty(servers, place, records.dimension):
        with opened(servers, place) as store:
            assert not store.upsert(records.batch).rejected
        yield


def spec_of(servers: Servers, source: Place, target: Place, **sections: Any) -> dict[str, Any]:
    """A spec under a name of its own that moves all in one partition, unhindered by budgets."""
    return {
        "migration": f"benchmark_{next(_numbers)}",
        "source": {"connection": source.connection, "collection": source.collection},
        "target": {"connection": target.connection, "collection": target.collection, "index": dict(target.index)},
        "journal": "journal",
        "staging": {"url": str(servers.folder / "staging")},
        "writers": "none",
        "fields": FIELDS,
        "partitions": {"rows": 10_000_000},
        # Not the same object twice: YAML would write an alias, which specs refuse.
        "budgets": {"source": dict(_FREE), "target": dict(_FREE)},
        "checks": {"recall": {"sample": 1}},
        **sections,
    }


@contextmanager
def session_of(servers: Servers, spec: Mapping[str, Any]) -> Iterator[Session]:
    """A session of a spec given as a dict."""
    made = MigrationSpec.model_validate(spec)
    with open_session(
        made, actor="benchmark", run_id="benchmark", connections=servers.connection, upgrade=True
    ) as session:
        yield session


def list_ids(session: Session) -> None:
    """What a plan does first where the source cannot read key ranges: list the ids, once, into staging."""
    plan_id = f"{session.migration}-{session.spec.plan_fingerprint[:12]}"
    begun = listing.begin_listing(session.staging.at(plan_id), [NAMESPACE], session.source.capabilities.key_order)
    begun.write(session, NAMESPACE)


def begin(session: Session) -> None:
    """Preflight and begin."""
    pipeline.begin(session)


def plan(session: Session) -> Plan:
    """The plan, of one partition."""
    made = pipeline.plan(session)
    assert len(made.partitions) == 1, made.partitions
    return made


def stage(session: Session, made: Plan) -> list[Path]:
    """Export the partition without its exact neighbours; returns the Parquet files."""
    manifest = export.export(session, made, made.partitions[0])
    staged = session.staged(made)
    return [Path(staged.locate(part["path"])) for part in manifest["parts"]]


def send(session: Session, made: Plan) -> None:
    """Load the staged partition."""
    load.load(session, made, made.partitions[0])


def check(session: Session, made: Plan) -> None:
    """Counts and content of the partition."""
    pipeline.check_partition(session, made, made.partitions[0])
