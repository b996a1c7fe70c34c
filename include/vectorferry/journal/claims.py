"""Claims: dirty ids that one settler works on, so that no two of them write the same record at a time."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import sqlalchemy as sa

from vectorferry.core.errors import PhaseConflict
from vectorferry.core.model import Phase
from vectorferry.journal.database import Database


@dataclass(frozen=True, slots=True)
class Claimed:
    """A dirty id; `generation` is what it had when it was claimed."""

    namespace: str
    id: str
    generation: int
    excused: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Ids of one cohort, held under `token`; `phase` says which side has the authority for as long as one of them is dirty."""

    migration: str
    cohort: str
    token: str
    phase: Phase
    ids: tuple[Claimed, ...]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What stands between a cohort and a change of authority; `oldest_open` is the age in seconds of the oldest open write.

    `rejected` of the dirty records the follower did not take at the last try, and nobody has written or excused them since.
    """

    dirty: int
    open: int
    oldest_open: float
    rejected: int = 0


class RejectedRow(NamedTuple):
    """A dirty record that the follower did not take at the last try, as its write `generation` left it, and why."""

    namespace: str
    id: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many records of a cohort the follower rejects, and the first of them, by namespace and id; false where there are none."""

    total: int
    first: tuple[RejectedRow, ...]

    def __bool__(self) -> bool:
        return self.total > 0

    def __str__(self) -> str:
        shown = "; ".join(f"{row.namespace or '(default)'}/{row.id}: {row.reason}" for row in self.first)
        more = f"; and {self.total - len(self.first)} more" if self.total > len(self.first) else ""
        records = "1 record is" if self.total == 1 else f"{self.total} records are"
        return f"{records} rejected by the side that follows: {shown}{more}"


NEWEST = (1 << 63) - 1
_SHOWN = 3


class Claims:
    """The claims on dirty ids of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, migration: str, cohort: str, *, most: int, lease: float, deadline: float) -> Claim | None:
        """Claim up to `most` dirty ids that nobody writes or settles, oldest first; None where there is none, or none in this phase.

        The claim may be worked on for `lease` seconds; nobody else gets its ids before D after that.
        """
        token = uuid.uuid4().hex
        values = {"migration": migration, "cohort": cohort, "token": token, "most": most, "seconds": lease + deadline}
        with self._database.transaction() as connection:
            # No phase changes, and no load begins, between this and the commit.
            here = connection.execute(_HERE, values).one()
            if not here.loaded or here.phase in (Phase.OFF, Phase.DONE):
                return None
            held = [Claimed(*row) for row in connection.execute(_CLAIM, values)]
            claim = Claim(
                migration,
                cohort,
                token,
                Phase(here.phase),
                tuple(sorted(held, key=lambda each: (each.namespace, each.id))),
            )
            # A statement of its own, to see what was opened before the rows were locked: what is opened later moves the generation.
            opened = {(row.namespace, row.id) for row in connection.execute(_RELEASE_OPEN, _given(claim, held))}
        ids = tuple(each for each in claim.ids if (each.namespace, each.id) not in opened)
        return replace(claim, ids=ids) if ids else None

    def settled(self, claim: Claim, ids: Sequence[Claimed], *, unexcused: bool = True) -> int:
        """End the claim on ids that are equal on both sides: clean unless written since. Returns how many are clean.

        With `unexcused` a record that was excused no longer is: both sides hold the same.
        """
        if not ids:
            return 0
        values = {**_given(claim, ids), "unexcused": unexcused}
        with self._database.statement() as connection:
            return sum(connection.scalars(_SETTLED, values))

    def release(self, claim: Claim, ids: Sequence[Claimed], *, after: float = 0.0) -> None:
        """Give up ids that stay dirty; nobody gets them before some seconds have passed, in which a request may still land."""
        if not ids:
            return
        with self._database.statement() as connection:
            connection.execute(_RELEASE, {**_given(claim, ids), "seconds": after})

    def reject(self, claim: Claim, ids: Sequence[tuple[Claimed, str]], *, after: float) -> None:
        """Give up ids that the follower did not take, each with the reason; they stay dirty.

        Nothing of them can land any more. Nobody gets them before some seconds have passed, unless they are written anew or excused.
        """
        if not ids:
            return
        values = {
            **_given(claim, [each for each, _ in ids]),
            "reasons": [_text(why) for _, why in ids],
            "seconds": after,
        }
        with self._database.statement() as connection:
            connection.execute(_REJECT, values)

    def rejected(self, migration: str, cohort: str) -> Rejected:
        """The dirty records that the follower did not take at the last try, and that nobody has written or excused since."""
        values = {"migration": migration, "cohort": cohort, "most": _SHOWN}
        with self._database.statement() as connection:
            rows = connection.execute(_REJECTED, values).all()
        return Rejected(rows[0].total if rows else 0, tuple(RejectedRow(*row[:4]) for row in rows))

    def rejection(self, migration: str, namespace: str, id: str) -> str | None:  # noqa: A002 (the record's own name for it)
        """Why the follower did not take a dirty record at the last try, None where it was not tried as it is now."""
        values = {"migration": migration, "namespace": namespace, "id": id}
        with self._database.statement() as connection:
            found: str | None = connection.scalar(_REJECTION, values)
        return found

    def mark_dirty(
        self, migration: str, cohort: str, namespace: str, ids: Sequence[str], *, epoch: int | None = None
    ) -> None:
        """Have ids settled anew: extras, differences that a check found.

        With `epoch`, from the side that has the authority in it, or not at all: raises PhaseConflict, marking nothing, where the cohort
        has moved since. It does not move on to another authority before they are settled.
        """
        values = {"migration": migration, "cohort": cohort, "namespace": namespace, "ids": sorted(set(ids))}
        with self._database.transaction() as connection:
            if epoch is not None and connection.scalar(_EPOCH, values) != epoch:
                raise PhaseConflict(f"cohort {cohort!r} of {migration!r} has moved since: compare again")
            connection.execute(_MARK, values)

    def backlog(self, migration: str, cohort: str, *, upto: int | None = None) -> Backlog:
        """What is dirty and open now, of writes up to a generation where one is given."""
        values = {"migration": migration, "cohort": cohort, "upto": NEWEST if upto is None else upto}
        with self._database.statement() as connection:
            return Backlog(*connection.execute(BACKLOG, values).one())


def _text(reason: str) -> str:
    return reason.replace("\0", "\\0")  # PostgreSQL's text has no U+0000


def _given(claim: Claim, ids: Sequence[Claimed]) -> dict[str, object]:
    return {
        "migration": claim.migration,
        "token": claim.token,
        "namespaces": [each.namespace for each in ids],
        "ids": [each.id for each in ids],
        "generations": [each.generation for each in ids],
    }


# What may still take effect. An evicted member's intents cannot: its lease and D are over.
OPEN = "b.evicted_at IS NULL AND (i.closed_at IS NULL OR i.closed_at > clock_timestamp())"

_IS_OPEN = f"""EXISTS (
    SELECT FROM vectorferry.intent i JOIN vectorferry.member b ON b.id = i.member
    WHERE i.migration = r.migration AND i.namespace = r.namespace AND i.id = r.id
        AND {OPEN})"""

# Of the write that the record is of now. An excused one is settled as such: there is nothing to be told of it.
REJECTED = "(r.rejection_generation IS NOT DISTINCT FROM r.generation AND NOT r.excused)"

_CLAIM = sa.text(f"""
    WITH free AS MATERIALIZED (
        SELECT r.namespace, r.id FROM vectorferry.record_state r
        WHERE r.migration = :migration AND r.cohort = :cohort AND r.dirty
            AND (r.claim_until IS NULL OR r.claim_until < clock_timestamp() OR (r.claim IS NULL AND NOT {REJECTED}))
            AND NOT {_IS_OPEN}
        ORDER BY r.generation LIMIT :most FOR UPDATE OF r SKIP LOCKED
    )
    UPDATE vectorferry.record_state r SET claim = :token, claim_until = clock_timestamp() + :seconds * interval '1 s'
    FROM free WHERE r.migration = :migration AND r.namespace = free.namespace AND r.id = free.id
    RETURNING r.namespace, r.id, r.generation, r.excused
""")  # noqa: S608 (a constant)

_HERE = sa.text(
    "SELECT phase, loaded FROM vectorferry.control WHERE migration = :migration AND cohort = :cohort FOR SHARE"
)

_EPOCH = sa.text("SELECT epoch FROM vectorferry.control WHERE migration = :migration AND cohort = :cohort FOR SHARE")

_GIVEN = """unnest(CAST(:namespaces AS text[]), CAST(:ids AS text[]), CAST(:generations AS bigint[]))
    AS g (namespace, id, generation)"""
_MINE = """r.migration = :migration AND r.namespace = g.namespace AND r.id = g.id AND r.claim = :token"""
# Everybody locks records in the order of their ids, so that no two can wait for each other.
_LOCKED = f"""WITH locked AS MATERIALIZED (
    SELECT g.* FROM vectorferry.record_state r, {_GIVEN} WHERE {_MINE}
    ORDER BY r.namespace, r.id FOR UPDATE OF r
)"""  # noqa: S608 (a constant)

_RELEASE_OPEN = sa.text(f"""
    UPDATE vectorferry.record_state r SET claim = NULL, claim_until = NULL
    FROM {_GIVEN} WHERE {_MINE} AND {_IS_OPEN}
    RETURNING r.namespace, r.id
""")  # noqa: S608 (a constant)

_SETTLED = sa.text(f"""
    {_LOCKED}
    UPDATE vectorferry.record_state r SET
        dirty = r.dirty AND r.generation <> g.generation, cleaned_at = clock_timestamp(),
        excused = r.excused AND NOT (r.generation = g.generation AND CAST(:unexcused AS boolean)),
        claim = NULL, claim_until = NULL, rejection = NULL, rejection_generation = NULL
    FROM locked g WHERE {_MINE}
    RETURNING CAST(r.generation = g.generation AS integer)
""")  # noqa: S608 (a constant)

_RELEASE = sa.text(f"""
    {_LOCKED}
    UPDATE vectorferry.record_state r SET
        claim = CASE WHEN :seconds > 0 THEN r.claim END,
        claim_until = CASE WHEN :seconds > 0 THEN clock_timestamp() + :seconds * interval '1 s' END
    FROM locked g WHERE {_MINE}
""")  # noqa: S608 (a constant)

# Without a claim, and yet not to be claimed before its time.
_REJECT = sa.text(f"""
    WITH locked AS MATERIALIZED (
        SELECT g.* FROM vectorferry.record_state r, unnest(CAST(:namespaces AS text[]), CAST(:ids AS text[]),
            CAST(:generations AS bigint[]), CAST(:reasons AS text[])) AS g (namespace, id, generation, reason)
        WHERE {_MINE} ORDER BY r.namespace, r.id FOR UPDATE OF r
    )
    UPDATE vectorferry.record_state r SET rejection = g.reason, rejection_generation = g.generation,
        claim = NULL, claim_until = clock_timestamp() + :seconds * interval '1 s'
    FROM locked g WHERE {_MINE}
""")  # noqa: S608 (a constant)

_REJECTED = sa.text(f"""
    SELECT r.namespace, r.id, r.generation, r.rejection, count(*) OVER () AS total FROM vectorferry.record_state r
    WHERE r.migration = :migration AND r.cohort = :cohort AND r.dirty AND {REJECTED}
    ORDER BY r.namespace, r.id LIMIT :most
""")  # noqa: S608 (a constant)

_REJECTION = sa.text(f"""
    SELECT r.rejection FROM vectorferry.record_state r
    WHERE r.migration = :migration AND r.namespace = :namespace AND r.id = :id AND r.dirty AND {REJECTED}
""")  # noqa: S608 (a constant)

_MARK = sa.text("""
    INSERT INTO vectorferry.record_state AS r (migration, cohort, namespace, id, generation, dirty)
    SELECT :migration, :cohort, :namespace, given.id, nextval('vectorferry.generation'), true
    FROM unnest(CAST(:ids AS text[])) AS given (id)
    ON CONFLICT (migration, namespace, id) DO UPDATE SET
        generation = nextval('vectorferry.generation'), dirty = true, cohort = excluded.cohort
""")

BACKLOG = sa.text(f"""
    SELECT (
        SELECT count(*) FROM vectorferry.record_state r
        WHERE r.migration = :migration AND r.cohort = :cohort AND r.dirty AND r.generation <= :upto
    ) AS dirty, count(i.generation) AS open,
        coalesce(CAST(extract(epoch FROM clock_timestamp() - min(i.opened_at)) AS float8), 0) AS oldest_open, (
        SELECT count(*) FROM vectorferry.record_state r
        WHERE r.migration = :migration AND r.cohort = :cohort AND r.dirty AND r.generation <= :upto AND {REJECTED}
    ) AS rejected
    FROM vectorferry.intent i JOIN vectorferry.member b ON b.id = i.member
    WHERE i.migration = :migration AND i.cohort = :cohort AND {OPEN} AND i.generation <= :upto
""")  # noqa: S608 (a constant)
