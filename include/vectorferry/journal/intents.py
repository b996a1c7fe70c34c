"""Intents: what a router is about to write, committed before it is sent, and closed once nothing of it can land.

Between the two the id is dirty: the follower may lack it. Closing leaves it so for a settler, unless a mirrored write was certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from vectorferry.core.errors import LeaseLost
from vectorferry.core.model import Phase
from vectorferry.journal.database import Database

MOST_KEY_BYTES = 2_600
"""Of migration, namespace and id together: an entry of PostgreSQL's index has room for 2,704 bytes."""


@dataclass(frozen=True, slots=True)
class Write:
    """Who is about to write where: a member, a cohort of a migration, the phase that the operation began in, one namespace."""

    migration: str
    cohort: str
    member: str
    phase: Phase
    namespace: str


@dataclass(frozen=True, slots=True)
class Intent:
    """One id of a write. `mirrorable`: a mirrored write may clean the id, because it was clean, and loaded, when this was opened.

    A clean id has no other open intent: opening makes an id dirty, and nothing cleans it while one is open. `excused`: the other side
    rejects what the source has under this id.
    """

    id: str
    generation: int
    mirrorable: bool
    loads: int
    excused: bool


class Intents:
    """The intents of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, write: Write, ids: Sequence[str], *, seconds: float = 60.0) -> dict[str, Intent]:
        """Commit the intent to write these ids, in one round trip; raises LeaseLost where the member may not write.

        It ends by itself after some seconds, in which the writer must be done, D included: an intent whose writer never heard of it
        would keep the authority from moving for ever.
        """
        values = {**_values(write), "ids": sorted(set(ids)), "seconds": seconds}
        with self._database.statement() as connection:
            rows = connection.execute(_OPEN, values).all()
        if not rows:
            raise LeaseLost(f"router {write.member} has no lease, or is not in {write.phase}: it must join again")
        return {
            row.id: Intent(row.id, row.generation, row.loaded and not row.was_dirty, row.loads, row.excused)
            for row in rows
        }

    def clear_excused(self, write: Write, intents: Sequence[Intent]) -> None:
        """End the excuse of ids that the authority has taken as they were written, before the caller hears of it.

        Later would be too late: a settler that finds a deleted id excused leaves the old record where it is.
        """
        values = {**_values(write), "ids": [intent.id for intent in intents]}
        with self._database.statement() as connection:
            connection.execute(_LIFT, values)

    def close(self, write: Write, intents: Sequence[Intent], *, mirrored: Sequence[Intent] = ()) -> None:
        """Close intents of which nothing can land any more. What was `mirrored` for certain becomes clean where nothing came between."""
        sure = {intent.id: intent for intent in mirrored if intent.mirrorable}
        values = {
            **_values(write),
            "ids": [intent.id for intent in intents],
            "generations": [intent.generation for intent in intents],
            "loads": [sure[intent.id].loads if intent.id in sure else -1 for intent in intents],
        }
        with self._database.statement() as connection:
            connection.execute(_CLOSE, values)

    def leave_open(self, intents: Sequence[Intent], seconds: float) -> None:
        """Keep intents open for the time in which a request without an answer may still take effect; then they end by themselves."""
        values = {"generations": [intent.generation for intent in intents], "seconds": seconds}
        with self._database.statement() as connection:
            connection.execute(_LEAVE_OPEN, values)


def unrecordable(write: Write, ids: Sequence[str]) -> str:
    """Why the journal cannot keep one of these ids; empty where it can keep them all. Asks nobody."""
    return next(filter(None, (_unrecordable(write, id_) for id_ in ids)), "")


def _unrecordable(write: Write, id_: str) -> str:
    if "\0" in id_ or "\0" in write.namespace:
        return f"{id_!r} of namespace {write.namespace!r} holds a NUL, which the journal cannot keep"
    try:
        size = sum(len(text.encode()) for text in (write.migration, write.namespace, id_))
    except UnicodeEncodeError:
        return f"{id_!r} of namespace {write.namespace!r} is not Unicode text"
    if size > MOST_KEY_BYTES:
        return f"namespace and id {id_[:40]!r}… take {size} bytes, the journal keeps {MOST_KEY_BYTES}"
    return ""


def _values(write: Write) -> dict[str, object]:
    return {
        "migration": write.migration,
        "cohort": write.cohort,
        "member": write.member,
        "phase": write.phase.value,
        "namespace": write.namespace,
    }


# The generation is drawn under the lock of the id's row, also where two writes meet there: the newest has the highest. What the
# row was before is read under the same lock, for the statement's own view of it may be older.
_OPEN = sa.text("""
    WITH me AS (
        SELECT FROM vectorferry.member m JOIN vectorferry.member_phase p ON p.member = m.id AND p.cohort = :cohort
        WHERE m.id = :member AND m.evicted_at IS NULL AND m.lease_until > clock_timestamp()
            AND :phase IN (p.phase, p.draining)
    ), touched AS (
        INSERT INTO vectorferry.record_state AS r
            (migration, cohort, namespace, id, generation, dirty, was_dirty, last_write)
        SELECT :migration, :cohort, :namespace, given.id, nextval('vectorferry.generation'), true, false, clock_timestamp()
        FROM me, unnest(CAST(:ids AS text[])) WITH ORDINALITY AS given (id, place) ORDER BY given.place
        ON CONFLICT (migration, namespace, id) DO UPDATE SET
            generation = nextval('vectorferry.generation'), was_dirty = r.dirty, dirty = true,
            last_write = clock_timestamp(), cohort = excluded.cohort
        RETURNING id, generation, was_dirty, excused
    ), opened AS (
        INSERT INTO vectorferry.intent (generation, migration, cohort, namespace, id, member, phase, closed_at)
        SELECT generation, :migration, :cohort, :namespace, id, :member, :phase,
            clock_timestamp() + :seconds * interval '1 s' FROM touched
    )
    SELECT touched.*, c.loaded, c.loads
    FROM touched, vectorferry.control c WHERE c.migration = :migration AND c.cohort = :cohort
""")

# Everybody locks records in the order of their ids, so that no two can wait for each other. A dirty id stays dirty if it was
# written since (another generation), if a load began since, or if a settler has it, as after this member's eviction: clean, it would
# let the authority move under the settler's last write.
_CLOSE = sa.text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:generations AS bigint[]), CAST(:loads AS bigint[]))
            AS g (id, generation, loads)
    ), closed AS (
        DELETE FROM vectorferry.intent i USING given WHERE i.generation = given.generation
    ), mine AS MATERIALIZED (
        SELECT r.id, given.generation, given.loads FROM vectorferry.record_state r JOIN given USING (id, generation)
        WHERE r.migration = :migration AND r.namespace = :namespace AND given.loads >= 0 ORDER BY r.id FOR UPDATE OF r
    )
    UPDATE vectorferry.record_state r SET
        dirty = r.dirty AND NOT c.loaded, cleaned_at = clock_timestamp()
    FROM mine, vectorferry.control c
    WHERE c.migration = :migration AND c.cohort = :cohort
        AND r.migration = :migration AND r.namespace = :namespace AND r.id = mine.id
        AND r.generation = mine.generation AND c.loads = mine.loads AND r.claim IS NULL
""")

_LIFT = sa.text("""
    UPDATE vectorferry.record_state SET excused = false
    WHERE migration = :migration AND namespace = :namespace AND id = ANY (CAST(:ids AS text[])) AND excused
""")

_LEAVE_OPEN = sa.text("""
    UPDATE vectorferry.intent SET closed_at = clock_timestamp() + :seconds * interval '1 s'
    WHERE generation = ANY (CAST(:generations AS bigint[]))
""")
