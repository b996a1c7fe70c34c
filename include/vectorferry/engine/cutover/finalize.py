"""Finalize: compares both sides in full once more, ends tracking (DONE), and waits until nothing needs the old side."""

import time
from collections.abc import Iterator
from dataclasses import replace

from vectorferry.core.errors import GateError
from vectorferry.core.model import FINALIZE, Phase, Verdict
from vectorferry.engine.diff.full_compare import Comparison, compare
from vectorferry.engine.members import live_members
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.signoff.approval import require_approval
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.sync.touched import WATERMARK
from vectorferry.engine.sync.touched_check import compare_touched
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.journal import TouchedRow

CHECK = "equal"
RELEASED = "released"
MOST_SUSPECTS = 10_000
MOST_MISCOUNTS = 5
# What changes here is in other processes: routers that acknowledge, requests that end.
POLL_SECONDS = 0.2


def require_cut_over(session: Session) -> None:
    """Raise GateError unless every cohort's authority is in the target; one that is DONE already is fine."""
    rows = session.journal.control.all(session.migration)
    behind = [f"{row.cohort} in {row.phase}" for row in rows if row.phase not in (Phase.TRACK_B, Phase.DONE)]
    if behind or not rows:
        where = ", ".join(behind) or "unknown to the journal"
        raise GateError(f"migration {session.migration} cannot be finished: {where}. It is cut over first")


def is_cut_over(session: Session) -> bool:
    """Whether the target has the authority in every cohort."""
    rows = session.journal.control.all(session.migration)
    return bool(rows) and all(row.phase in (Phase.TRACK_B, Phase.DONE) for row in rows)


def is_done(session: Session) -> bool:
    """Whether a cohort has entered DONE already: what was begun is ended."""
    return any(row.phase is Phase.DONE for row in session.journal.control.all(session.migration))


def verify_fresh(session: Session) -> Verdict:
    """Compare every record of both sides, read afresh, while routers write. Raises GateError before the cut-over.

    A difference counts only if nothing wrote the record while it was looked at. Without routers nobody kept the old side up: then the
    verification after the cut-over must have passed.
    """
    require_cut_over(session)
    if not session.spec.routers:
        return _verified(session)
    settle_up_to_now(session)
    watermark = session.journal.records.watermark()
    excused = excused_ids(session)
    found = _compared(session, excused, watermark)
    figures = {WATERMARK: watermark, "rows_source": found.rows_source, "rows_target": found.rows_target}
    if found.total > len(found.differences):
        reason = f"{found.total} differences are too many to look at again one by one"
        return Verdict(CHECK, "overall", False, figures, found.differences[:100], found.total, reason)
    if found.miscounts or found.unread:
        reason = "; ".join([*found.unread, *map(str, found.miscounts[:MOST_MISCOUNTS])])
        return Verdict(CHECK, "overall", False, figures, found.differences[:100], found.total, reason)
    again = compare_touched(session, _suspects(found, excused), watermark, CHECK)
    return replace(again, figures={**again.figures, **figures})


def _compared(session: Session, excused: frozenset[tuple[str, str]], watermark: int) -> Comparison:
    plan = session.journal.plans.current(session.migration)
    return compare(
        session.source,
        session.target,
        session.spec.namespaces,
        report=session.report,
        limit=MOST_SUSPECTS,
        excused=excused,
        written=lambda: session.journal.records.touched_since(session.migration, watermark),
        planned=plan.details["namespaces"] if plan else (),
        adopted=session.spec.target.adopt,
    )


def _suspects(found: Comparison, excused: frozenset[tuple[str, str]]) -> Iterator[TouchedRow]:
    keys = sorted({(each.namespace, each.id) for each in found.differences})
    return (TouchedRow(*key, 0, key in excused) for key in keys)


def _verified(session: Session) -> Verdict:
    done = [row.detail["passed"] for row in session.journal.audit.trail(session.migration, "verified")]
    reason = "" if done and done[-1] else "the verification after the cut-over has not passed"
    return Verdict(CHECK, "overall", not reason, {"verified": len(done)}, reason=reason)


def finish(session: Session, evidence_hash: str) -> None:
    """Enter DONE, from which there is no way back, and wait until nothing can write to the source any more.

    Safe to call again after any crash. Raises NotApproved, or GateError naming what is in the way.
    """
    require_cut_over(session)
    rows = [row for row in session.journal.control.all(session.migration) if row.phase is not Phase.DONE]
    if rows:
        approval = require_approval(session, evidence_hash, FINALIZE)
        evidence = session.journal.evidence.get(evidence_hash)
        assert evidence is not None, "it was approved"
        reason = f"finished by {approval.actor}, evidence {evidence_hash[:12]}"
        for row in rows:
            # What was written since the comparison was acknowledged by the new side, and nobody goes back to the old one.
            session.journal.control.advance(
                row, Phase.DONE, actor=session.actor, reason=reason, upto=evidence.watermark
            )
    _await_release(session)


def _await_release(session: Session) -> None:
    """Wait until every router has followed, and until no request that was tracked can still land in the source."""
    end = time.monotonic() + session.spec.switch.wait_for_routers.total_seconds()
    while waiting := list(_waited_for(session)):
        if time.monotonic() >= end:
            raise GateError(
                f"migration {session.migration} is DONE, but its source is still in use: {'; '.join(waiting)}. "
                "Call it again once that is over"
            )
        session.report(StepProgress("finish", session.migration, 0, None, "; ".join(waiting)))
        time.sleep(POLL_SECONDS)
    session.journal.records.end_tracking(session.migration)
    session.journal.audit.write(session.migration, session.actor, RELEASED, {"source": session.source.name})


def _waited_for(session: Session) -> Iterator[str]:
    rows = session.journal.control.all(session.migration)
    for member in live_members(session.journal, session.migration, session.actor):
        if not all(member.follows(row) for row in rows):
            yield f"router {member.id} on {member.host} has not followed"
    writes = session.journal.records.open_intents(session.migration)
    if writes:
        yield f"{writes} writes may still land"
    claims = session.journal.records.live_claims(session.migration)
    if claims:
        yield f"a settler may still write {claims} records"
