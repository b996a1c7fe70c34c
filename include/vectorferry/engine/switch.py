"""The switch: a short hold moves the authority from A to B, or a refusal names the guard and nothing has changed."""

import time
from dataclasses import dataclass

import numpy as np

from vectorferry.engine.approval import require_approval
from vectorferry.engine.planning import COHORT
from vectorferry.engine.preflight import RESERVED_NAMESPACE
from vectorferry.engine.session import Session
from vectorferry.engine.unchanged import require_unchanged
from vectorferry.errors import GateError, StoreError
from vectorferry.journal import ControlRow, Plan
from vectorferry.model import Phase
from vectorferry.records import make_batch
from vectorferry.stores.base import VectorStore

PROBE_ID = "vectorferry-probe"
HOLD_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Switched:
    """What the switch did: phase reached, seconds in the hold, rows of the source read once more; the approver is
    empty where the switch had been made before."""

    phase: Phase
    hold_seconds: float
    rows_reread: int
    approved_by: str


def cut_over(session: Session, plan: Plan, evidence_hash: str) -> Switched:
    """Move the authority to the target. Safe to call again after any crash: it reads the control row first.

    Raises NotApproved, SourceChanged or GateError; then the phase is TRACK_A again and nothing has changed.
    """
    row = session.journal.control.get(session.migration, COHORT)
    if row.phase in (Phase.OFF, Phase.DONE):
        raise GateError(f"migration {session.migration} is in {row.phase}: there is nothing to switch")
    if row.phase is Phase.TRACK_B:
        return Switched(row.phase, 0.0, 0, "")
    approval = require_approval(session, evidence_hash)
    prove_way_back(session.source)
    began = time.monotonic()
    if row.phase is Phase.TRACK_A:
        _require_loaded(session, plan)
        row = _step(
            session,
            row,
            Phase.HOLD_A,
            f"approved by {approval.actor}, evidence {evidence_hash[:12]}",
            hold=HOLD_SECONDS,
        )
    rows = _reread_or_step_back(session, plan, row) if row.phase is Phase.HOLD_A else 0
    if row.phase is Phase.HOLD_A:
        row = _step(session, row, Phase.HOLD_B, f"source unchanged, {rows} rows read once more")
    _point_alias(session)
    row = _step(session, row, Phase.TRACK_B, "the target has the authority")
    return Switched(row.phase, time.monotonic() - began, rows, approval.actor)


def _step(session: Session, row: ControlRow, to: Phase, reason: str, hold: float | None = None) -> ControlRow:
    return session.journal.control.advance(row, to, actor=session.actor, reason=reason, hold_seconds=hold)


def _require_loaded(session: Session, plan: Plan) -> None:
    missing = [p.name for p in plan.partitions if session.journal.attempts.completed(plan.id, p.name, "load") is None]
    if missing:
        raise GateError(
            f"{len(missing)} partitions are not loaded ({', '.join(missing[:10])}): clear their tasks first"
        )


def _reread_or_step_back(session: Session, plan: Plan, row: ControlRow) -> int:
    try:
        return require_unchanged(session, plan)
    except (GateError, StoreError) as error:
        _step(session, row, Phase.TRACK_A, f"stepped back: {error}")
        raise


def _point_alias(session: Session) -> None:
    # In HOLD_B nobody writes, and the target already is the authority: readers of the alias move before writers do.
    if session.spec.target.alias:
        session.target.point_alias(session.spec.target.alias)
        session.journal.audit.write(
            session.migration, session.actor, "point_alias", {"alias": session.spec.target.alias}
        )


def prove_way_back(store: VectorStore) -> None:
    """Write a probe record to the old authority's reserved namespace, read it, delete it: rollback would work.

    Raises GateError where it cannot be written or read back.
    """
    dimension = store.describe().dimension or 1
    vector = np.full((1, dimension), 1.0 / dimension, np.float32)
    try:
        result = store.upsert(make_batch(RESERVED_NAMESPACE, [PROBE_ID], vector, ["{}"]))
        store.delete(RESERVED_NAMESPACE, [PROBE_ID])
    except StoreError as error:
        raise GateError(
            f"no way back: {store.name} does not take a probe record ({error}); give the connection the right to write"
        ) from error
    if result.acknowledged != 1:
        raise GateError(f"no way back: {store.name} refuses a probe record ({result.rejected[0].reason})")
