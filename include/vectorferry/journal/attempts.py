"""Attempts: a worker's lease on one step of one partition, its progress, and when nothing it sent can land any more.

Several attempts at the same step may be alive at once: a new one begins without waiting, and from then on the older ones can
neither renew nor record progress. What they sent may still land, which `settled_at` accounts for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.core.errors import LeaseLost, PlanMismatch
from vectorferry.journal.audit import note
from vectorferry.journal.database import Database
from vectorferry.journal.tables import Time, ahead, attempt, clock, plan, progress, seconds_until, step_done
from vectorferry.journal.tables import partition as planned

Detail = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One worker's try; `number` counts from 1 within the step of the partition."""

    id: int
    plan_id: str
    partition: str
    step: str
    owner: str
    number: int


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """One batch that was acknowledged."""

    batch: int
    rows: int
    excused: int
    detail: Detail | None = None


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step of a partition that is complete."""

    rows: int
    excused: int
    detail: Detail = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepState:
    """How far a step of a partition is. Running: an attempt holds its lease; pending: nobody does, and it is not done."""

    partition: str
    step: str
    state: Literal["pending", "running", "done"]
    rows: int
    excused: int
    updated_at: datetime | None


class Attempts:
    """The attempts, their progress, and the steps that are done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, plan_id: str, partition: str, step: str, owner: str, lease_seconds: float) -> Attempt:
        """Begin an attempt, which ends the authority of all earlier ones; raises PlanMismatch if the plan is not live."""
        with self._database.transaction() as connection:
            _require_live(connection, plan_id)
            # Two workers that begin at once get different numbers, and the later number wins.
            key = sa.func.hashtextextended(f"{plan_id}\n{partition}\n{step}", 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            last = sa.select(sa.func.max(attempt.c.number)).where(*_at(attempt, plan_id, partition, step))
            new = (
                sa.insert(attempt)
                .values(
                    plan_id=plan_id,
                    partition=partition,
                    step=step,
                    owner=owner,
                    number=sa.func.coalesce(last.scalar_subquery(), 0) + 1,
                    lease_until=ahead(lease_seconds),
                )
                .returning(attempt.c.id, attempt.c.number)
            )
            row = connection.execute(new).one()
        return Attempt(row.id, plan_id, partition, step, owner, row.number)

    def renew(self, held: Attempt, lease_seconds: float) -> None:
        """Extend the lease to some seconds from now; raises LeaseLost. A lapsed lease cannot be renewed.

        A worker counts its lease from before it called, on its own clock.
        """
        update = sa.update(attempt).where(_holds(held)).values(lease_until=ahead(lease_seconds))
        with self._database.statement() as connection:
            if connection.execute(update).rowcount == 0:
                raise LeaseLost(_why_lost(connection, held))

    def progress(self, held: Attempt, batch: int, rows: int, excused: int = 0, detail: Detail | None = None) -> None:
        """Record that a batch was acknowledged; recording it again is fine. Raises LeaseLost, recording nothing."""
        batch_values = [sa.literal(each) for each in (batch, rows, excused)]
        source = sa.select(
            attempt.c.plan_id,
            attempt.c.partition,
            attempt.c.step,
            *batch_values,
            sa.literal(detail, progress.c.detail.type),
            clock(),
        ).where(_holds(held))
        columns = ["plan_id", "partition", "step", "batch", "rows", "excused", "detail", "at"]
        new = insert(progress).from_select(columns, source)
        changed = {name: new.excluded[name] for name in columns[4:]}
        kept = new.on_conflict_do_update(index_elements=progress.primary_key, set_=changed)
        with self._database.statement() as connection:
            if connection.execute(kept.returning(progress.c.batch)).first() is None:
                raise LeaseLost(_why_lost(connection, held))

    def done_batches(self, plan_id: str, partition: str, step: str) -> dict[int, BatchProgress]:
        """The batches acknowledged so far, by number, whoever sent them."""
        query = sa.select(progress).where(*_at(progress, plan_id, partition, step)).order_by(progress.c.batch)
        with self._database.statement() as connection:
            rows = connection.execute(query)
            return {row.batch: BatchProgress(row.batch, row.rows, row.excused, row.detail) for row in rows}

    def seconds_since_progress(self, plan_id: str, step: str) -> float | None:
        """How long ago the last batch of any partition was acknowledged, None where none was yet."""
        query = sa.select(-seconds_until(sa.func.max(progress.c.at)))
        with self._database.statement() as connection:
            seconds = connection.scalar(query.where(progress.c.plan_id == plan_id, progress.c.step == step))
        return None if seconds is None else float(seconds)

    def finish(
        self, held: Attempt, *, unanswered_seconds_ago: float | None, settle_after: float, detail: Detail | None = None
    ) -> None:
        """End an attempt cleanly, also one that was superseded; ending it again changes nothing.

        `unanswered_seconds_ago` is the age of the last request that got no answer (None: all were answered), `settle_after`
        the seconds after which such a request can no longer take effect (D).
        """
        wait = 0.0 if unanswered_seconds_ago is None else max(0.0, settle_after - unanswered_seconds_ago)
        update = (
            sa.update(attempt)
            .where(attempt.c.id == held.id, attempt.c.finished_at.is_(None))
            .values(finished_at=clock(), settled_at=ahead(wait), detail=detail)
        )
        with self._database.statement() as connection:
            connection.execute(update)

    def settled_at(self, plan_id: str, partition: str, step: str, deadline_seconds: float) -> float:
        """Seconds until no request of any attempt at this step can land; 0 if that is so already.

        An attempt that has not ended counts as if it died now: its lease, and then the deadline D, must pass.
        """
        return self._lands_in(deadline_seconds, *_at(attempt, plan_id, partition, step))

    def all_settled_at(self, migration: str, deadline_seconds: float) -> float:
        """As `settled_at`, over all steps of all plans of a migration, retired ones included."""
        plans = sa.select(plan.c.id).where(plan.c.migration == migration)
        return self._lands_in(deadline_seconds, attempt.c.plan_id.in_(plans))

    def _lands_in(self, deadline_seconds: float, *where: sa.ColumnElement[bool]) -> float:
        after_death = attempt.c.lease_until + sa.literal(timedelta(seconds=deadline_seconds), sa.Interval)
        last = sa.func.max(sa.func.coalesce(attempt.c.settled_at, after_death, type_=Time))
        with self._database.statement() as connection:
            return max(0.0, connection.scalar(sa.select(seconds_until(last)).where(*where)) or 0.0)

    def complete(
        self, plan_id: str, partition: str, step: str, rows: int, excused: int, detail: Detail | None = None
    ) -> None:
        """Record that a step is done, for good: a second call changes nothing."""
        values = {"plan_id": plan_id, "partition": partition, "step": step, "rows": rows, "excused": excused}
        with self._database.statement() as connection:
            connection.execute(insert(step_done).values(**values, detail=dict(detail or {})).on_conflict_do_nothing())

    def completed(self, plan_id: str, partition: str, step: str) -> StepDone | None:
        """What was recorded when the step was done, None if it is not."""
        query = sa.select(step_done).where(*_at(step_done, plan_id, partition, step))
        with self._database.statement() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else StepDone(row.rows, row.excused, row.detail, row.at)

    def incomplete(self, plan_id: str, step: str) -> list[str]:
        """Names of the plan's partitions for which a step is not done, in the plan's order."""
        done = sa.select(step_done.c.partition).where(step_done.c.plan_id == plan_id, step_done.c.step == step)
        query = sa.select(planned.c.name).where(planned.c.plan_id == plan_id, planned.c.name.not_in(done))
        with self._database.statement() as connection:
            return list(connection.scalars(query.order_by(planned.c.index)))

    def reset(self, plan_id: str, partition: str, step: str, *, actor: str = "journal") -> None:
        """Undo `complete` and `progress`, for a reload; lapses the evidence. Attempts stay: their requests may still land."""
        with self._database.transaction() as connection:
            for table in (progress, step_done):
                connection.execute(sa.delete(table).where(*_at(table, plan_id, partition, step)))
            migration = connection.execute(sa.select(plan.c.migration).where(plan.c.id == plan_id)).scalar_one()
            note(connection, migration, actor, "reset", {"plan": plan_id, "partition": partition, "step": step})

    def note_wait(self, plan_id: str, partition: str, step: str, why: str) -> None:
        """Note on the newest attempt, where there is one, that nobody works on the step because it waits, and since when; an empty `why`
        takes this back."""
        newest = sa.select(sa.func.max(attempt.c.id)).where(*_at(attempt, plan_id, partition, step))
        told = sa.func.jsonb_build_object("waits", why, "at", clock()) if why else sa.null()
        update = sa.update(attempt).where(attempt.c.id == newest.scalar_subquery()).values(detail=told)
        with self._database.statement() as connection:
            connection.execute(update)

    def waiting(self, plan_id: str, most_seconds: float) -> frozenset[tuple[str, str]]:
        """Partition and step of what waits, as was noted on the newest attempt within so many seconds."""
        found = {"plan": plan_id, "most": most_seconds}
        with self._database.statement() as connection:
            return frozenset((row.partition, row.step) for row in connection.execute(_WAITING, found))

    def states(self, plan_id: str) -> dict[tuple[str, str], Literal["pending", "running", "done"]]:
        """The state of each step that was begun, by partition and step: what `summary` says without counting rows."""
        with self._database.statement() as connection:
            return {(row.partition, row.step): row.state for row in connection.execute(_STATES, {"plan": plan_id})}

    def summary(self, plan_id: str) -> list[StepState]:
        """Every partition by every step that was begun anywhere in the plan, in the plan's order."""
        with self._database.statement() as connection:
            rows = connection.execute(_SUMMARY, {"plan": plan_id})
            return [StepState(*row) for row in rows]


_STATES = sa.text("""
    SELECT partition, step, CASE WHEN bool_or(done) THEN 'done' WHEN bool_or(live) THEN 'running' ELSE 'pending' END AS state
    FROM (
        SELECT partition, step, false AS done, finished_at IS NULL AND lease_until > clock_timestamp() AS live
        FROM vectorferry.attempt WHERE plan_id = :plan
        UNION ALL SELECT partition, step, true, false FROM vectorferry.step_done WHERE plan_id = :plan
    ) AS each GROUP BY partition, step
""")

_WAITING = sa.text("""
    SELECT partition, step FROM (
        SELECT DISTINCT ON (partition, step) partition, step, detail::jsonb AS detail
        FROM vectorferry.attempt WHERE plan_id = :plan ORDER BY partition, step, number DESC
    ) AS newest
    WHERE detail ? 'waits' AND (detail ->> 'at')::timestamptz > clock_timestamp() - make_interval(secs => :most)
""")

_SUMMARY = sa.text("""
    WITH steps AS (
        SELECT partition, step, max(began_at) AS at, min(id) AS first,
            bool_or(finished_at IS NULL AND lease_until > clock_timestamp()) AS live
        FROM vectorferry.attempt WHERE plan_id = :plan GROUP BY partition, step
    ), sums AS (
        SELECT partition, step, sum(rows)::bigint AS rows, sum(excused)::bigint AS excused, max(at) AS at
        FROM vectorferry.progress WHERE plan_id = :plan GROUP BY partition, step
    ), done AS (
        SELECT partition, step, rows, excused, at FROM vectorferry.step_done WHERE plan_id = :plan
    ), known AS (
        SELECT step, min(first) AS first
        FROM (SELECT step, first FROM steps UNION ALL SELECT step, NULL FROM done) AS each GROUP BY step
    ), keys AS (
        SELECT p.name AS partition, known.step
        FROM vectorferry.partition AS p CROSS JOIN known WHERE p.plan_id = :plan
        UNION SELECT partition, step FROM steps
        UNION SELECT partition, step FROM done
    )
    SELECT partition, step,
        CASE WHEN done.at IS NOT NULL THEN 'done' WHEN steps.live THEN 'running' ELSE 'pending' END,
        coalesce(done.rows, sums.rows, 0), coalesce(done.excused, sums.excused, 0),
        coalesce(done.at, greatest(sums.at, steps.at))
    FROM keys
    JOIN known USING (step)
    LEFT JOIN steps USING (partition, step)
    LEFT JOIN sums USING (partition, step)
    LEFT JOIN done USING (partition, step)
    LEFT JOIN vectorferry.partition AS p ON p.plan_id = :plan AND p.name = keys.partition
    ORDER BY p.index, keys.partition, known.first, keys.step
""")


def _at(table: sa.FromClause, plan_id: str, partition: str, step: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.plan_id == plan_id, table.c.partition == partition, table.c.step == step


def _holds(held: Attempt) -> sa.ColumnElement[bool]:
    newer = attempt.alias("newer")
    superseded = sa.exists().where(*_at(newer, held.plan_id, held.partition, held.step), newer.c.number > held.number)
    mine = sa.and_(attempt.c.id == held.id, attempt.c.finished_at.is_(None), attempt.c.lease_until > clock())
    return sa.and_(mine, ~superseded)


def _require_live(connection: sa.Connection, plan_id: str) -> None:
    # The lock makes retiring or forgetting the plan wait for this beginning, or this beginning see it.
    query = sa.select(plan.c.migration, plan.c.retired_at).where(plan.c.id == plan_id)
    row = connection.execute(query.with_for_update(read=True)).one_or_none()
    if row is None:
        raise PlanMismatch(f"there is no plan {plan_id} in the journal: it was abandoned, or never saved")
    if row.retired_at is not None:
        raise PlanMismatch(f"plan {plan_id} of {row.migration!r} was retired at {row.retired_at:%Y-%m-%d %H:%M:%S %Z}")


def _why_lost(connection: sa.Connection, held: Attempt) -> str:
    what = f"attempt {held.number} of {held.owner} at {held.step} of {held.partition}"
    query = sa.select(attempt).where(*_at(attempt, held.plan_id, held.partition, held.step))
    rows = connection.execute(query.order_by(attempt.c.number)).all()
    mine = next((row for row in rows if row.id == held.id), None)
    if mine is None:
        return f"{what} is no longer in the journal: the migration was abandoned"
    if rows[-1].id != held.id:
        return f"{what} was superseded by attempt {rows[-1].number} of {rows[-1].owner}"
    if mine.finished_at is not None:
        return f"{what} was finished at {mine.finished_at:%H:%M:%S %Z}"
    return f"{what} lapsed at {mine.lease_until:%H:%M:%S %Z}: begin a new one"
