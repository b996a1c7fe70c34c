"""Reconciliations: how far each is, so that a killed one goes on, and what those before it found."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from vectorferry.core.errors import LeaseLost
from vectorferry.journal.database import Database
from vectorferry.journal.tables import ahead, clock, reconciliation


class Scope(StrEnum):
    """FULL: every record. SHARE: what was written since the last run, and a share of the rest."""

    FULL = "full"
    SHARE = "share"


class Outcome(StrEnum):
    """How a reconciliation ended: PAUSED: at its ceiling, whatever it found until then; DRIFT: something differs and was not repaired."""

    EQUAL = "equal"
    DRIFT = "drift"
    REPAIRED = "repaired"
    PAUSED = "paused"
    REFUSED = "refused"


ENDED = (Outcome.EQUAL, Outcome.DRIFT, Outcome.REPAIRED)
"""All that was to be compared has been."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison; `outcome` is None while it has not come to an end. `alive`: its worker said lately that it lives."""

    id: int
    migration: str
    scope: Scope
    run_id: str
    worker: str
    began_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    state: Mapping[str, Any]
    figures: Mapping[str, Any] | None
    alive_until: datetime
    alive: bool


class Reconciliations:
    """The reconciliations of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, migration: str, scope: Scope, run_id: str, within: float | None, *, lease: float) -> Reconciliation:
        """The one that `unfinished` names, to be gone on with; else a new one. It is taken to live for `lease` seconds.

        From then on nobody who worked on it before can keep anything.
        """
        worker = uuid.uuid4().hex
        with self._database.transaction() as connection:
            update = (
                sa.update(reconciliation)
                .where(_unfinished(migration, scope, within))
                .values(run_id=run_id, worker=worker, outcome=None, alive_until=ahead(lease))
            )
            row = connection.execute(update.returning(*COLUMNS)).one_or_none()
            if row is None:
                new = sa.insert(reconciliation).values(
                    migration=migration,
                    scope=scope,
                    run_id=run_id,
                    worker=worker,
                    setting={},
                    state={},
                    alive_until=ahead(lease),
                )
                row = connection.execute(new.returning(*COLUMNS)).one()
        return reconciliation_row(row)

    def unfinished(self, migration: str, scope: Scope, within: float | None) -> Reconciliation | None:
        """The newest of this scope, where it was cut short or paused and began at most `within` seconds ago (None: whenever)."""
        with self._database.statement() as connection:
            row = connection.execute(sa.select(*COLUMNS).where(_unfinished(migration, scope, within))).one_or_none()
        return None if row is None else reconciliation_row(row)

    def keep(self, run: Reconciliation, state: Mapping[str, Any], setting: Mapping[str, Any] | None = None) -> None:
        """Keep how far it is, and, where it is given, what does not change from step to step: both are read as one `state`.

        Raises LeaseLost where another worker has taken over.
        """
        self._update(run, state=dict(state), **({} if setting is None else {"setting": dict(setting)}))

    def renew(self, run: Reconciliation, lease: float) -> None:
        """Say that its worker lives, for `lease` seconds from now. Raises LeaseLost as `keep` does."""
        self._update(run, alive_until=ahead(lease))

    def end(self, run: Reconciliation, outcome: Outcome, figures: Mapping[str, Any]) -> None:
        """Keep what it came to; a later outcome replaces an earlier one, as after a repair. Raises LeaseLost as `keep` does."""
        self._update(run, outcome=outcome, figures=dict(figures), ended_at=clock())

    def get(self, id: int) -> Reconciliation:  # noqa: A002 (the field's name)
        """One of them."""
        with self._database.statement() as connection:
            query = sa.select(*COLUMNS).where(reconciliation.c.id == id)
            return reconciliation_row(connection.execute(query).one())

    def all(self, migration: str, most: int = 50) -> tuple[Reconciliation, ...]:
        """The newest ones, the newest first."""
        c = reconciliation.c
        query = sa.select(*COLUMNS).where(c.migration == migration).order_by(c.id.desc()).limit(most)
        with self._database.statement() as connection:
            return tuple(reconciliation_row(row) for row in connection.execute(query))

    def latest(self, migration: str, *outcomes: Outcome, scope: Scope | None = None) -> Reconciliation | None:
        """The newest with one of these outcomes; None where there is none."""
        c = reconciliation.c
        query = sa.select(*COLUMNS).where(c.migration == migration, c.outcome.in_(outcomes))
        query = query if scope is None else query.where(c.scope == scope)
        with self._database.statement() as connection:
            row = connection.execute(query.order_by(c.id.desc()).limit(1)).one_or_none()
        return None if row is None else reconciliation_row(row)

    def _update(self, run: Reconciliation, **values: Any) -> None:
        c = reconciliation.c
        mine = sa.update(reconciliation).where(c.id == run.id, c.worker == run.worker)
        with self._database.statement() as connection:
            if not connection.execute(mine.values(**values)).rowcount:
                raise LeaseLost(f"reconciliation {run.id} of {run.migration!r} is another worker's now: this one stops")


# A column of its own is not written again with the others.
COLUMNS = (*reconciliation.c, (reconciliation.c.alive_until > clock()).label("alive"))


def _unfinished(migration: str, scope: Scope, within: float | None) -> sa.ColumnElement[bool]:
    c = reconciliation.c
    newest = sa.select(sa.func.max(c.id)).where(c.migration == migration, c.scope == scope).scalar_subquery()
    since = sa.true() if within is None else c.began_at > ahead(-within)
    return sa.and_(c.id == newest, sa.or_(c.outcome.is_(None), c.outcome == Outcome.PAUSED), since)


def reconciliation_row(row: sa.Row[Any]) -> Reconciliation:
    """A reconciliation as a row of `COLUMNS` has it."""
    values = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's public name)
    outcome = None if values["outcome"] is None else Outcome(values["outcome"])
    state = {**values.pop("setting"), **values["state"]}
    return Reconciliation(**{**values, "scope": Scope(values["scope"]), "outcome": outcome, "state": state})


REPAIRED = "repaired"
