"""Export: a partition's records stream from the source into Parquet parts and one manifest."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vectorferry.engine.listing import range_pages
from vectorferry.engine.partitioning import key_of
from vectorferry.engine.profile import Profile
from vectorferry.engine.rows import keys_of
from vectorferry.engine.session import Progress, Session
from vectorferry.engine.truth import partition_truth
from vectorferry.engine.working import Work, working
from vectorferry.errors import RecordError, StagingCorrupt
from vectorferry.journal import Plan
from vectorferry.model import KeyRange, Partition
from vectorferry.records import digest, dimension_of, fingerprints, record_schema
from vectorferry.staging import Staging
from vectorferry.stores.batching import refuse_unsendable

STEP = "export"
BATCH_ROWS = 1_000


def manifest_path(partition: Partition) -> str:
    """Where a partition's manifest lies."""
    return f"parts/{partition.name}/manifest.json"


def export(session: Session, plan: Plan, partition: Partition) -> Mapping[str, Any]:
    """Export a partition, going on after the last committed part; does nothing where it is complete. Returns the manifest."""
    manifest = stage(session, plan, partition)
    partition_truth(session, plan, partition)
    return manifest


def stage(session: Session, plan: Plan, partition: Partition) -> Mapping[str, Any]:
    """The export without its exact neighbours: Parquet parts and their manifest, which is returned."""
    staged = session.staged(plan)
    if session.journal.attempts.completed(plan.id, partition.name, STEP) is None:
        with working(session, plan, partition, STEP) as work:
            contents = _write_parts(session, plan, partition, work)
            manifest = _manifest(session, plan, partition, contents)
            staged.write_json(manifest_path(partition), manifest)
            work.finish(None, 0.0)
        session.journal.attempts.complete(
            plan.id, partition.name, STEP, manifest["rows"], 0, {"digest": manifest["digest"]}
        )
    found: Mapping[str, Any] = staged.read_json(manifest_path(partition))
    return found


@dataclass
class _Contents:
    """What the records of some parts are like: seen while the source is read, so that it costs no time of its own."""

    paths: set[str] = field(default_factory=set)
    profile: Profile = field(default_factory=Profile)
    namespaces: Counter[str] = field(default_factory=Counter)

    def see(self, path: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Count the records of one part."""
        self.paths.add(path)
        for batch in batches:
            self.profile.see(batch.column("metadata").to_pylist())
            self.namespaces.update(batch.column("namespace").to_pylist())


@dataclass(frozen=True)
class _Part:
    """Records to be written as one file, and in which of the partition's ranges they end."""

    number: int
    path: str
    span: int
    batches: list[pa.RecordBatch]


@dataclass(frozen=True)
class _Written:
    """A part that is committed, and what the journal is told of it."""

    number: int
    rows: int
    detail: Mapping[str, Any]


def _write_parts(session: Session, plan: Plan, partition: Partition, work: Work) -> _Contents:
    """Write the parts that are not there yet; returns what these are like."""
    contents = _Contents()
    done = session.journal.attempts.done_batches(plan.id, partition.name, STEP)
    staged = session.staged(plan)
    number, rows = len(done), sum(p.rows for p in done.values())
    resume = dict(done[number - 1].detail or {}) if done else None
    # While one part is written, the next is read.
    with ThreadPoolExecutor(1, thread_name_prefix="parts") as pool:
        writing: Future[_Written] | None = None
        for span, part in _parts(session, plan, partition, resume):
            work.check()
            if writing is not None:
                rows = _note(session, partition, work, writing.result(), rows)
            path = f"parts/{partition.name}/part-{number:05}.parquet"
            writing = pool.submit(_write, staged, plan, contents, _Part(number, path, span, part))
            number += 1
        if writing is not None:
            _note(session, partition, work, writing.result(), rows)
    return contents


def _write(staged: Staging, plan: Plan, contents: _Contents, part: _Part) -> _Written:
    prints = [print_ for batch in part.batches for print_ in fingerprints(batch)]
    written = staged.write_table(part.path, record_schema(plan.details["dimension"]), part.batches)
    contents.see(part.path, part.batches)
    last = part.batches[-1].column("id")[-1].as_py()
    detail = {
        "path": part.path,
        "bytes": written.bytes,
        "digest": f"{digest(prints):032x}",
        "range": part.span,
        "last": last,
    }
    return _Written(part.number, written.rows, detail)


def _note(session: Session, partition: Partition, work: Work, written: _Written, before: int) -> int:
    # Noted only once the file is committed: a killed worker writes this part again, and nothing else.
    work.note(written.number, written.rows, detail=written.detail)
    session.report(Progress(STEP, partition.name, before + written.rows, partition.rows))
    return before + written.rows


def _parts(
    session: Session, plan: Plan, partition: Partition, resume: Mapping[str, Any] | None
) -> Iterator[tuple[int, list[pa.RecordBatch]]]:
    first = int(resume["range"]) if resume else 0
    at, waiting = first, list[pa.RecordBatch]()
    for number in range(first, len(partition.ranges)):
        last = str(resume["last"]) if resume and number == first else None
        for batch in _scan(session, plan, partition.ranges[number], last):
            _refuse_wrong(session, plan, batch)
            waiting.append(batch)
            at = number  # where the part ends, so where the next attempt goes on: ranges after it may be empty
            if sum(map(len, waiting)) >= session.spec.partitions.part_rows:
                yield at, waiting
                waiting = []
    if waiting:
        yield at, waiting


def _scan(session: Session, plan: Plan, span: KeyRange, last: str | None) -> Iterator[pa.RecordBatch]:
    """Batches of a range after the record `last`, which is scanned once more and left out."""
    if last is not None:
        start = key_of(plan.key_order, span.namespace, last)
        span = KeyRange(span.namespace, start, span.end, span.rows)
    pages = range_pages(session, plan, span)
    rows = min(BATCH_ROWS, session.spec.partitions.part_rows)
    for batch in _ascending(session, plan, session.source.scan(span, batch_rows=rows, ids=pages)):
        kept = batch
        if last is not None and len(batch) and batch.column("id")[0].as_py() == last:
            kept = batch.slice(1)
        if len(kept):
            yield kept


def _ascending(session: Session, plan: Plan, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, whose keys must ascend: an export that goes on after a key would lose what was stored under another."""
    last = ""
    for batch in batches:
        for namespace, id_ in keys_of(batch):
            key = key_of(plan.key_order, namespace, id_)
            if key <= last:
                raise RecordError(
                    f"{session.source.name}: namespace {namespace!r}, id {id_!r} comes out of key order: there is a second record "
                    "of that id, or this one was not stored under its own key; delete one of them in the source"
                )
            last = key
        yield batch


def _refuse_wrong(session: Session, plan: Plan, batch: pa.RecordBatch) -> None:
    found = dimension_of(batch.schema)
    if found != plan.details["dimension"]:
        raise RecordError(
            f"{session.source.name}: vectors have {found} dimensions, the plan says {plan.details['dimension']}"
        )
    refuse_unsendable(batch)


def _manifest(session: Session, plan: Plan, partition: Partition, contents: _Contents) -> dict[str, Any]:
    done = session.journal.attempts.done_batches(plan.id, partition.name, STEP)
    parts = [
        {"rows": done[n].rows} | {k: (done[n].detail or {})[k] for k in ("path", "bytes", "digest")}
        for n in sorted(done)
    ]
    for part in parts:
        if part["path"] not in contents.paths:  # an earlier attempt's
            contents.see(part["path"], part_batches(session.staged(plan), [part], ["namespace", "metadata"]))
    return {
        "partition": partition.name,
        "rows": sum(p["rows"] for p in parts),
        "digest": f"{digest(int(p['digest'], 16) for p in parts):032x}",
        "dimension": plan.details["dimension"],
        "parts": parts,
        "namespaces": dict(sorted(contents.namespaces.items())),
        "profile": contents.profile.figures(),
    }


def part_batches(
    staged: Staging, parts: list[dict[str, Any]], columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches of staged parts, in order; raises StagingCorrupt where a part has other rows than its manifest says."""
    for part in parts:
        rows = 0
        for batch in staged.read_batches(part["path"], BATCH_ROWS, columns):
            rows += len(batch)
            yield batch
        if rows != part["rows"]:
            raise StagingCorrupt(f"{staged.locate(part['path'])} has {rows} rows, its manifest says {part['rows']}")
