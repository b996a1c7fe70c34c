"""Record states: which single records are excused, dirty, touched or open."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.journal.database import Database
from vectorferry.journal.plans import Plan
from vectorferry.journal.tables import SCHEMA, ahead, clock, intent, member, record_state

PAGE = 1000


class ExcusedRow(NamedTuple):
    """A record that the target does not hold, or not completely, and why; never deleted or overwritten in the source."""

    namespace: str
    id: str
    reason: str
    partition: str


class TouchedRow(NamedTuple):
    """A record that was written, or marked dirty, and by which write last."""

    namespace: str
    id: str
    generation: int
    excused: bool


class State(NamedTuple):
    """What a record is now: its newest write, and whether the follower may lack it or a write may still land."""

    generation: int
    unsettled: bool


class RecordStates:
    """The record states of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def excuse(self, plan: Plan, partition: str, rows: Sequence[tuple[str, str, str]]) -> None:
        """Excuse records, given as (namespace, id, reason); excusing one again takes the newer reason."""
        # One order for everybody, so that two writers cannot wait for each other.
        reasons = sorted({(row[0], row[1]): row[2] for row in rows}.items())
        with self._database.transaction() as connection:
            for page in (reasons[at : at + PAGE] for at in range(0, len(reasons), PAGE)):
                new = insert(record_state).values([_excused(plan.migration, partition, *each) for each in page])
                changed = {name: new.excluded[name] for name in ("partition", "excused", "reason")}
                connection.execute(new.on_conflict_do_update(index_elements=record_state.primary_key, set_=changed))

    def excuse_rejected(self, migration: str, namespace: str, id: str, generation: int, reason: str) -> bool:  # noqa: A002
        """Excuse a dirty record as its write `generation` left it; False where it was written, or became clean, since, or where a write
        of it may still land.

        It stays dirty until a settler has made the other side as excused records are left.
        """
        c = record_state.c
        lands = sa.exists().where(_open(migration), intent.c.namespace == namespace, intent.c.id == id)
        key = sa.and_(c.migration == migration, c.namespace == namespace, c.id == id)
        found = sa.and_(key, c.generation == generation, c.dirty, ~lands)
        change = sa.update(record_state).where(found).values(excused=True, reason=reason)
        with self._database.statement() as connection:
            return connection.execute(change).rowcount == 1

    def excused(self, migration: str, partition: str | None = None) -> Iterator[ExcusedRow]:
        """The excused records, of one partition where it is named, by namespace and id, read page by page."""
        c = record_state.c
        query = sa.select(c.namespace, c.id, sa.func.coalesce(c.reason, ""), sa.func.coalesce(c.partition, ""))
        query = query.where(c.migration == migration, c.excused)
        rows = self._by_key(query if partition is None else query.where(c.partition == partition))
        return (ExcusedRow._make(row) for row in rows)

    def excused_count(self, migration: str) -> int:
        """How many records are excused."""
        return self._count(record_state, record_state.c.migration == migration, record_state.c.excused)

    def watermark(self) -> int:
        """The newest generation handed out, 0 before the first."""
        with self._database.statement() as connection:
            return int(connection.execute(_NEWEST).scalar_one())

    def quiet_watermark(self, migration: str) -> int:
        """A generation up to which no write of this migration can land any more: what is read from now on has them all."""
        with self._database.transaction() as connection:
            # A generation is drawn before its intent can be seen: the lock waits until there is none in between.
            connection.execute(sa.text(f"LOCK TABLE {SCHEMA}.intent IN SHARE MODE"))
            newest = connection.execute(_NEWEST).scalar_one()
            oldest_open = connection.scalar(sa.select(sa.func.min(intent.c.generation)).where(_open(migration)))
        return int(newest if oldest_open is None else oldest_open - 1)

    def touched(self, migration: str, generation: int, *, after: tuple[str, str] | None = None) -> Iterator[TouchedRow]:
        """The records written, or marked dirty, after this generation, by namespace and id, read page by page.

        Those after the key `after`, (namespace, id), where it is given.
        """
        c = record_state.c
        query = sa.select(c.namespace, c.id, c.generation, c.excused)
        rows = self._by_key(query.where(c.migration == migration, c.generation > generation), after)
        return (TouchedRow._make(row) for row in rows)

    def touched_sample(self, migration: str, generation: int, most: int) -> tuple[TouchedRow, ...]:
        """At most so many of the records touched after this generation, drawn anew at each call."""
        c = record_state.c
        query = sa.select(c.namespace, c.id, c.generation, c.excused).order_by(sa.func.random()).limit(most)
        with self._database.statement() as connection:
            rows = connection.execute(query.where(c.migration == migration, c.generation > generation))
            return tuple(sorted(TouchedRow(*row) for row in rows))

    def touched_among(self, migration: str, generation: int, namespace: str, ids: Sequence[str]) -> frozenset[str]:
        """Which of these ids were touched after this generation.

        An id that was not, when this is asked after it was read, was read as it has been since that generation: an intent comes first.
        """
        c = record_state.c
        query = sa.select(c.id).where(c.migration == migration, c.namespace == namespace, c.generation > generation)
        with self._database.statement() as connection:
            pages = (ids[at : at + PAGE] for at in range(0, len(ids), PAGE))
            return frozenset(id_ for page in pages for id_ in connection.scalars(query.where(c.id.in_(page))))

    def states(self, migration: str, namespace: str, ids: Sequence[str]) -> dict[str, State]:
        """What these records are now; those that nobody wrote are left out."""
        c = record_state.c
        lands = sa.exists().where(_open(migration), intent.c.namespace == c.namespace, intent.c.id == c.id)
        query = sa.select(c.id, c.generation, sa.or_(c.dirty, lands)).where(
            c.migration == migration, c.namespace == namespace
        )
        with self._database.statement() as connection:
            pages = (ids[at : at + PAGE] for at in range(0, len(ids), PAGE))
            rows = (row for page in pages for row in connection.execute(query.where(c.id.in_(page))))
            return {id_: State(*rest) for id_, *rest in rows}

    def unsettled_lately(self, migration: str, namespace: str, ids: Sequence[str], seconds: float) -> frozenset[str]:
        """Which of these ids the follower need not have had, at some moment of the last `seconds`, as the authority had them.

        They are dirty or excused, a write of them may still land, or one was opened or settled in that time.
        """
        c, begin = record_state.c, ahead(-seconds)
        lands = sa.exists().where(_open(migration), intent.c.namespace == c.namespace, intent.c.id == c.id)
        lately = sa.or_(c.dirty, c.excused, c.last_write > begin, c.cleaned_at > begin, lands)
        query = sa.select(c.id).where(c.migration == migration, c.namespace == namespace, lately)
        with self._database.statement() as connection:
            pages = (ids[at : at + PAGE] for at in range(0, len(ids), PAGE))
            return frozenset(id_ for page in pages for id_ in connection.scalars(query.where(c.id.in_(page))))

    def touched_since(self, migration: str, generation: int) -> int:
        """How many records were written, or marked dirty, after this generation."""
        return self._count(record_state, record_state.c.migration == migration, record_state.c.generation > generation)

    def dirty_count(self, migration: str) -> int:
        """How many records the follower may lack."""
        return self._count(record_state, record_state.c.migration == migration, record_state.c.dirty)

    def open_intents(self, migration: str) -> int:
        """How many writes may still take effect."""
        return self._count(intent, _open(migration))

    def live_claims(self, migration: str) -> int:
        """How many records a settler may still write."""
        c = record_state.c
        return self._count(record_state, c.migration == migration, c.claim.is_not(None), c.claim_until > clock())

    def end_tracking(self, migration: str) -> None:
        """Forget which records were written: in DONE nobody settles any more. What is excused is kept."""
        with self._database.transaction() as connection:
            connection.execute(sa.delete(intent).where(intent.c.migration == migration))
            connection.execute(
                sa.delete(record_state).where(record_state.c.migration == migration, ~record_state.c.excused)
            )

    def _by_key(self, query: sa.Select[Any], after: tuple[str, str] | None = None) -> Iterator[sa.Row[Any]]:
        """The rows of a query that begins with namespace and id, in their order, page by page."""
        c = record_state.c
        ordered = query.order_by(c.namespace, c.id).limit(PAGE)
        while True:
            rest = ordered
            if after is not None:
                rest = ordered.where(sa.tuple_(c.namespace, c.id) > sa.tuple_(*map(sa.literal, after)))
            with self._database.statement() as connection:
                page = connection.execute(rest).all()
            yield from page
            if len(page) < PAGE:
                return
            after = (page[-1][0], page[-1][1])

    def _count(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        with self._database.statement() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one())


_NEWEST = sa.text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {SCHEMA}.generation")  # noqa: S608


def _open(migration: str) -> sa.ColumnElement[bool]:
    """Intents whose writes may still take effect; those of an evicted member cannot."""
    evicted = sa.exists().where(member.c.id == intent.c.member, member.c.evicted_at.is_not(None))
    still = sa.or_(intent.c.closed_at.is_(None), intent.c.closed_at > clock())
    return sa.and_(intent.c.migration == migration, still, ~evicted)


def _excused(migration: str, partition: str, record: tuple[str, str], reason: str) -> dict[str, object]:
    namespace, id = record  # noqa: A001 (the record's own name for it)
    return {
        "migration": migration,
        "namespace": namespace,
        "id": id,
        "partition": partition,
        "excused": True,
        "reason": reason,
    }
