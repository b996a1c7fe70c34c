"""Verdicts of the checks, and the evidence made of them: what an approver signs. Evidence is never changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.core.model import CUTOVER, Difference, DifferenceKind, Verdict
from vectorferry.journal.database import Database
from vectorferry.journal.tables import evidence, verdict


@dataclass(frozen=True, slots=True)
class Evidence:
    """All verdicts of a run bound to spec and plan; `watermark` is a generation, `created_at` is set by the journal.

    `kind` says what it is for: evidence lapses when newer one of the same kind exists, but for a repair and an operation.
    `plan_id` is empty where there was no plan yet.
    """

    hash: str
    migration: str
    plan_id: str
    run_id: str
    spec_fingerprint: str
    watermark: int
    kind: str
    body: Mapping[str, Any]
    created_at: datetime | None = None
    approvable: bool = False


class EvidenceStore:
    """The verdicts and the evidence of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_verdict(self, plan_id: str, run_id: str, found: Verdict) -> None:
        """Keep a verdict; the same check on the same scope in the same run replaces the earlier one."""
        key = {"plan_id": plan_id, "run_id": run_id, "check": found.check, "scope": found.scope}
        values = {
            "passed": found.passed,
            "figures": dict(found.figures),
            "differences": [asdict(each) for each in found.differences],
            "total_differences": found.total_differences,
            "reason": found.reason,
        }
        new = insert(verdict).values(**key, **values)
        update = {name: new.excluded[name] for name in (*values, "at")}
        with self._database.statement() as connection:
            connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=update))

    def verdicts(self, plan_id: str, run_id: str) -> tuple[Verdict, ...]:
        """The verdicts of a run, by check and scope."""
        query = sa.select(verdict).where(verdict.c.plan_id == plan_id, verdict.c.run_id == run_id)
        with self._database.statement() as connection:
            rows = connection.execute(query.order_by(verdict.c.check, verdict.c.scope))
            return tuple(_verdict_row(row) for row in rows)

    def save(self, new: Evidence) -> Evidence:
        """Keep evidence under its hash; the same hash again returns what was kept first."""
        values = asdict(new) | {"body": dict(new.body), "plan_id": new.plan_id or None}
        del values["created_at"]
        with self._database.statement() as connection:
            connection.execute(insert(evidence).values(**values).on_conflict_do_nothing(index_elements=["hash"]))
            return _evidence_row(connection.execute(_by_hash(new.hash)).one())

    def get(self, hash: str) -> Evidence | None:  # noqa: A002 (the field's name)
        """The evidence with this hash, None if there is none."""
        with self._database.statement() as connection:
            row = connection.execute(_by_hash(hash)).one_or_none()
        return None if row is None else _evidence_row(row)

    def latest(self, migration: str, kind: str = CUTOVER, *, run_id: str | None = None) -> Evidence | None:
        """The newest evidence of a kind, of all runs or of one; None if there is none."""
        query = sa.select(evidence).where(evidence.c.migration == migration, evidence.c.kind == kind)
        query = query if run_id is None else query.where(evidence.c.run_id == run_id)
        with self._database.statement() as connection:
            row = connection.execute(query.order_by(evidence.c.seq.desc()).limit(1)).one_or_none()
        return None if row is None else _evidence_row(row)


def _by_hash(digest: str) -> sa.Select[Any]:
    return sa.select(evidence).where(evidence.c.hash == digest)


def _evidence_row(row: sa.Row[Any]) -> Evidence:
    kept = {name: value for name, value in row._mapping.items() if name != "seq"}  # noqa: SLF001 (SQLAlchemy's public name)
    return Evidence(**{**kept, "plan_id": row.plan_id or ""})


def _verdict_row(row: sa.Row[Any]) -> Verdict:
    return Verdict(
        row.check,
        row.scope,
        row.passed,
        row.figures,
        tuple(Difference(**{**each, "kind": DifferenceKind(each["kind"])}) for each in row.differences),
        row.total_differences,
        row.reason,
    )
