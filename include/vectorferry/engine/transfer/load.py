"""Load: a partition's staged rows are upserted into the target in deterministic batches, each noted once acknowledged."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from vectorferry.core.errors import CheckFailed, GateError, RetryableError
from vectorferry.core.model import Partition, Phase, Rejection
from vectorferry.core.records import record_schema
from vectorferry.engine.backpressure import CapacityGate
from vectorferry.engine.lease import HeldPartition, hold_partition, wait_landed
from vectorferry.engine.parallel import AdaptiveWindow, send_all
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.loaded import LOAD
from vectorferry.engine.transfer.part_reader import BATCH_ROWS
from vectorferry.engine.transfer.staged import manifest_of, staged_batches
from vectorferry.journal import Plan
from vectorferry.stores.batching import by_namespace, cut
from vectorferry.stores.caller import permitted_by
from vectorferry.stores.row_limits import unholdable, without

_MOST_IN_FLIGHT = 64  # the most that a spec allows


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of the partition: its number, which never changes for a plan, its rows, and whether it may have been sent before."""

    number: int
    rows: pa.RecordBatch
    again: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """Outcome of a batch: rows acknowledged, and rows that stay behind with the reason."""

    batch: Batch
    acknowledged: int
    excused: tuple[Rejection, ...]


def load(session: Session, plan: Plan, partition: Partition) -> Mapping[str, int]:
    """Load a partition, going on after the acknowledged batches; does nothing, for ever, once it is loaded.

    Returns {"rows": acknowledged, "excused": n}. Raises CheckFailed where more rows stay behind than the spec allows.
    """
    done = session.journal.attempts.completed(plan.id, partition.name, LOAD)
    if done is None:
        _refuse_phase(session, partition)
        if session.spec.routers:
            session.journal.control.begin_load(session.migration, partition.cohort)
        with hold_partition(session, plan, partition, LOAD) as work:
            try:
                _send(session, plan, partition, work)
            finally:
                # Also after an error: nothing is in flight any more, so the next attempt need not wait for this lease to run out.
                work.finish(_unanswered(session), session.deadline)
        # Rule 5: a request that lands after the partition counts as loaded would overwrite what settle puts later.
        wait_landed(session, partition.name, lambda: _lands_in(session, plan, partition))
        _complete(session, plan, partition)
        done = session.journal.attempts.completed(plan.id, partition.name, LOAD)
        assert done is not None, "complete() committed"
    return {"rows": done.rows, "excused": done.excused}


def _refuse_phase(session: Session, partition: Partition) -> None:
    # After the cut-over the staged rows are old news: writing them would overwrite newer ones.
    phase = session.control(partition.cohort).phase
    if phase is not Phase.TRACK_A:
        raise GateError(
            f"migration {session.migration} is in {phase}: rows are loaded in TRACK_A only, nothing was written"
        )


def _send(session: Session, plan: Plan, partition: Partition, work: HeldPartition) -> None:
    noted = session.journal.attempts.done_batches(plan.id, partition.name, LOAD)
    rows = sum(p.rows for p in noted.values())
    most = session.spec.budgets.target.in_flight or session.target.capabilities.write_concurrency

    room = CapacityGate(session, "target")

    def tell(why: str) -> None:
        session.report(StepProgress(LOAD, partition.name, rows, partition.rows, why))

    def send(batch: Batch) -> Loaded:
        began = time.monotonic()
        room.wait(work.check, tell)
        try:
            with permitted_by(work.check):
                return _upsert(session, batch)
        except RetryableError:
            # A database that becomes read-only fails the writes in flight: they are sent again once it takes them.
            if not room.blocked_since(began):
                raise
        return send(replace(batch, again=True))

    def land(result: Loaded) -> None:
        nonlocal rows
        _set_aside(session, plan, partition, result)
        work.note(result.batch.number, result.acknowledged, len(result.excused))
        rows += result.acknowledged
        session.report(StepProgress(LOAD, partition.name, rows, partition.rows))

    unnoted = (batch for batch in batches(session, plan, partition) if batch.number not in noted)
    # Batches are sent in order: what an attempt that died had in flight are the first that it did not note.
    waiting = (replace(batch, again=work.resumes and n < _MOST_IN_FLIGHT) for n, batch in enumerate(unnoted))
    send_all(waiting, send, land, AdaptiveWindow(most), lambda: session.target.usage.throttled)


def batches(session: Session, plan: Plan, partition: Partition) -> Iterator[Batch]:
    """The partition's batches: the same rows under the same numbers at every attempt."""
    # The limits are the plan's, not today's: another cut would give the numbers to other rows.
    limits = plan.details["batch_rows"], plan.details["batch_bytes"]
    staged = staged_batches(session.staged(plan), partition, BATCH_ROWS)
    slices = (piece for batch in staged for piece in cut(batch, *limits))
    return (Batch(number, rows) for number, rows in enumerate(slices))


def _upsert(session: Session, batch: Batch) -> Loaded:
    misfits = unholdable(batch.rows, session.target.capabilities)
    if misfits and session.spec.limits.unheld == "refuse":
        raise CheckFailed(_too_many(session, misfits, "limits.unheld is refuse"))
    fitting = without(batch.rows, misfits)
    if not len(fitting):
        return Loaded(batch, 0, tuple(misfits))
    if batch.again and session.target.capabilities.resend_after_delete:
        for namespace, rows in by_namespace(fitting):
            session.target.delete(namespace, rows.column("id").to_pylist())
    result = session.target.upsert(fitting)
    return Loaded(batch, result.acknowledged, (*misfits, *result.rejected))


def _set_aside(session: Session, plan: Plan, partition: Partition, result: Loaded) -> None:
    """Write excused rows to Parquet with the reason, and to the journal, before the batch counts as done."""
    if not result.excused:
        return
    reasons = {(r.namespace, r.id): r.reason for r in result.excused}
    keys = zip(
        result.batch.rows.column("namespace").to_pylist(), result.batch.rows.column("id").to_pylist(), strict=True
    )
    rows = [n for n, key in enumerate(keys) if key in reasons]
    kept = result.batch.rows.take(pa.array(rows, pa.int64()))
    schema = record_schema(plan.details["dimension"]).append(pa.field("reason", pa.string()))
    named = zip(kept.column("namespace").to_pylist(), kept.column("id").to_pylist(), strict=True)
    column = pa.array([reasons[key] for key in named], pa.string())
    excused = pa.RecordBatch.from_arrays([*kept.columns, column], schema=schema)
    path = f"excused/{partition.name}-{result.batch.number:05}.parquet"
    session.staged(plan).write_table(path, schema, [excused])
    session.journal.records.excuse(plan, partition.name, [(r.namespace, r.id, r.reason) for r in result.excused])
    allowed = session.spec.limits.excused
    total = sum(1 for _ in session.journal.records.excused(session.migration))
    if total > allowed:
        raise CheckFailed(
            _too_many(session, result.excused, f"{total} rows would stay behind, limits.excused allows {allowed}")
        )


def _too_many(session: Session, rows: tuple[Rejection, ...] | list[Rejection], why: str) -> str:
    shown = "; ".join(f"{r.namespace or '(default)'}/{r.id}: {r.reason}" for r in rows[:5])
    return f"{session.target.name} cannot hold {len(rows)} rows of a batch ({shown}): {why}"


def _unanswered(session: Session) -> float | None:
    at = session.target_caller.unanswered_at
    return None if at is None else time.monotonic() - at


def _lands_in(session: Session, plan: Plan, partition: Partition) -> float:
    return session.journal.attempts.settled_at(plan.id, partition.name, LOAD, session.deadline)


def _complete(session: Session, plan: Plan, partition: Partition) -> None:
    noted = session.journal.attempts.done_batches(plan.id, partition.name, LOAD)
    rows, excused = sum(p.rows for p in noted.values()), sum(p.excused for p in noted.values())
    staged = manifest_of(session.staged(plan), partition)["rows"]
    if rows + excused != staged:
        raise CheckFailed(
            f"{partition.name}: {staged} rows staged, but {rows} upserted + {excused} excused; clear this task"
        )
    session.journal.attempts.complete(plan.id, partition.name, LOAD, rows, excused, {})
