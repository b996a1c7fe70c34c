"""Export: streams a partition's records from the source into Parquet parts and one manifest."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import CheckFailed
from vectorferry.core.model import Partition
from vectorferry.core.records import digest, fingerprints
from vectorferry.core.vector_columns import column_name, named_counts
from vectorferry.engine.lease import HeldPartition, hold_partition
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.listing import pages_of
from vectorferry.engine.transfer.metadata_profile import Profile
from vectorferry.engine.transfer.part_reader import BATCH_ROWS, PartReader, Place, write_behind
from vectorferry.engine.transfer.staged import (
    manifest_of,
    manifest_path,
    part_batches,
    planned_vectors,
    staged_schema,
)
from vectorferry.journal import Plan, StepDone
from vectorferry.staging import Staging
from vectorferry.stores.mapped import mapping_of
from vectorferry.stores.row_limits import first_reasons

STEP = "export"


def export(session: Session, plan: Plan, partition: Partition) -> Mapping[str, Any]:
    """Export a partition to Parquet parts, going on after the last committed one; does nothing where it is complete.

    Returns the manifest.
    """
    staged = session.staged(plan)
    done = session.journal.attempts.completed(plan.id, partition.name, STEP)
    if done is None:
        with hold_partition(session, plan, partition, STEP) as work:
            contents = _write_parts(session, plan, partition, work)
            manifest = _manifest(session, plan, partition, contents)
            path = f"parts/{partition.name}/manifest-{work.number}.json"
            staged.write_json(path, manifest)
            work.finish(None, 0.0)
        detail = {"digest": manifest["digest"], "manifest": path}
        session.journal.attempts.complete(plan.id, partition.name, STEP, manifest["rows"], 0, detail)
        done = session.journal.attempts.completed(plan.id, partition.name, STEP)
        assert done is not None, "complete() committed"
    _publish(staged, partition, done)
    return manifest_of(staged, partition)


def _publish(staged: Staging, partition: Partition, done: StepDone) -> None:
    """Put the manifest that the journal names under the name that is read: another attempt may have ended first, and it counts."""
    if "manifest" in done.detail:  # an export of an earlier release has only the one that is read
        staged.write_json(manifest_path(partition), staged.read_json(done.detail["manifest"]))


@dataclass
class _Contents:
    """What the records of some parts are like: seen while the source is read, so that it costs no time of its own."""

    paths: set[str] = field(default_factory=set)
    profile: Profile = field(default_factory=Profile)
    namespaces: Counter[str] = field(default_factory=Counter)
    vectors: Counter[str] = field(default_factory=Counter)
    named: dict[str, Counter[str]] = field(default_factory=dict)

    def see(self, path: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Count the records of one part."""
        self.paths.add(path)
        for batch in batches:
            self.profile.see(batch.column("metadata").to_pylist())
            self.namespaces.update(batch.column("namespace").to_pylist())
            self.vectors.update(batch.column("namespace").filter(batch.column("vector").is_valid()).to_pylist())
            for namespace, counts in named_counts(batch).items():
                self.named.setdefault(namespace, Counter()).update(counts)


@dataclass(frozen=True)
class _Part:
    """Records to be written as one file, and where in the partition they end."""

    number: int
    path: str
    end: Place
    batches: list[pa.RecordBatch]


@dataclass(frozen=True)
class _Written:
    """A part that is committed, and what the journal is told of it."""

    number: int
    rows: int
    detail: Mapping[str, Any]


def _write_parts(session: Session, plan: Plan, partition: Partition, work: HeldPartition) -> _Contents:
    """Write the parts that are not there yet; returns what these are like."""
    contents = _Contents()
    done = session.journal.attempts.done_batches(plan.id, partition.name, STEP)
    rows = sum(p.rows for p in done.values())
    last = dict(done[len(done) - 1].detail or {}) if done else None
    after = Place(int(last["range"]), str(last["last"])) if last else None
    read = _reading(session, plan).parts(partition.ranges, after)
    for written in write_behind(
        _numbered(partition, work, read, len(done)), lambda part: _write(session, plan, contents, part)
    ):
        rows = _note(session, partition, work, written, rows)
    return contents


def _reading(session: Session, plan: Plan) -> PartReader:
    dimension, rows = plan.details["dimension"], session.spec.partitions.part_rows
    return PartReader(session.source, plan.key_order, dimension, rows, pages_of(session, plan), planned_vectors(plan))


def _numbered(
    partition: Partition, work: HeldPartition, read: Iterator[tuple[Place, list[pa.RecordBatch]]], first: int
) -> Iterator[_Part]:
    for number, (end, batches) in enumerate(read, first):
        work.check()
        # Named by the attempt: what a worker that was superseded still writes replaces no part that its successor has noted.
        yield _Part(number, f"parts/{partition.name}/part-{number:05}-{work.number}.parquet", end, batches)


def _write(session: Session, plan: Plan, contents: _Contents, part: _Part) -> _Written:
    _require_mappable(session, part.batches)
    staged = session.staged(plan)
    values = [value for batch in part.batches for value in fingerprints(batch)]
    written = staged.write_table(part.path, staged_schema(plan), part.batches)
    contents.see(part.path, part.batches)
    detail = {
        "path": part.path,
        "bytes": written.bytes,
        "digest": f"{digest(values):032x}",
        "range": part.end.span,
        "last": part.end.last,
    }
    return _Written(part.number, written.rows, detail)


def _require_mappable(session: Session, batches: Iterable[pa.RecordBatch]) -> None:
    """Raise CheckFailed for records that the mapping cannot carry: found here, none of their partition has been sent."""
    if session.spec.limits.unheld == "excuse":  # the load leaves them behind, each with its reason
        return
    for batch in batches:
        if found := first_reasons(batch, mapping_of(session.spec).unfit(batch)):
            shown = "; ".join(f"{each.namespace or '(default)'}/{each.id}: {each.reason}" for each in found[:5])
            raise CheckFailed(
                f"the mapping cannot carry {len(found)} of {len(batch)} records read ({shown}). Nothing of this partition was sent: mend "
                "the records or `mapping`, or leave them behind with `limits.unheld: excuse`"
            )


def _note(session: Session, partition: Partition, work: HeldPartition, written: _Written, before: int) -> int:
    # Noted only once the file is committed: a killed worker writes this part again, and nothing else.
    work.note(written.number, written.rows, detail=written.detail)
    session.report(StepProgress(STEP, partition.name, before + written.rows, partition.rows))
    return before + written.rows


def _manifest(session: Session, plan: Plan, partition: Partition, contents: _Contents) -> dict[str, Any]:
    done = session.journal.attempts.done_batches(plan.id, partition.name, STEP)
    parts = [
        {"rows": done[n].rows} | {k: (done[n].detail or {})[k] for k in ("path", "bytes", "digest")}
        for n in sorted(done)
    ]
    for part in parts:
        if part["path"] not in contents.paths:  # an earlier attempt's
            columns = ["namespace", "vector", "metadata", *map(column_name, planned_vectors(plan).values())]
            contents.see(part["path"], part_batches(session.staged(plan), [part], BATCH_ROWS, columns))
    named = {"named": contents.named} if contents.named else {}
    return named | {
        "partition": partition.name,
        "rows": sum(p["rows"] for p in parts),
        "digest": f"{digest(int(p['digest'], 16) for p in parts):032x}",
        "dimension": plan.details["dimension"],
        "parts": parts,
        "namespaces": dict(sorted(contents.namespaces.items())),
        "vectors": dict(sorted(contents.vectors.items())),
        "profile": contents.profile.figures(),
    }
