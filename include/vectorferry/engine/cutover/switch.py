"""Switch: moves the authority from A to B through a short hold, or names the guard that refuses and changes nothing."""

import time
from dataclasses import dataclass

from vectorferry.core.errors import (
    CheckFailed,
    GateError,
    NotApproved,
    TerminalError,
    VectorferryError,
)
from vectorferry.core.model import COHORT, CUTOVER, Phase, Verdict
from vectorferry.engine.cutover import alias
from vectorferry.engine.cutover.change_window import require_open
from vectorferry.engine.cutover.handover import move_authority, step_back
from vectorferry.engine.cutover.source_unchanged import require_unchanged
from vectorferry.engine.cutover.target_check import require_target
from vectorferry.engine.probe.trial import refusal
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import require_approval
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.engine.signoff.gate import describe
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.touched_check import compare_touched
from vectorferry.engine.transfer.loaded import require_loaded
from vectorferry.journal import Approval, ControlRow, Plan

HOLD_SECONDS = 3600.0
_AT_HOME = (Phase.OFF, Phase.TRACK_A, Phase.DONE)
MOST_TOUCHED = 0.2  # of the planned rows, since the evidence
TOUCHED_SAMPLE = 500


@dataclass(frozen=True, slots=True)
class Switched:
    """What the switch did: phase reached, seconds in the hold, rows of the source read once more; the approver is
    empty where the switch had been made before."""

    phase: Phase
    hold_seconds: float
    rows_reread: int
    approved_by: str


def cut_over(session: Session, plan: Plan, evidence_hash: str, cohort: str = COHORT) -> Switched:
    """Move a cohort's authority to the target, once those before it have theirs there.

    Safe to call again after any crash: it reads the control row first, and goes on from there. Raises NotApproved,
    SourceChanged or another error that says no; then the phase is TRACK_A again and nothing has changed. After a
    RetryableError of the target in HOLD_B the phase stays, and the call can be made again.
    """
    row = session.control(cohort)
    if row.phase in (Phase.OFF, Phase.DONE):
        raise GateError(f"cohort {cohort} of {session.migration} is in {row.phase}: there is nothing to switch")
    if session.spec.routers:
        return _cut_over_with_routers(session, plan, row, evidence_hash)
    if row.phase is Phase.TRACK_B:
        return Switched(row.phase, 0.0, 0, "")
    began, rows = time.monotonic(), 0
    if row.phase is Phase.TRACK_A:
        row = _hold(session, plan, row, evidence_hash)
    if row.phase is Phase.HOLD_A:
        row, rows = _prove_unchanged(session, plan, row, evidence_hash)
    _point_alias(session, row)
    row = _step(session, row, Phase.TRACK_B, "the target has the authority")
    answers = session.journal.approvals.all(evidence_hash)
    return Switched(row.phase, time.monotonic() - began, rows, answers[0].actor if answers else "")


def _cut_over_with_routers(session: Session, plan: Plan, row: ControlRow, evidence_hash: str) -> Switched:
    """The same while routers write: a hold of seconds, in which everything is settled, instead of a second reading."""
    held, approver = 0.0, ""
    _require_turn(session, row)
    if row.phase is not Phase.TRACK_B:
        approval = _approval(session, row, evidence_hash)
        if row.phase is Phase.TRACK_A:
            require_open(session.spec)
            _require_current(session, plan, evidence_hash)
        approver, reason = approval.actor, _reason(approval, evidence_hash)
        moved = move_authority(session, row.cohort, Phase.TRACK_B, reason=reason, hold=_hold_seconds(session))
        held = moved.hold_seconds
    if row.cohort == session.spec.cohorts[-1].name:
        # Only now: a hold may still be ended by a router, and a reader of the alias would then read the follower.
        alias.point(session)
    return Switched(Phase.TRACK_B, held, 0, approver)


def _is_approved(session: Session, evidence_hash: str) -> bool:
    try:
        require_approval(session, evidence_hash, CUTOVER)
    except NotApproved:
        return False
    return True


def _require_turn(session: Session, row: ControlRow) -> None:
    """The cohorts before this one have their authority in the target."""
    for earlier in session.journal.control.all(session.migration):
        if earlier.cohort == row.cohort:
            return
        if earlier.phase is not Phase.TRACK_B:
            raise GateError(
                f"cohort {row.cohort} of {session.migration} follows {earlier.cohort}, which is in {earlier.phase}: it comes first"
            )


def _approval(session: Session, row: ControlRow, evidence_hash: str) -> Approval:
    """The approval that holds now; without it a hold that an earlier try began is ended."""
    try:
        return require_approval(session, evidence_hash, CUTOVER)
    except GateError as error:
        if row.phase.blocks_writes and row.came_from is Phase.TRACK_A:
            step_back(session, row.cohort, Phase.TRACK_A, f"stepped back: {error}")
        raise


def _require_current(session: Session, plan: Plan, evidence_hash: str) -> None:
    """The way back is proven, everything is loaded, and what was written since the evidence is little, settled and equal."""
    prove_way_back(session)
    require_loaded(session, plan)
    evidence = session.journal.evidence.get(evidence_hash)
    assert evidence is not None, "it was approved"
    touched = session.journal.records.touched_since(session.migration, evidence.watermark)
    if touched > MOST_TOUCHED * plan.details["rows"]:
        raise NotApproved(
            f"evidence {evidence_hash[:12]} has lapsed: {touched} records were written since, more than {MOST_TOUCHED:.0%} of "
            f"{plan.details['rows']}; run the checks again"
        )
    settle_up_to_now(session)
    sample = session.journal.records.touched_sample(session.migration, evidence.watermark, TOUCHED_SAMPLE)
    found = compare_touched(session, sample, evidence.watermark)
    if not found.passed:
        raise CheckFailed(f"written since the evidence, and not equal: {describe(found)}")


def _hold_seconds(session: Session) -> float:
    return session.spec.switch.hold.total_seconds()


def _reason(approval: Approval, evidence_hash: str) -> str:
    return f"approved by {approval.actor}, evidence {evidence_hash[:12]}"


def inspect_rollback(session: Session, cohort: str | None = None) -> Verdict:
    """What a rollback of one cohort, or of all, would find now. Raises GateError without routers, where there is nothing to roll back,
    and where the source takes no probe record."""
    rows = _away(session, cohort)
    prove_way_back(session)
    found = [session.journal.claims.backlog(session.migration, row.cohort) for row in rows]
    figures = {
        "asked": cohort,
        "cohorts": [row.cohort for row in rows],
        "dirty": sum(each.dirty for each in found),
        "open": sum(each.open for each in found),
        "since": min(row.changed_at for row in rows).isoformat(timespec="seconds"),
        "touched": session.journal.records.touched_since(session.migration, 0),
    }
    return Verdict("way_back", "overall", True, figures)


def asked_cohort(session: Session, evidence_hash: str) -> str | None:
    """The cohort that evidence of a rollback is about, and nothing else; None: all."""
    evidence = session.journal.evidence.get(evidence_hash)
    found = verdicts_of(evidence, "way_back") if evidence is not None else []
    asked: str | None = found[0]["figures"].get("asked") if found else None
    return asked


def _away(session: Session, cohort: str | None) -> tuple[ControlRow, ...]:
    """The cohorts that can be rolled back, the last first; raises GateError where there is none.

    Without routers it is a hold that a cut-over left standing: the target has not got the authority yet.
    """
    control = session.journal.control
    every = control.all(session.migration) if cohort is None else (control.get(session.migration, cohort),)
    rows = [row for row in every if row.phase not in _AT_HOME]
    if not session.spec.routers and any(row.came_from is not Phase.TRACK_A for row in rows):
        raise GateError(
            f"migration {session.migration} has no routers: nobody tracked what was written to the target since the cut-over; "
            "point the applications back by hand"
        )
    if not rows:
        phases = ", ".join(sorted({row.phase for row in every})) or "unknown to the journal"
        raise GateError(f"migration {session.migration} is in {phases}: there is nothing to roll back")
    return tuple(reversed(rows))


def is_away(session: Session, cohort: str | None = None) -> bool:
    """Whether a cohort, or any, can be rolled back."""
    rows = session.journal.control.all(session.migration)
    return any(row.phase not in _AT_HOME for row in rows if cohort in (None, row.cohort))


def roll_back(session: Session, reason: str, cohort: str | None = None) -> Switched:
    """Move the authority back to the source, which routers kept up with every write; ends a cut-over that is in its hold.

    All cohorts, the last first, or one. The alias of the spec follows, once writes go to the source. Safe to call again after any crash.
    Raises GateError without routers once the target has the authority, or naming what is in the way; then nothing has changed for that
    cohort.
    """
    if not is_away(session):
        alias.point_back(session)  # an earlier try may have died before it did
    held = [_roll_back(session, row, reason) for row in _away(session, cohort)]
    alias.point_back(session)
    return Switched(Phase.TRACK_A, max(held), 0, session.actor)


def _roll_back(session: Session, row: ControlRow, reason: str) -> float:
    """Returns for how many seconds writes waited."""
    detail = {"reason": reason, "from": row.phase, "cohort": row.cohort}
    session.journal.audit.write(session.migration, session.actor, "rollback", detail)
    why = f"rolled back by {session.actor}: {reason}"
    if row.came_from is Phase.TRACK_A:
        step_back(session, row.cohort, Phase.TRACK_A, why)
        return 0.0
    if row.phase is Phase.TRACK_B:
        settle_up_to_now(session)
    return move_authority(session, row.cohort, Phase.TRACK_A, reason=why, hold=_hold_seconds(session)).hold_seconds


def unfinished(session: Session, evidence_hash: str) -> bool:
    """Whether a switch was cut short: in a hold, between two cohorts, or before the new authority passed its verification.

    Between two cohorts it goes on only while the approval holds; else the checks are due again.
    """
    phases = {row.phase for row in session.journal.control.all(session.migration)}
    if phases & {Phase.HOLD_A, Phase.HOLD_B}:
        return True
    if phases == {Phase.TRACK_A, Phase.TRACK_B}:
        return _is_approved(session, evidence_hash)
    done = session.journal.audit.trail(session.migration, "phase", "verified")
    return Phase.TRACK_B in phases and not (done[-1].action == "verified" and done[-1].detail["passed"])


def _hold(session: Session, plan: Plan, row: ControlRow, evidence_hash: str) -> ControlRow:
    approval = require_approval(session, evidence_hash, CUTOVER)
    require_open(session.spec)
    # No probe: nobody writes, so that the source keeps everything, and the way back is to point the readers there.
    require_loaded(session, plan)
    return _step(session, row, Phase.HOLD_A, _reason(approval, evidence_hash), hold=HOLD_SECONDS)


def _step(session: Session, row: ControlRow, to: Phase, reason: str, hold: float | None = None) -> ControlRow:
    return session.journal.control.advance(row, to, actor=session.actor, reason=reason, hold_seconds=hold)


def _prove_unchanged(session: Session, plan: Plan, row: ControlRow, evidence_hash: str) -> tuple[ControlRow, int]:
    """Go on to HOLD_B, or step back to TRACK_A: a hold that nobody ends would keep the writers out for ever."""
    try:
        # Once more, because an approval may have lapsed since an earlier try was cut short in the hold.
        require_approval(session, evidence_hash, CUTOVER)
        rows = require_unchanged(session, plan)
        require_target(session, plan)
    except VectorferryError as error:  # a record that cannot be read, too: nothing may leave the hold standing
        _step(session, row, Phase.TRACK_A, f"stepped back: {error}")
        raise
    return _step(session, row, Phase.HOLD_B, f"source unchanged, {rows} rows read once more"), rows


def _point_alias(session: Session, row: ControlRow) -> None:
    # In HOLD_B nobody writes, and the target already is the authority: readers of the alias move before writers do.
    try:
        alias.point(session)
    except TerminalError as error:
        held = _step(session, row, Phase.HOLD_A, f"stepped back: {error}")
        _step(session, held, Phase.TRACK_A, f"stepped back: {error}")
        raise


def prove_way_back(session: Session) -> None:
    """The old authority takes writes, shown by a probe: rollback would work. Raises GateError where it does not."""
    if reason := refusal(session.source, session.source.describe()):
        raise GateError(
            f"no way back: {session.source.name}: {reason}; see to the rights of the connection {session.spec.source.connection!r}"
        )
