"""Restore: checks a backup, loads it into a new collection of any product, and reads it back in full."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import CheckFailed, GateError, NotFound
from vectorferry.core.model import CollectionInfo, Rejection, Verdict
from vectorferry.core.records import fingerprints, keys_of
from vectorferry.core.vector_columns import unlike_vectors
from vectorferry.engine.backup.format import Backup
from vectorferry.engine.backup.verify import Key, compare_part, verify
from vectorferry.engine.session import Report, StepProgress, silent
from vectorferry.engine.signoff.gate import require_passed
from vectorferry.engine.transfer.sender import Room, Sender, SentBatch, Unlimited, numbered
from vectorferry.stores.base import VectorStore

_SHOWN = 5


@dataclass(frozen=True)
class Rules:
    """How a restore goes on.

    `excused`: most records that may stay behind. `resume`: go on with a restore of the same backup that was cut short. `index`: index
    settings in the words of the product, instead of the recorded ones. `check` is called before each request that writes, `room` is
    waited for before each batch.
    """

    excused: int = 0
    resume: bool = False
    index: Mapping[str, Any] | None = None
    check: Callable[[], None] = field(default=lambda: None)
    room: Room = field(default_factory=Unlimited)
    report: Report = silent


PLAIN = Rules()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: rows, seconds, and what stayed behind, with its reason and its fingerprint."""

    rows: int
    seconds: float
    excused: tuple[Rejection, ...] = ()
    fingerprints: Mapping[Key, int] = field(default_factory=dict)
    unkept: tuple[str, ...] = ()
    """Namespaces without records, which the database cannot keep so."""

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore; the verdict has passed. `notes` are for people."""

    loaded: Loaded
    verdict: Verdict
    notes: tuple[str, ...] = ()


def restore(backup: Backup, store: VectorStore, rules: Rules = PLAIN) -> Restored:
    """Load a backup into a collection that does not exist yet, or is empty, and read every record back.

    Before anything is written, every part is read and its digest compared. Raises StagingCorrupt for a damaged backup, GateError for a
    collection that is not empty or not alike, CheckFailed for records that the store rejects, and where the restored collection differs.
    """
    loaded = load(backup, store, rules)
    verdict = verify(backup, store, loaded.fingerprints, rules.report, unkept=loaded.unkept)
    require_passed([verdict])
    return Restored(loaded, verdict, tuple(_notes(backup, store, rules, loaded.unkept)))


def load(backup: Backup, store: VectorStore, rules: Rules = PLAIN) -> Loaded:
    """Check the backup, make the collection where it is missing, and load every record; raises as `restore` does."""
    existing = _existing(store)
    if existing is not None:
        _refuse_unlike(backup, store, existing, rules)
    _examine(backup, store, rules)
    if existing is None:
        store.create(backup.manifest.collection.definition(store.capabilities.product, rules.index))
    elif existing.rows:
        _refuse_foreign(backup, store, rules)
    loaded = _send(backup, store, rules)
    if not (empty := backup.manifest.empty):
        return loaded
    rules.check()
    return replace(loaded, unkept=tuple(store.make_namespaces(empty)))


def _examine(backup: Backup, store: VectorStore, rules: Rules) -> None:
    """Read all parts: damaged ones, and more records that the store rejects than may stay behind, are found before a write."""
    rejected, seen = list[Rejection](), 0

    def see(batch: pa.RecordBatch) -> None:
        nonlocal seen
        seen += len(batch)
        found = store.rejections(batch)
        rejected.extend(found[: max(0, rules.excused + _SHOWN - len(rejected))])
        rules.report(StepProgress("check backup", backup.manifest.id, seen, backup.manifest.rows))

    backup.check(see)
    if len(rejected) > rules.excused:
        raise CheckFailed(_too_many(store, rejected, rules))


def _too_many(store: VectorStore, rows: Sequence[Rejection], rules: Rules) -> str:
    shown = "; ".join(f"{r.namespace or '(default)'}/{r.id}: {r.reason}" for r in rows[:_SHOWN])
    return f"{store.name} rejects more than the {rules.excused} records that may stay behind, as {shown}"


def _existing(store: VectorStore) -> CollectionInfo | None:
    try:
        return store.describe()
    except NotFound:
        return None


def _refuse_unlike(backup: Backup, store: VectorStore, found: CollectionInfo, rules: Rules) -> None:
    wanted = backup.manifest.collection
    if found.dimension not in (None, wanted.dimension) or found.metric is not wanted.metric:
        raise GateError(
            f"{store.name} has {found.dimension} dimensions and measures by {found.metric}, the backup's collection "
            f"{wanted.dimension} and {wanted.metric}: name another collection"
        )
    if unlike := next(unlike_vectors(wanted.named, found.named), ""):
        raise GateError(f"{store.name} {unlike}: name another collection")
    if found.rows and not rules.resume:
        raise GateError(
            f"{store.name} is not empty ({found.rows} rows): name another collection, or use --resume where a restore of this "
            "backup was cut short"
        )


def _refuse_foreign(backup: Backup, store: VectorStore, rules: Rules) -> None:
    """What is there already must be of this backup, or a restore that goes on would write over what is newer."""
    found = compare_part(backup, store, rules.report)
    if not found.equal:
        raise GateError(
            f"{store.name} holds what the backup does not hold, so it is no restore of it that was cut short: {found.differences[0]}"
        )


def _send(backup: Backup, store: VectorStore, rules: Rules) -> Loaded:
    able, began = store.capabilities, time.monotonic()
    left: list[Rejection] = []
    left_fingerprints: dict[Key, int] = {}
    rows = 0

    def tell(why: str = "") -> None:
        rules.report(StepProgress("restore", store.name, rows, backup.manifest.rows, why))

    def land(result: SentBatch) -> None:
        nonlocal rows
        left.extend(result.rejected)
        left_fingerprints.update(_fingerprints_of(result.batch.rows, result.rejected))
        if len(left) > rules.excused:
            raise CheckFailed(_too_many(store, left, rules))
        rows += result.acknowledged
        tell()

    pieces = numbered(backup.batches(), able.max_batch_rows, able.max_batch_bytes)
    batches = (replace(piece, again=rules.resume) for piece in pieces)
    Sender(store, able.write_concurrency, rules.check, rules.room, tell).send(batches, land)
    return Loaded(rows, time.monotonic() - began, tuple(left), left_fingerprints)


def _fingerprints_of(batch: pa.RecordBatch, rejected: Sequence[Rejection]) -> dict[Key, int]:
    if not rejected:
        return {}
    keys = {(each.namespace, each.id) for each in rejected}
    return {key: value for key, value in zip(keys_of(batch), fingerprints(batch), strict=True) if key in keys}


def _notes(backup: Backup, store: VectorStore, rules: Rules, unkept: Sequence[str]) -> Iterator[str]:
    """What a person should know of the restored collection."""
    recorded = backup.manifest.collection
    if recorded.index and rules.index is None and recorded.product != store.capabilities.product:
        yield f"its index has the default settings of {store.capabilities.product}: those recorded are of {recorded.product}"
    if unkept:
        shown = ", ".join(name or "(default)" for name in unkept[:_SHOWN]) + (", …" if len(unkept) > _SHOWN else "")
        yield f"{len(unkept)} namespaces without records are not there ({shown}): {store.name} has a namespace once it has a record"
    if pending := store.pending_index():
        yield f"{pending} vectors are stored, and not yet searchable"
