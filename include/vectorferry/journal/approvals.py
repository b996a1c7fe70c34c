"""Approvals: what a person answered to a piece of evidence. Rows are only ever added; a switch believes nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from vectorferry.core.errors import EvidenceLapsed, NotApproved
from vectorferry.core.model import OPERATION, REPAIR
from vectorferry.journal.audit import note
from vectorferry.journal.database import Database
from vectorferry.journal.evidence import WITHOUT_BODY
from vectorferry.journal.tables import approval, audit, clock, evidence, migration, plan

Decision = Literal["approve", "reject"]
Via = Literal["airflow", "terminal"]
MAX_AGE = timedelta(hours=24)
VOIDING = ("reset", "reload", "taint")  # audited actions after which the target is no longer what the checks saw


@dataclass(frozen=True, slots=True)
class Approval:
    """One answer; `actor` is the name that people see, `actor_id` the one that does not change."""

    id: int
    evidence_hash: str
    decision: Decision
    actor: str
    actor_id: str
    reason: str
    via: Via
    run_id: str
    question_asked_at: datetime | None
    answered_at: datetime


class Approvals:
    """The answers to all evidence."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        evidence_hash: str,
        decision: Decision,
        actor: str,
        actor_id: str,
        reason: str,
        via: Via,
        question_asked_at: datetime | None,
        run_id: str,
        *,
        max_age: timedelta = MAX_AGE,
    ) -> Approval:
        """Keep an answer; the same answer of the same person again returns the first.

        Raises NotApproved, keeping nothing, if the evidence is unknown, not approvable or lapsed, or if this person gave the other
        answer before.
        """
        with self._database.transaction() as connection:
            of = _require_standing(connection, evidence_hash, max_age)
            earlier = next((each for each in _answers(connection, evidence_hash) if each.actor_id == actor_id), None)
            if earlier is not None:
                return _require_same(earlier, decision)
            new = sa.insert(approval).values(
                evidence_hash=evidence_hash,
                decision=decision,
                actor=actor,
                actor_id=actor_id,
                reason=reason,
                via=via,
                run_id=run_id,
                question_asked_at=question_asked_at,
            )
            detail = {"evidence": evidence_hash, "reason": reason, "via": via, "run": run_id}
            note(connection, of, actor, decision, detail)
            return _approval_row(connection.execute(new.returning(approval)).one())

    def valid(self, migration: str, evidence_hash: str, *, max_age: timedelta = MAX_AGE) -> Approval:
        """The approval of this evidence that holds now; raises NotApproved with the reason why there is none."""
        with self._database.transaction() as connection:
            row = next(iter(standings(connection, [evidence_hash])), None)
            return holding(migration, evidence_hash, row, _answers(connection, evidence_hash), max_age)

    def all(self, evidence_hash: str) -> tuple[Approval, ...]:
        """Every answer to this evidence, oldest first."""
        with self._database.statement() as connection:
            return _answers(connection, evidence_hash)


def standings(connection: sa.Connection, hashes: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """What `holding` wants to know of each evidence, as it is now."""
    return connection.execute(_STANDING.where(evidence.c.hash.in_(hashes))).all()


def holding(
    migration: str, evidence_hash: str, row: sa.Row[Any] | None, answers: Sequence[Approval], max_age: timedelta
) -> Approval:
    """The approval among the answers, if it holds for evidence of this standing; raises NotApproved with the reason why none does."""
    of = _standing(row, evidence_hash, max_age)
    if of != migration:
        raise NotApproved(f"evidence {_short(evidence_hash)} is of migration {of!r}, not of {migration!r}")
    if not answers:
        raise NotApproved(f"nobody has answered to evidence {_short(evidence_hash)} of {migration!r} yet")
    refusal = next((each for each in answers if each.decision == "reject"), None)
    if refusal is not None:
        raise NotApproved(
            f"{refusal.actor} rejected evidence {_short(evidence_hash)}: {refusal.reason or 'no reason given'}"
        )
    return answers[0]


def _require_standing(connection: sa.Connection, digest: str, max_age: timedelta) -> str:
    """The migration of evidence that can be approved now; raises NotApproved, or EvidenceLapsed. Answers come one by one."""
    query = _STANDING.where(evidence.c.hash == digest)
    return _standing(connection.execute(query.with_for_update(of=evidence)).one_or_none(), digest, max_age)


def _standing(row: sa.Row[Any] | None, digest: str, max_age: timedelta) -> str:
    if row is None:
        raise NotApproved(f"there is no evidence {_short(digest)} in the journal: run the checks")
    why = _lapse(row, max_age)
    if why:
        raise EvidenceLapsed(f"evidence {_short(digest)} of {row.migration!r} {why}")
    return str(row.migration)


def _lapse(row: sa.Row[Any], max_age: timedelta) -> str:
    if not row.approvable:
        return "cannot be approved: it comes from a subset, a dry run or failed checks"
    if row.age > max_age:
        return f"is {_hours(row.age)} old, the limit is {_hours(max_age)}: run the checks again"
    if row.newer is not None:
        return f"is superseded by the newer evidence {_short(row.newer)}: answer to that one"
    if row.plan_now != row.plan_id:
        return "is of a plan that is no longer the migration's plan: run the checks again"
    if row.fingerprint_now != row.spec_fingerprint:
        return "is of an earlier spec: the spec was changed since. Restore it, or run the checks again"
    if row.voided:
        return "was made before the target was reloaded or tainted: run the checks again"
    return ""


_NEWER = evidence.alias("newer")
_STANDING: sa.Select[Any] = sa.select(
    *WITHOUT_BODY,
    (clock() - evidence.c.created_at).label("age"),
    sa.select(_NEWER.c.hash)
    .where(_NEWER.c.migration == evidence.c.migration, _NEWER.c.kind == evidence.c.kind, _NEWER.c.seq > evidence.c.seq)
    # A repair of these records is as right after another look: each is read afresh. Nights go on while a question is open.
    # An operation has nothing to do with one that somebody else asked for.
    .where(evidence.c.kind.not_in((REPAIR, OPERATION)))
    .order_by(_NEWER.c.seq.desc())
    .limit(1)
    .scalar_subquery()
    .label("newer"),
    sa.select(plan.c.id)
    .where(plan.c.migration == evidence.c.migration, plan.c.retired_at.is_(None))
    .scalar_subquery()
    .label("plan_now"),
    sa.select(migration.c.spec_fingerprint)
    .where(migration.c.name == evidence.c.migration)
    .scalar_subquery()
    .label("fingerprint_now"),
    sa.exists()
    .where(
        audit.c.migration == evidence.c.migration,
        audit.c.action.in_(VOIDING),
        audit.c.at > evidence.c.created_at,
    )
    # An operation rests on no check of the target, and one that was cut short goes on: a taint voids all others first of all.
    .where(evidence.c.kind != OPERATION)
    .label("voided"),
)


def _answers(connection: sa.Connection, digest: str) -> tuple[Approval, ...]:
    query = sa.select(approval).where(approval.c.evidence_hash == digest).order_by(approval.c.id)
    return tuple(_approval_row(row) for row in connection.execute(query))


def _require_same(earlier: Approval, decision: Decision) -> Approval:
    if earlier.decision != decision:
        raise NotApproved(
            f"{earlier.actor} answered {earlier.decision!r} to evidence {_short(earlier.evidence_hash)} already: "
            f"an answer is not changed to {decision!r}; run the checks again for new evidence"
        )
    return earlier


def _approval_row(row: sa.Row[Any]) -> Approval:
    return Approval(**row._mapping)  # noqa: SLF001 (SQLAlchemy's public name)


def _short(digest: str) -> str:
    return digest[:12]


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
