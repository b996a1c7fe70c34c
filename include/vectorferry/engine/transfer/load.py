"""Load: a partition's staged rows are upserted into the target in deterministic batches, each noted once acknowledged."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pyarrow as pa

from vectorferry.core.errors import CheckFailed, GateError, NoRoom, RoomAwaited
from vectorferry.core.model import Partition, Phase, Rejection
from vectorferry.engine.backpressure import CapacityGate
from vectorferry.engine.lease import HeldPartition, hold_partition, wait_landed
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.loaded import LOAD
from vectorferry.engine.transfer.part_reader import BATCH_ROWS
from vectorferry.engine.transfer.sender import Batch, Sender, SentBatch, numbered
from vectorferry.engine.transfer.staged import manifest_of, staged_batches, staged_schema
from vectorferry.journal import Plan

_MOST_IN_FLIGHT = 64  # the most that a spec allows


def load(session: Session, plan: Plan, partition: Partition, waited: float | None = None) -> Mapping[str, int]:
    """Load a partition, going on after the acknowledged batches; does nothing, for ever, once it is loaded.

    Returns {"rows": acknowledged, "excused": n}. Raises CheckFailed where more rows stay behind than the spec allows. Where there is no
    room it waits here, or, given for how many seconds it was `waited` elsewhere, raises RoomAwaited, and after `capacity.wait` NoRoom.
    """
    done = session.journal.attempts.completed(plan.id, partition.name, LOAD)
    if done is None:
        _refuse_phase(session, partition)
        if session.spec.routers:
            session.journal.control.begin_load(session.migration, partition.cohort)
        room = CapacityGate(session, "target", None if waited is None else _waited(session, plan, waited))
        with _told_of_waits(session, plan, partition):
            room.leave_if_full()  # before there is an attempt: the next one sends again what this one may have sent
            with hold_partition(session, plan, partition, LOAD) as work:
                try:
                    _send(session, plan, partition, work, room)
                finally:
                    # Also after an error: nothing is in flight any more, so the next attempt need not wait for this lease to run out.
                    work.finish(session.target_caller.seconds_unanswered(), session.deadline)
        # Rule 5: a request that lands after the partition counts as loaded would overwrite what settle puts later.
        wait_landed(session, partition.name, lambda: _lands_in(session, plan, partition))
        _complete(session, plan, partition)
        done = session.journal.attempts.completed(plan.id, partition.name, LOAD)
        assert done is not None, "complete() committed"
    return {"rows": done.rows, "excused": done.excused}


@contextmanager
def _told_of_waits(session: Session, plan: Plan, partition: Partition) -> Iterator[None]:
    """Note in the journal that the load waits for room while nobody works on it, and no longer once it has given up."""
    note = partial(session.journal.attempts.note_wait, plan.id, partition.name, LOAD)
    try:
        yield
    except RoomAwaited as full:
        note(str(full))
        raise
    except NoRoom:
        note("")
        raise


def _refuse_phase(session: Session, partition: Partition) -> None:
    # After the cut-over the staged rows are old news: writing them would overwrite newer ones.
    phase = session.control(partition.cohort).phase
    if phase is not Phase.TRACK_A:
        raise GateError(
            f"migration {session.migration} is in {phase}: rows are loaded in TRACK_A only, nothing was written"
        )


def _waited(session: Session, plan: Plan, waited: float) -> float:
    """For how many seconds there has been no room: since the last batch of any partition there has been none for longer."""
    since = session.journal.attempts.seconds_since_progress(plan.id, LOAD)
    return waited if since is None else min(waited, since)


def _send(session: Session, plan: Plan, partition: Partition, work: HeldPartition, room: CapacityGate) -> None:
    noted = session.journal.attempts.done_batches(plan.id, partition.name, LOAD)
    rows = sum(p.rows for p in noted.values())
    most = session.spec.budgets.target.in_flight or session.target.capabilities.write_concurrency

    def tell(why: str = "") -> None:
        session.report(StepProgress(LOAD, partition.name, rows, partition.rows, why))

    def land(result: SentBatch) -> None:
        nonlocal rows
        _excuse(session, plan, partition, result)
        work.note(result.batch.number, result.acknowledged, len(result.rejected))
        rows += result.acknowledged
        tell()

    unnoted = (batch for batch in _batches(session, plan, partition) if batch.number not in noted)
    # Batches are sent in order: what an attempt that died had in flight are the first that it did not note.
    waiting = (replace(batch, again=work.resumes and n < _MOST_IN_FLIGHT) for n, batch in enumerate(unnoted))
    judge = partial(_refuse_rejected, session)
    Sender(session.target, most, work.check, room, tell, judge).send(waiting, land)


def _batches(session: Session, plan: Plan, partition: Partition) -> Iterator[Batch]:
    # The limits are the plan's, not today's: another cut would give the numbers to other rows.
    staged = staged_batches(session.staged(plan), partition, BATCH_ROWS)
    return numbered(staged, plan.details["batch_rows"], plan.details["batch_bytes"])


def _refuse_rejected(session: Session, rejected: Sequence[Rejection]) -> None:
    if rejected and session.spec.limits.unheld == "refuse":
        way_out = "leave them behind with `limits.unheld: excuse`, or mend them in the source; then run again, what is loaded stays"
        raise CheckFailed(_too_many(session, rejected, f"limits.unheld is refuse; {way_out}"))


def _excuse(session: Session, plan: Plan, partition: Partition, result: SentBatch) -> None:
    """Write rejected rows to Parquet with the reason, and to the journal as excused, before the batch counts as done."""
    if not result.rejected:
        return
    rejected = sorted(result.rejected, key=lambda each: each.row)
    kept = result.batch.rows.take(pa.array([each.row for each in rejected], pa.int64()))
    schema = staged_schema(plan).append(pa.field("reason", pa.string()))
    column = pa.array([each.reason for each in rejected], pa.string())
    excused = pa.RecordBatch.from_arrays([*kept.columns, column], schema=schema)
    path = f"excused/{partition.name}-{result.batch.number:05}.parquet"
    session.staged(plan).write_table(path, schema, [excused])
    session.journal.records.excuse(plan, partition.name, [(r.namespace, r.id, r.reason) for r in rejected])
    allowed = session.spec.limits.excused
    total = session.journal.records.excused_count(session.migration)
    if total > allowed:
        raise CheckFailed(
            _too_many(
                session,
                rejected,
                f"{total} rows would stay behind, limits.excused allows {allowed}; raise it, or mend the source; then run again",
            )
        )


def _too_many(session: Session, rows: Sequence[Rejection], why: str) -> str:
    shown = "; ".join(f"{r.namespace or '(default)'}/{r.id}: {r.reason}" for r in rows[:5])
    return f"{session.target.name} rejects {len(rows)} rows of a batch ({shown}): {why}"


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
