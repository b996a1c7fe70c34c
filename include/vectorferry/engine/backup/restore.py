"""Restore: checks a backup, loads it into a new collection of any product, and reads it back in full."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import CheckFailed, GateError, NotFound
from vectorferry.core.model import CollectionInfo, Rejection, Verdict
from vectorferry.core.records import fingerprints, keys_of
from vectorferry.engine.backup.format import Backup
from vectorferry.engine.backup.verify import Key, compare_part, verify
from vectorferry.engine.parallel import AdaptiveWindow, send_all
from vectorferry.engine.session import Report, StepProgress, silent
from vectorferry.engine.signoff.gate import require_passed
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import by_namespace, cut
from vectorferry.stores.caller import permitted_by
from vectorferry.stores.row_limits import unholdable, without

_SHOWN = 5


@dataclass(frozen=True)
class Rules:
    """How a restore goes on.

    `excused`: most records that may stay behind. `resume`: go on with a restore of the same backup that was cut short. `index`: index
    settings in the words of the product, instead of the recorded ones. `check` is called before each request that writes, `room` before
    each batch: it raises where no more should be written.
    """

    excused: int = 0
    resume: bool = False
    index: Mapping[str, Any] | None = None
    check: Callable[[], None] = field(default=lambda: None)
    room: Callable[[], None] = field(default=lambda: None)
    report: Report = silent


PLAIN = Rules()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: rows, seconds, and what stayed behind, with its reason and its fingerprint."""

    rows: int
    seconds: float
    excused: tuple[Rejection, ...] = ()
    fingerprints: Mapping[Key, int] = field(default_factory=dict)

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
    collection that is not empty or not alike, CheckFailed for records that cannot be held, and where the restored collection differs.
    """
    loaded = load(backup, store, rules)
    verdict = verify(backup, store, loaded.fingerprints, rules.report)
    require_passed([verdict])
    return Restored(loaded, verdict, tuple(_notes(backup, store, rules)))


def load(backup: Backup, store: VectorStore, rules: Rules = PLAIN) -> Loaded:
    """Check the backup, make the collection where it is missing, and load every record; raises as `restore` does."""
    _examine(backup, store, rules)
    existing = _existing(store)
    if existing is not None:
        _refuse_unlike(backup, store, existing, rules)
    else:
        store.create(backup.manifest.collection.definition(store.capabilities.product, rules.index))
    return _send(backup, store, rules)


def _examine(backup: Backup, store: VectorStore, rules: Rules) -> None:
    """Read all parts: damaged ones, and more records that the store cannot hold than may stay behind, are found before a write."""
    able, misfits, seen = store.capabilities, list[Rejection](), 0

    def see(batch: pa.RecordBatch) -> None:
        nonlocal seen
        seen += len(batch)
        found = unholdable(batch, able)
        misfits.extend(found[: max(0, rules.excused + _SHOWN - len(misfits))])
        rules.report(StepProgress("check backup", backup.manifest.id, seen, backup.manifest.rows))

    backup.check(see)
    if len(misfits) > rules.excused:
        raise CheckFailed(_too_many(store, misfits, rules))


def _too_many(store: VectorStore, rows: Sequence[Rejection], rules: Rules) -> str:
    shown = "; ".join(f"{r.namespace or '(default)'}/{r.id}: {r.reason}" for r in rows[:_SHOWN])
    return f"{store.name} does not take more than the {rules.excused} records that may stay behind, as {shown}"


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
    if found.rows and not rules.resume:
        raise GateError(
            f"{store.name} is not empty ({found.rows} rows): name another collection, or use --resume where a restore of this "
            "backup was cut short"
        )
    if found.rows:
        _refuse_foreign(backup, store, rules)


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

    def send(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int, tuple[Rejection, ...]]:
        rules.room()
        with permitted_by(rules.check):
            return batch, *_put(store, batch, again=rules.resume)

    def land(result: tuple[pa.RecordBatch, int, tuple[Rejection, ...]]) -> None:
        nonlocal rows
        batch, acknowledged, rejected = result
        left.extend(rejected)
        left_fingerprints.update(_fingerprints_of(batch, rejected))
        if len(left) > rules.excused:
            raise CheckFailed(_too_many(store, left, rules))
        rows += acknowledged
        rules.report(StepProgress("restore", store.name, rows, backup.manifest.rows))

    send_all(_pieces(backup, store), send, land, AdaptiveWindow(able.write_concurrency), lambda: store.usage.throttled)
    return Loaded(rows, time.monotonic() - began, tuple(left), left_fingerprints)


def _pieces(backup: Backup, store: VectorStore) -> Iterator[pa.RecordBatch]:
    able = store.capabilities
    return (piece for batch in backup.batches() for piece in cut(batch, able.max_batch_rows, able.max_batch_bytes))


def _put(store: VectorStore, batch: pa.RecordBatch, *, again: bool) -> tuple[int, tuple[Rejection, ...]]:
    """Put a batch; rows acknowledged, and those that stay behind."""
    misfits = unholdable(batch, store.capabilities)
    fitting = without(batch, misfits)
    if not len(fitting):
        return 0, tuple(misfits)
    if again and store.capabilities.resend_after_delete:
        for namespace, rows in by_namespace(fitting):
            store.delete(namespace, rows.column("id").to_pylist())
    result = store.upsert(fitting)
    return result.acknowledged, (*misfits, *result.rejected)


def _fingerprints_of(batch: pa.RecordBatch, rejected: Sequence[Rejection]) -> dict[Key, int]:
    if not rejected:
        return {}
    keys = {(each.namespace, each.id) for each in rejected}
    return {key: value for key, value in zip(keys_of(batch), fingerprints(batch), strict=True) if key in keys}


def _notes(backup: Backup, store: VectorStore, rules: Rules) -> Iterator[str]:
    """What a person should know of the restored collection."""
    recorded = backup.manifest.collection
    if recorded.index and rules.index is None and recorded.product != store.capabilities.product:
        yield f"its index has the default settings of {store.capabilities.product}: those recorded are of {recorded.product}"
    if pending := store.pending_index():
        yield f"{pending} vectors are stored, and not yet searchable"
