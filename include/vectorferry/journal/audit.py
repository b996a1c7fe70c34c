"""Audit trail: who did what and when; never changed, and kept when a migration is forgotten."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from vectorferry.journal.database import Database
from vectorferry.journal.tables import audit

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing done; `cohort` and `epoch` are set where a phase changed."""

    id: int
    at: datetime
    migration: str
    cohort: str | None
    epoch: int | None
    actor: str
    action: str
    detail: Mapping[str, Any]


def note(
    connection: sa.Connection,
    migration: str,
    actor: str,
    action: str,
    detail: Mapping[str, Any],
    *,
    cohort: str | None = None,
    epoch: int | None = None,
) -> None:
    """Write an audit row in the transaction of what it tells of."""
    connection.execute(
        sa.insert(audit).values(
            migration=migration, cohort=cohort, epoch=epoch, actor=actor, action=action, detail=dict(detail)
        )
    )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows of a migration's trail are wanted; what is empty or None does not matter.

    `text` is looked for in the detail as it is kept, in actor and action, in upper or lower case. `before` is an id: older rows only.
    """

    actor: str = ""
    action: str = ""
    cohort: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


LATEST = 10_000
"""Rows of a trail in which actors and actions are looked for."""


class Audit:
    """The audit trail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, migration: str, actor: str, action: str, detail: Mapping[str, Any]) -> None:
        """Add a row."""
        with self._database.statement() as connection:
            note(connection, migration, actor, action, detail)

    def write_once(self, migration: str, actor: str, action: str, detail: Mapping[str, Any], *, by: str) -> bool:
        """Add a row, unless one of this action has the same under the key `by` of its detail; returns whether it was added."""
        alike = sa.select(audit.c.detail).where(audit.c.migration == migration, audit.c.action == action)
        with self._database.transaction() as connection:
            key = sa.func.hashtextextended(f"{migration}\n{action}", 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            if any(found.get(by) == detail[by] for found in connection.scalars(alike)):
                return False
            note(connection, migration, actor, action, detail)
        return True

    def oldest_first(self, migration: str, wanted: AuditFilter) -> Iterator[AuditRow]:
        """Rows of a migration, oldest first, read page by page."""
        query, after = sa.select(audit).where(audit.c.migration == migration, *_matching(wanted)), 0
        while True:
            with self._database.statement() as connection:
                found = connection.execute(query.where(audit.c.id > after).order_by(audit.c.id).limit(PAGE))
                rows = [AuditRow(**row._mapping) for row in found]  # noqa: SLF001 (SQLAlchemy's public name)
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1].id

    def everywhere(self, action: str) -> tuple[AuditRow, ...]:
        """All rows of an action, of whatever migration, oldest first."""
        query = sa.select(audit).where(audit.c.action == action).order_by(audit.c.id)
        with self._database.statement() as connection:
            return tuple(AuditRow(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 (SQLAlchemy's public name)

    def page(self, migration: str, wanted: AuditFilter, most: int) -> tuple[AuditRow, ...]:
        """Rows of a migration, the newest first."""
        query = sa.select(audit).where(audit.c.migration == migration, *_matching(wanted))
        with self._database.statement() as connection:
            rows = connection.execute(query.order_by(audit.c.id.desc()).limit(most))
            return tuple(AuditRow(**row._mapping) for row in rows)  # noqa: SLF001 (SQLAlchemy's public name)

    def words(self, migration: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The actors, and the actions, of the latest rows of a migration."""
        c = audit.c
        latest = (
            sa.select(c.actor, c.action).where(c.migration == migration).order_by(c.id.desc()).limit(LATEST).subquery()
        )
        with self._database.statement() as connection:
            pairs = connection.execute(sa.select(latest.c.actor, latest.c.action).distinct()).all()
        return tuple(sorted({row.actor for row in pairs})), tuple(sorted({row.action for row in pairs}))

    def trail(self, migration: str, *actions: str) -> tuple[AuditRow, ...]:
        """All rows of a migration, or those of some actions, oldest first."""
        query = sa.select(audit).where(audit.c.migration == migration)
        query = query.where(audit.c.action.in_(actions)) if actions else query
        with self._database.statement() as connection:
            rows = connection.execute(query.order_by(audit.c.id))
            return tuple(AuditRow(**row._mapping) for row in rows)  # noqa: SLF001 (SQLAlchemy's public name)


def _matching(wanted: AuditFilter) -> Iterator[sa.ColumnElement[bool]]:
    c = audit.c
    for column, value in ((c.actor, wanted.actor), (c.action, wanted.action), (c.cohort, wanted.cohort)):
        if value:
            yield column == value
    if wanted.text:
        searched = sa.func.concat_ws(" ", c.actor, c.action, sa.type_coerce(c.detail, sa.Text))
        yield sa.func.strpos(sa.func.lower(searched), wanted.text.lower()) > 0
    if wanted.since is not None:
        yield c.at >= wanted.since
    if wanted.until is not None:
        yield c.at <= wanted.until
    if wanted.before is not None:
        yield c.id < wanted.before
