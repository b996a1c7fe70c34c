"""Removal of a migration that was not finished: all its rows but the audit."""

import sqlalchemy as sa

from vectorferry.core.errors import GateError
from vectorferry.core.model import Phase
from vectorferry.journal import tables
from vectorferry.journal.audit import note
from vectorferry.journal.database import Database

BEFORE_THE_SWITCH = (Phase.OFF, Phase.TRACK_A)


def forget(database: Database, migration: str, actor: str) -> None:
    """Delete the rows of a migration; raises GateError, deleting nothing, from HOLD_A on or while it has live routers."""
    with database.transaction() as connection:
        rows = _require_forgettable(connection, migration)
        connection.execute(_plans(migration).with_for_update())  # workers that record something now wait, and then fail
        connection.execute(sa.text("SET LOCAL vectorferry.forgetting = 'on'"))
        for statement in _deletions(migration):
            connection.execute(statement)
        for row in rows:
            detail = {"from": row.phase}
            note(connection, migration, actor, "forget", detail, cohort=row.cohort, epoch=row.epoch)


def _require_forgettable(connection: sa.Connection, migration: str) -> list[sa.Row[str, str, int]]:
    c = tables.control.c
    query = sa.select(c.cohort, c.phase, c.epoch).where(c.migration == migration).order_by(c.cohort)
    rows = list(connection.execute(query.with_for_update()))
    late = [f"{row.cohort!r} is in {row.phase}" for row in rows if Phase(row.phase) not in BEFORE_THE_SWITCH]
    if late:
        raise GateError(f"{migration!r} cannot be abandoned: cohort {', '.join(late)}. Roll it back, or finish it")
    connection.execute(sa.text("LOCK TABLE vectorferry.member IN SHARE ROW EXCLUSIVE MODE"))
    m = tables.member.c
    live = connection.scalars(
        sa.select(m.id).where(m.migration == migration, m.evicted_at.is_(None)).order_by(m.id)
    ).all()
    if live:
        raise GateError(
            f"{migration!r} cannot be abandoned: routers still use it: {', '.join(live)}. Stop or remove them"
        )
    return rows


def _plans(migration: str) -> sa.Select[str]:
    return sa.select(tables.plan.c.id).where(tables.plan.c.migration == migration)


def _deletions(migration: str) -> list[sa.Delete]:
    t = tables
    members = sa.select(t.member.c.id).where(t.member.c.migration == migration)
    plans = _plans(migration)
    signed = sa.select(t.evidence.c.hash).where(t.evidence.c.migration == migration)
    of_plan = (t.verdict, t.step_done, t.progress, t.attempt, t.partition)
    return [
        sa.delete(t.approval).where(t.approval.c.evidence_hash.in_(signed)),
        sa.delete(t.evidence).where(t.evidence.c.migration == migration),
        *(sa.delete(table).where(table.c.plan_id.in_(plans)) for table in of_plan),
        *(
            sa.delete(table).where(table.c.migration == migration)
            for table in (
                t.plan,
                t.intent,
                t.record_state,
                t.shadow_read,
                t.traffic,
                t.sample,
                t.reconciliation,
                t.usage,
            )
        ),
        sa.delete(t.member_phase).where(t.member_phase.c.member.in_(members)),
        *(sa.delete(table).where(table.c.migration == migration) for table in (t.member, t.control)),
        sa.delete(t.migration).where(t.migration.c.name == migration),
    ]
