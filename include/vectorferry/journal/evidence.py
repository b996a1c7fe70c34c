"""Verdicts of the checks, and the evidence made of them: what an approver signs. Evidence is never changed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from vectorferry.core.model import CUTOVER, Difference, DifferenceKind, Verdict
from vectorferry.journal.database import Database
from vectorferry.journal.tables import clock, evidence, verdict


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


PAGE = 200
WITHOUT_BODY: list[Any] = [column for column in evidence.c if column.name != "body"]


class EvidenceStore:
    """The verdicts and the evidence of all migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_verdicts(self, plan_id: str, run_id: str, found: Iterable[Verdict]) -> None:
        """Keep verdicts; the same check on the same scope in the same run replaces the earlier one."""
        rows = {(each.check, each.scope): _columns(plan_id, run_id, each) for each in found}
        with self._database.statement() as connection:
            every = list(rows.values())
            for page in (every[at : at + PAGE] for at in range(0, len(every), PAGE)):
                new = insert(verdict).values(page)
                update = {column.name: new.excluded[column.name] for column in verdict.c if not column.primary_key}
                connection.execute(new.on_conflict_do_update(index_elements=verdict.primary_key, set_=update))

    def verdicts(self, plan_id: str, run_id: str) -> tuple[Verdict, ...]:
        """The verdicts of a run, by check and scope."""
        query = sa.select(verdict).where(verdict.c.plan_id == plan_id, verdict.c.run_id == run_id)
        with self._database.statement() as connection:
            rows = connection.execute(query.order_by(verdict.c.check, verdict.c.scope))
            return tuple(_verdict_row(row) for row in rows)

    def outcomes(self, plan_id: str) -> tuple[tuple[str, str, bool], ...]:
        """(check, scope, passed) of the newest run that left verdicts, by check and scope."""
        c = verdict.c
        newest = sa.select(c.run_id).where(c.plan_id == plan_id).group_by(c.run_id).order_by(sa.func.max(c.at).desc())
        query = sa.select(c.check, c.scope, c.passed).where(c.plan_id == plan_id)
        query = query.where(c.run_id == newest.limit(1).scalar_subquery()).order_by(c.check, c.scope)
        with self._database.statement() as connection:
            return tuple((check, scope, passed) for check, scope, passed in connection.execute(query))

    def counts(self, plan_id: str, run_id: str) -> tuple[tuple[str, int, int], ...]:
        """(check, passed, all) of the verdicts of a run, by check."""
        passed = sa.func.count().filter(verdict.c.passed)
        query = sa.select(verdict.c.check, passed, sa.func.count()).group_by(verdict.c.check).order_by(verdict.c.check)
        with self._database.statement() as connection:
            rows = connection.execute(query.where(verdict.c.plan_id == plan_id, verdict.c.run_id == run_id))
            return tuple((check, good, every) for check, good, every in rows)

    def save(self, new: Evidence) -> Evidence:
        """Keep evidence under its hash; the same hash again returns what was kept first."""
        values = asdict(new) | {"body": dict(new.body), "plan_id": new.plan_id or None}
        del values["created_at"]
        with self._database.statement() as connection:
            connection.execute(insert(evidence).values(**values).on_conflict_do_nothing(index_elements=["hash"]))
            return evidence_row(connection.execute(_by_hash(new.hash)).one())

    def get(self, hash: str) -> Evidence | None:  # noqa: A002 (the field's name)
        """The evidence with this hash, None if there is none."""
        with self._database.statement() as connection:
            row = connection.execute(_by_hash(hash)).one_or_none()
        return None if row is None else evidence_row(row)

    def find(self, migration: str, text: str) -> tuple[Evidence, ...]:
        """Evidence of a migration whose hash begins with the text, or that the run of that name made; the newest first."""
        named = sa.or_(evidence.c.hash.startswith(text, autoescape=True), evidence.c.run_id == text)
        query = sa.select(evidence).where(evidence.c.migration == migration, named).order_by(evidence.c.seq.desc())
        with self._database.statement() as connection:
            return tuple(evidence_row(row) for row in connection.execute(query))

    def latest(self, migration: str, kind: str = CUTOVER, *, run_id: str | None = None) -> Evidence | None:
        """The newest evidence of a kind, of all runs or of one; None if there is none."""
        return self._newest(sa.select(evidence), migration, kind, run_id)

    def latest_without_body(self, migration: str, kind: str = CUTOVER) -> Evidence | None:
        """The newest evidence of a kind without its body, which holds every verdict: who asks each second needs none of them."""
        return self._newest(sa.select(*WITHOUT_BODY), migration, kind, None)

    def newest(self, migration: str, most: int) -> tuple[Evidence, ...]:
        """The newest evidence of all kinds without its bodies, the newest first."""
        query = sa.select(*WITHOUT_BODY).where(evidence.c.migration == migration).order_by(evidence.c.seq.desc())
        with self._database.statement() as connection:
            return tuple(evidence_row(row) for row in connection.execute(query.limit(most)))

    def _newest(self, columns: sa.Select[Any], migration: str, kind: str, run_id: str | None) -> Evidence | None:
        query = columns.where(evidence.c.migration == migration, evidence.c.kind == kind)
        query = query if run_id is None else query.where(evidence.c.run_id == run_id)
        with self._database.statement() as connection:
            row = connection.execute(query.order_by(evidence.c.seq.desc()).limit(1)).one_or_none()
        return None if row is None else evidence_row(row)


def _by_hash(digest: str) -> sa.Select[Any]:
    return sa.select(evidence).where(evidence.c.hash == digest)


def evidence_row(row: sa.Row[Any]) -> Evidence:
    """Evidence as a row has it, whose body may have been left out."""
    kept = {name: value for name, value in row._mapping.items() if name != "seq"}  # noqa: SLF001 (SQLAlchemy's public name)
    return Evidence(**{"body": {}, **kept, "plan_id": row.plan_id or ""})


def _columns(plan_id: str, run_id: str, found: Verdict) -> dict[str, Any]:
    return {
        "plan_id": plan_id,
        "run_id": run_id,
        "check": found.check,
        "scope": found.scope,
        "passed": found.passed,
        "figures": dict(found.figures),
        "differences": [asdict(each) for each in found.differences],
        "total_differences": found.total_differences,
        "reason": found.reason,
        "at": clock(),
    }


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
