"""Fingerprint spill: reads one side once and writes keys and fingerprints to staging by buckets, to be joined bucket by bucket.

Where a side declares a tolerance, its vectors are in a sketch beside the fingerprint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vectorferry.core.equality import Equality
from vectorferry.core.errors import GateError
from vectorferry.core.model import SIDES, KeyRange, Side
from vectorferry.core.records import fingerprint_bytes, past, sketch_bytes
from vectorferry.engine.reconcile.run_state import ReconciliationRun
from vectorferry.engine.session import StepProgress
from vectorferry.stores.base import VectorStore
from vectorferry.stores.mapped import key_in

PART_ROWS = 50_000
# Of a large collection more: each bucket is looked for in every part.
MOST_PARTS = 100
BUCKET_ROWS = 200_000
_BATCH_ROWS = 1_000
_SCHEMA = pa.schema(
    [
        pa.field("bucket", pa.int32()),
        pa.field("namespace", pa.string()),
        pa.field("id", pa.string()),
        pa.field("fingerprint", pa.binary(16)),
    ]
)
# As bytes: a join carries no lists.
_SKETCHED = _SCHEMA.append(pa.field("sketch", pa.binary()))


@dataclass(frozen=True)
class Spilled:
    """How far a side is: parts and rows committed, `vectors` of them with one, and the last record, in the namespace of that number."""

    parts: tuple[str, ...] = ()
    rows: int = 0
    namespace: int = 0
    last: str | None = None
    ended: bool = False
    vectors: int = 0


def buckets_for(rows: int) -> int:
    """How many buckets hold so many rows of a side, so that a bucket of both sides fits into memory."""
    return max(1, -(-rows // BUCKET_ROWS))


def spill(reading: ReconciliationRun, side: Side, namespaces: Sequence[str], rows: int) -> bool:
    """Read the rest of a side; False where a ceiling was reached before its end. Goes on after the last committed part."""
    done = spilled(reading, side)
    waiting: list[pa.RecordBatch] = []
    vectors = 0
    at, part_rows = done.namespace, max(PART_ROWS, rows // MOST_PARTS)
    equality = equality_of(reading)
    for at, batch in _batches(reading.session.store(side), namespaces, done):
        waiting.append(_row_fingerprints(batch, reading.get("buckets"), equality))
        vectors += len(batch) - batch.column("vector").null_count
        if sum(map(len, waiting)) >= part_rows:
            done = _commit(reading, side, done, at, waiting, vectors)
            waiting, vectors = [], 0
            if reading.exhausted():
                return False
        reading.check()
        reading.session.report(StepProgress("reconcile", side, done.rows + sum(map(len, waiting)), rows))
    if waiting:
        done = _commit(reading, side, done, at, waiting, vectors)
    _keep(reading, side, replace(done, ended=True))
    return True


def equality_of(reading: ReconciliationRun) -> Equality:
    """When two records of both sides are equal."""
    return Equality.between(*(reading.session.store(side).capabilities for side in SIDES))


def spilled(reading: ReconciliationRun, side: Side) -> Spilled:
    """How far a side is."""
    found: Mapping[str, Any] = reading.get(side, {})
    return Spilled(**{**found, "parts": tuple(found.get("parts", ()))})


def _keep(reading: ReconciliationRun, side: Side, done: Spilled) -> None:
    reading.keep(**{side: asdict(done)})


def _batches(store: VectorStore, namespaces: Sequence[str], done: Spilled) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the number of their namespace, after the last committed record."""
    if done.ended:
        return
    for number in range(done.namespace, len(namespaces)):
        last = done.last if number == done.namespace else None
        for batch in scan_after(store, namespaces[number], last, _BATCH_ROWS):
            if len(batch):
                yield number, batch


def scan_after(store: VectorStore, namespace: str, last: str | None, rows: int) -> Iterator[pa.RecordBatch]:
    """Records of a namespace in key order, those after the id `last` where it is given."""
    start = None if last is None else key_in(store, namespace, last)
    for batch in store.scan(KeyRange(namespace, start), batch_rows=rows):
        _require_keepable(store, batch)
        yield past(batch, last)


def _require_keepable(store: VectorStore, batch: pa.RecordBatch) -> None:
    """Raise GateError for what only other hands can have written: the journal, a PostgreSQL, has no place for it."""
    for column in (batch.column("namespace"), batch.column("id")):
        odd = column.filter(pc.match_substring(column, "\0"))
        if len(odd):
            raise GateError(
                f"{store.name} holds {odd[0].as_py()!r} (namespace {batch.column('namespace')[0].as_py()!r}): a NUL in an id or a "
                "namespace cannot be tracked. Nothing was changed; delete it with the database's own client, and reconcile again"
            )


def _row_fingerprints(batch: pa.RecordBatch, buckets: int, equality: Equality) -> pa.RecordBatch:
    ids = batch.column("id")
    columns = [
        _buckets(ids, buckets),
        batch.column("namespace"),
        ids,
        pa.array(fingerprint_bytes(batch, equality), pa.binary(16)),
    ]
    if equality.exact:
        return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
    return pa.RecordBatch.from_arrays(
        [*columns, pa.array(sketch_bytes(batch, equality), pa.binary())], schema=_SKETCHED
    )


def _buckets(ids: pa.Array, buckets: int) -> pa.Array:
    if buckets == 1:
        return pa.array(np.zeros(len(ids), np.int32))
    return pa.array([xxhash.xxh3_64_intdigest(id_) % buckets for id_ in ids.cast(pa.binary()).to_pylist()], pa.int32())


def _commit(
    reading: ReconciliationRun, side: Side, done: Spilled, at: int, batches: Sequence[pa.RecordBatch], vectors: int
) -> Spilled:
    reading.check()
    table = pa.Table.from_batches(batches)
    last = table.column("id")[-1].as_py()
    # In the order of its buckets, a part is read for one of them without its other row groups.
    sorted_ = table.sort_by("bucket").combine_chunks()
    # Under a name of its own: a worker that was taken over from may still write, and what it writes is in no list.
    part = f"{side}/{len(done.parts):05}-{reading.run.worker[:8]}.parquet"
    reading.folder.write_table(part, sorted_.schema, sorted_.to_batches())
    grown = Spilled((*done.parts, part), done.rows + len(table), at, last, vectors=done.vectors + vectors)
    # Kept only now: a killed reader writes this part again, from the same record on.
    _keep(reading, side, grown)
    return grown


def bucket_of(reading: ReconciliationRun, side: Side, number: int) -> pa.Table:
    """Rows of a side in one bucket: namespace, id, fingerprint and, where a side has a tolerance, sketch."""
    schema = _SCHEMA if equality_of(reading).exact else _SKETCHED
    columns = [name for name in schema.names if name != "bucket"]
    tables = [reading.folder.read_bucket(part, "bucket", number, columns) for part in spilled(reading, side).parts]
    return pa.concat_tables([pa.schema([schema.field(name) for name in columns]).empty_table(), *tables])
