"""A migration in this process, already exported and loaded: memory stores, staging in a folder, and of a journal what stayed behind."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.keys import key_of
from vectorferry.core.model import CollectionDefinition, KeyOrder, KeyRange, Metric, Partition
from vectorferry.core.records import canonical_json, digest, fingerprints, make_batch, record_schema
from vectorferry.engine.session import Session
from vectorferry.engine.transfer.listing import begin_listing
from vectorferry.journal import ExcusedRow, Plan
from vectorferry.spec.migration import MigrationSpec
from vectorferry.staging import Staging
from vectorferry.stores.base import Capabilities
from vectorferry.stores.caller import Caller
from vectorferry.stores.memory import MEMORY, MemoryStore

DIMENSION = 8
FIELDS = {"kind": "string", "lines": "number", "public": "boolean", "tags": "strings"}
_numbers = itertools.count()


def vectors(n: int, dimension: int = DIMENSION, seed: int = 0) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Random vectors of unit length, shape [n, dimension]."""
    raw = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def metadata(n: int) -> list[str]:
    """Canonical metadata of every kind, with keys that some records lack and one of two types."""
    rows: list[dict[str, Any]] = []
    for i in range(n):
        row: dict[str, Any] = {"kind": ("class", "function", "größe")[i % 3], "lines": i % 7, "public": i % 2 == 0}
        if i % 4:
            row["tags"] = [f"tag{i % 5}", "all"]
        if i % 6 == 0:
            row["since"] = 3.5 if i % 12 else "3.5"
        rows.append(row if i % 10 else {})
    return [canonical_json(row) for row in rows]


def records(namespace: str, n: int, *, seed: int = 0, dimension: int = DIMENSION) -> pa.RecordBatch:
    """A batch of n records of one namespace, with ids r0000, r0001, ..."""
    ids = [f"r{i:04}" for i in range(n)]
    return make_batch(namespace, ids, vectors(n, dimension, seed), metadata(n))


def changed(batch: pa.RecordBatch, row: int, **values: Any) -> pa.RecordBatch:
    """One row of a batch, with other values: id, namespace, vector (list or array), metadata (dict)."""
    one = batch.slice(row, 1)
    now = {name: one.column(name)[0].as_py() for name in ("namespace", "id", "vector", "metadata")}
    now |= {name: canonical_json(v) if name == "metadata" else v for name, v in values.items()}
    vector = np.asarray([now["vector"]], np.float32)
    return make_batch(now["namespace"], [now["id"]], vector, [now["metadata"]])


class Excused:
    """All that the checks of writers-none migrations ask of a journal: which records stayed behind."""

    def __init__(self) -> None:
        self.rows: list[ExcusedRow] = []
        self.records = self

    def excused(self, migration: str, partition: str | None = None) -> Iterator[ExcusedRow]:
        del migration
        return (row for row in self.rows if partition in (None, row.partition))

    def excused_count(self, migration: str) -> int:
        del migration
        return len(self.rows)


@dataclass(frozen=True)
class Built:
    """A session without a real journal, and the plan that it follows."""

    session: Session
    plan: Plan

    @property
    def source(self) -> MemoryStore:
        return self.session.source  # type: ignore[return-value]

    @property
    def target(self) -> MemoryStore:
        return self.session.target  # type: ignore[return-value]

    @property
    def staged(self) -> Staging:
        return self.session.staged(self.plan)


def build(
    folder: Path,
    batches: Sequence[pa.RecordBatch],
    *,
    partition_rows: int = 1000,
    metric: Metric = Metric.COSINE,
    source: Capabilities = MEMORY,
    target: Capabilities = MEMORY,
    fields: Mapping[str, str] = FIELDS,
    checks: Mapping[str, Any] | None = None,
    excused: frozenset[tuple[str, str]] = frozenset(),
    sections: Mapping[str, Any] | None = None,
) -> Built:
    """Fill a source with these batches, stage them in partitions and load all but the excused ones into a target.

    `sections` are further parts of the spec.
    """
    number = next(_numbers)
    made = _spec(folder, fields, checks or {}, sections or {})
    stores = [
        MemoryStore(f"{side}{number}", "c", capabilities=c) for side, c in (("source", source), ("target", target))
    ]
    dimension = batches[0].column("vector").type.list_size
    for store in stores:
        store.create(CollectionDefinition(dimension, metric, made.fields))
    for batch in batches:
        stores[0].upsert(batch)
    session = Session(
        made,
        Excused(),
        stores[0],
        stores[1],
        Staging(str(folder)),
        "tester",
        "run1",
        Caller(),
        Caller(),  # type: ignore[arg-type]
    )
    plan = _plan(session, partition_rows, dimension, metric)
    built = Built(session, plan)
    stage(built, excused)
    return built


def stage(built: Built, excused: frozenset[tuple[str, str]] = frozenset()) -> None:
    """Write every partition's rows to staging and load them into the target, except the excused ones."""
    if built.plan.listing:
        _list(built)
    for partition in built.plan.partitions:
        rows = [b for span in partition.ranges for b in built.source.scan(span, batch_rows=50)]
        _write_parts(built, partition, rows)
        _write_excused(built, partition, rows, excused)
        for batch in rows:
            keep = [key not in excused for key in _keys(batch)]
            built.target.upsert(batch.filter(pa.array(keep, pa.bool_())))


def _spec(folder: Path, fields: Mapping[str, str], checks: Mapping[str, Any], more: Mapping[str, Any]) -> MigrationSpec:
    raw = {
        "migration": "tested",
        "source": {"connection": "a", "collection": "c"},
        "target": {"connection": "b", "collection": "c"},
        "staging": {"url": str(folder)},
        "writers": "none",
        "fields": fields,
        "checks": checks,
    }
    return MigrationSpec.model_validate(raw | more)


def _plan(session: Session, rows: int, dimension: int, metric: Metric) -> Plan:
    able = session.source.capabilities
    found = session.source.describe().namespaces
    namespaces = sorted(n for n in found if session.spec.namespaces.chosen(n))
    whole = [span for name in namespaces if found[name] > rows for span in session.source.split(name, rows)]
    packed = tuple(KeyRange(name, rows=found[name]) for name in namespaces if found[name] <= rows)
    ranges = [(span,) for span in whole] + ([packed] if packed else [])
    partitions = tuple(Partition(f"p{i:04}", i, spans) for i, spans in enumerate(ranges))
    details = {"namespaces": namespaces, "dimension": dimension, "metric": str(metric), "rows": sum(found.values())}
    listing = "" if able.lists_ranges else "listing"
    return Plan("plan", "tested", "f", able.key_order, listing, None, partitions, details)


def _list(built: Built) -> None:
    listing = begin_listing(built.staged, built.plan.details["namespaces"], built.plan.key_order)
    for name in built.plan.details["namespaces"]:
        listing.write(built.session, name, part_ids=70)


def _write_parts(built: Built, partition: Partition, rows: Sequence[pa.RecordBatch]) -> None:
    parts = []
    for number, batch in enumerate(rows):
        path = f"parts/{partition.name}/part-{number:05}.parquet"
        part = built.staged.write_table(path, batch.schema, [batch])
        parts.append({"path": path, "rows": part.rows, "bytes": part.bytes, "digest": _digest([batch])})
    counts, vectors = Counter[str](), Counter[str]()
    for batch in rows:
        counts.update(batch.column("namespace").to_pylist())
        vectors.update(batch.column("namespace").filter(batch.column("vector").is_valid()).to_pylist())
    manifest = {"rows": sum(map(len, rows)), "digest": _digest(rows), "dimension": built.plan.details["dimension"]}
    built.staged.write_json(
        f"parts/{partition.name}/manifest.json",
        manifest | {"parts": parts, "profile": {}, "namespaces": counts, "vectors": vectors},
    )


def _write_excused(
    built: Built, partition: Partition, rows: Iterable[pa.RecordBatch], excused: frozenset[tuple[str, str]]
) -> None:
    schema = record_schema(built.plan.details["dimension"]).append(pa.field("reason", pa.string()))
    for number, batch in enumerate(rows):
        kept = batch.filter(pa.array([key in excused for key in _keys(batch)], pa.bool_()))
        if len(kept):
            reasons = pa.array(["the id is too long"] * len(kept))
            wider = pa.RecordBatch.from_arrays([*kept.columns, reasons], schema=schema)
            built.staged.write_table(f"excused/{partition.name}-{number:05}.parquet", schema, [wider])
            rows_of = [ExcusedRow(*key, "the id is too long", partition.name) for key in _keys(kept)]
            built.session.journal.rows.extend(rows_of)  # type: ignore[attr-defined]


def _digest(batches: Iterable[pa.RecordBatch]) -> str:
    return f"{digest(print_ for batch in batches for print_ in fingerprints(batch)):032x}"


def _keys(batch: pa.RecordBatch) -> Iterable[tuple[str, str]]:
    return zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)


def in_key_order(batch: pa.RecordBatch, order: KeyOrder) -> pa.RecordBatch:
    """The rows of one batch in the order of their keys."""
    keys = [key_of(order, *key) for key in _keys(batch)]
    return batch.take(pa.array(sorted(range(len(keys)), key=keys.__getitem__), pa.int64()))
