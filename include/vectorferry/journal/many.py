"""Reads of many migrations at once: one statement for each kind of thing, however many migrations there are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from vectorferry.journal.approvals import Approval, standings
from vectorferry.journal.audit import AuditRow
from vectorferry.journal.claims import OPEN, REJECTED, Backlog
from vectorferry.journal.control import ControlRow, control_rows_of
from vectorferry.journal.database import Database
from vectorferry.journal.evidence import WITHOUT_BODY, Evidence, evidence_row
from vectorferry.journal.members import Member, members_of
from vectorferry.journal.reconciliations import COLUMNS, Reconciliation, reconciliation_row
from vectorferry.journal.tables import approval, audit, control, evidence, migration, plan, reconciliation


@dataclass(frozen=True, slots=True)
class Registered:
    """A migration that the journal knows, with the spec that was registered last, None of one without."""

    name: str
    spec: Mapping[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """One step over all partitions of a plan: how many are done, how many are being worked on, and the rows of both."""

    done: int = 0
    running: int = 0
    rows: int = 0


class Many:
    """What an overview is made of. Each method takes names of migrations and answers by name; what has nothing is left out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def registered(self) -> tuple[Registered, ...]:
        """Every migration, by name."""
        c = migration.c
        with self._database.statement() as connection:
            rows = connection.execute(sa.select(c.name, c.spec, c.created_at).order_by(c.name))
            return tuple(Registered(*row) for row in rows)

    def control(self, names: Sequence[str]) -> dict[str, tuple[ControlRow, ...]]:
        """The control rows, in the order in which cohorts are cut over."""
        with self._database.statement() as connection:
            return _by_migration(control_rows_of(connection, control.c.migration.in_(names)))

    def members(self, names: Sequence[str]) -> dict[str, tuple[Member, ...]]:
        """The routers."""
        with self._database.statement() as connection:
            found = members_of(connection, names)
        return {name: tuple(members) for name, members in found.items()}

    def backlogs(self, names: Sequence[str]) -> dict[tuple[str, str], Backlog]:
        """What is dirty and open, by migration and cohort."""
        with self._database.statement() as connection:
            rows = connection.execute(_BACKLOGS, {"names": list(names)})
            return {(row.migration, row.cohort): Backlog(row.dirty, row.open, row.oldest, row.rejected) for row in rows}

    def evidence(self, names: Sequence[str], kind: str) -> dict[str, Evidence]:
        """The newest evidence of a kind, without its body."""
        c = evidence.c
        newest = sa.select(sa.func.max(c.seq)).where(c.migration.in_(names), c.kind == kind).group_by(c.migration)
        query = sa.select(*WITHOUT_BODY).where(c.seq.in_(newest))
        with self._database.statement() as connection:
            return {row.migration: evidence_row(row) for row in connection.execute(query)}

    def evidence_of(self, hashes: Sequence[str]) -> tuple[Evidence, ...]:
        """The evidence with these hashes, without its bodies."""
        query = sa.select(*WITHOUT_BODY).where(evidence.c.hash.in_(hashes))
        with self._database.statement() as connection:
            return tuple(evidence_row(row) for row in connection.execute(query))

    def says_go(self, hashes: Sequence[str]) -> dict[str, bool]:
        """What each evidence says of a cut-over, by its hash; left out where it says nothing of the kind.

        A body may be of many MB: only its beginning is read, in which the word stands. Text in it cannot be taken for the word, as a
        quotation mark in a JSON text is escaped.
        """
        word = sa.func.substring(
            sa.func.left(sa.type_coerce(evidence.c.body, sa.Text), _BEGINNING), '"go":(true|false)'
        )
        with self._database.statement() as connection:
            rows = connection.execute(sa.select(evidence.c.hash, word).where(evidence.c.hash.in_(hashes)))
            return {digest: said == "true" for digest, said in rows if said is not None}

    def counts(self, found: Mapping[str, Evidence]) -> dict[str, tuple[tuple[str, int, int], ...]]:
        """(check, passed, all) of the verdicts of the run of an evidence, by check."""
        values = {
            "names": list(found),
            "plans": [each.plan_id for each in found.values()],
            "runs": [each.run_id for each in found.values()],
        }
        counted: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
        with self._database.statement() as connection:
            for row in connection.execute(_VERDICTS, values):
                counted[row.name].append((row.check, row.passed, row.every))
        return {name: tuple(rows) for name, rows in counted.items()}

    def standings(self, hashes: Sequence[str]) -> dict[str, Any]:
        """What says whether evidence can be approved now, by its hash; for `approvals.holding`."""
        with self._database.statement() as connection:
            return {row.hash: row for row in standings(connection, hashes)}

    def approvals(self, hashes: Sequence[str]) -> dict[str, tuple[Approval, ...]]:
        """Every answer to each evidence, by its hash, oldest first."""
        query = sa.select(approval).where(approval.c.evidence_hash.in_(hashes)).order_by(approval.c.id)
        found: dict[str, list[Approval]] = defaultdict(list)
        with self._database.statement() as connection:
            for row in connection.execute(query):
                found[row.evidence_hash].append(Approval(**row._mapping))  # noqa: SLF001 (SQLAlchemy's public name)
        return {digest: tuple(rows) for digest, rows in found.items()}

    def work(self, names: Sequence[str]) -> dict[str, tuple[int, Mapping[str, Work]]]:
        """The number of partitions of the live plan, and what of each step is done."""
        live = sa.and_(plan.c.migration.in_(names), plan.c.retired_at.is_(None))
        with self._database.statement() as connection:
            plans = {
                row.id: row.migration for row in connection.execute(sa.select(plan.c.id, plan.c.migration).where(live))
            }
            rows = connection.execute(_WORK, {"plans": list(plans)}).all()
            counted = connection.execute(_PARTITIONS, {"plans": list(plans)})
            partitions = {row.plan_id: row.partitions for row in counted}
        steps: dict[str, dict[str, Work]] = defaultdict(dict)
        for row in rows:
            steps[row.plan_id][row.step] = Work(row.done, row.running, row.rows)
        return {name: (partitions.get(id_, 0), steps[id_]) for id_, name in plans.items()}

    def reconciliations(self, names: Sequence[str], most: int) -> dict[str, tuple[Reconciliation, ...]]:
        """The newest ones, the newest first."""
        given, c = _given(names), reconciliation.c
        newest = sa.select(*COLUMNS).where(c.migration == given.c.name).order_by(c.id.desc()).limit(most).lateral()
        with self._database.statement() as connection:
            rows = connection.execute(sa.select(newest).select_from(given.join(newest, sa.true())))
            return _by_migration(reconciliation_row(row) for row in rows)

    def audit(self, names: Sequence[str], actions: Sequence[str], most: int) -> dict[str, tuple[AuditRow, ...]]:
        """The newest rows of each action, oldest first."""
        given, action, c = _given(names), _given(actions, "action"), audit.c
        here = sa.and_(c.migration == given.c.name, c.action == action.c.action)
        newest = sa.select(audit).where(here).order_by(c.id.desc()).limit(most).lateral()
        query = (
            sa.select(newest).select_from(given.join(action, sa.true()).join(newest, sa.true())).order_by(newest.c.id)
        )
        with self._database.statement() as connection:
            return _by_migration(AuditRow(**row._mapping) for row in connection.execute(query))  # noqa: SLF001


_BEGINNING = 4_000


def _given(values: Sequence[str], name: str = "name") -> Any:
    return (
        sa.func.unnest(sa.cast(list(values), sa.ARRAY(sa.Text))).table_valued(name).render_derived(name=f"given_{name}")
    )


def _by_migration(rows: Any) -> dict[str, tuple[Any, ...]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.migration].append(row)
    return {name: tuple(each) for name, each in found.items()}


_BACKLOGS = sa.text(f"""
    WITH dirty AS (
        SELECT r.migration, r.cohort, count(*) AS dirty, count(*) FILTER (WHERE {REJECTED}) AS rejected
        FROM vectorferry.record_state r WHERE r.migration = ANY (CAST(:names AS text[])) AND r.dirty GROUP BY 1, 2
    ), open AS (
        SELECT i.migration, i.cohort, count(*) AS open,
            CAST(extract(epoch FROM clock_timestamp() - min(i.opened_at)) AS float8) AS oldest
        FROM vectorferry.intent i JOIN vectorferry.member b ON b.id = i.member
        WHERE i.migration = ANY (CAST(:names AS text[])) AND {OPEN} GROUP BY 1, 2
    )
    SELECT c.migration, c.cohort, coalesce(dirty, 0) AS dirty, coalesce(rejected, 0) AS rejected,
        coalesce(open, 0) AS open, coalesce(oldest, 0) AS oldest
    FROM vectorferry.control c LEFT JOIN dirty USING (migration, cohort) LEFT JOIN open USING (migration, cohort)
    WHERE c.migration = ANY (CAST(:names AS text[]))
""")  # noqa: S608 (constants)

_VERDICTS = sa.text("""
    SELECT g.name, v."check", count(*) FILTER (WHERE v.passed) AS passed, count(*) AS every
    FROM unnest(CAST(:names AS text[]), CAST(:plans AS text[]), CAST(:runs AS text[])) AS g (name, plan, run)
    JOIN vectorferry.verdict v ON v.plan_id = g.plan AND v.run_id = g.run GROUP BY 1, 2 ORDER BY 1, 2
""")

_PARTITIONS = sa.text("""
    SELECT plan_id, count(*) AS partitions FROM vectorferry.partition
    WHERE plan_id = ANY (CAST(:plans AS text[])) GROUP BY plan_id
""")

# Batches are summed up only of what is not done yet: the rows of a step that is done are kept with it.
_WORK = sa.text("""
    WITH begun AS (
        SELECT plan_id, partition, step, bool_or(finished_at IS NULL AND lease_until > clock_timestamp()) AS live
        FROM vectorferry.attempt a WHERE plan_id = ANY (CAST(:plans AS text[])) AND NOT EXISTS (
            SELECT FROM vectorferry.step_done d
            WHERE d.plan_id = a.plan_id AND d.partition = a.partition AND d.step = a.step
        ) GROUP BY plan_id, partition, step
    ), under_way AS (
        SELECT begun.plan_id, begun.step, count(*) FILTER (WHERE live) AS running, coalesce(sum(sent.rows), 0) AS rows
        FROM begun LEFT JOIN LATERAL (
            SELECT sum(p.rows) AS rows FROM vectorferry.progress p
            WHERE p.plan_id = begun.plan_id AND p.partition = begun.partition AND p.step = begun.step
        ) sent ON true GROUP BY 1, 2
    ), done AS (
        SELECT plan_id, step, count(*) AS done, sum(rows) AS rows FROM vectorferry.step_done
        WHERE plan_id = ANY (CAST(:plans AS text[])) GROUP BY 1, 2
    )
    SELECT plan_id, step, CAST(coalesce(d.done, 0) AS bigint) AS done, CAST(coalesce(u.running, 0) AS bigint) AS running,
        CAST(coalesce(d.rows, 0) + coalesce(u.rows, 0) AS bigint) AS rows
    FROM done d FULL JOIN under_way u USING (plan_id, step)
""")
