"""Index readiness: whether the target's index has everything that was loaded, because recall would say nothing before."""

import time

from vectorferry.core.errors import CheckFailed
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.staged import manifest_of
from vectorferry.journal import Plan
from vectorferry.staging import Staging

POLL_SECONDS = 1.0
_STILL = 30.0  # seconds without a new row after which a lagging count is taken for final
_NOTE = "results/index.json"


def index_missing(session: Session, plan: Plan, waited: float) -> StepProgress | None:
    """What of the loaded rows cannot be searched yet, None once nothing is left of them.

    What routers write after the first look (`waited` is 0) is not waited for: there always is some of it. Raises CheckFailed after
    `checks.index_timeout`. Where the target's own count lags, this looks on for as long as it stands still, half a minute.
    """
    if not waited:
        _note_watermark(session, plan)
    limit = session.spec.checks.index_timeout.total_seconds()
    if pending := _pending(session, plan):
        if waited > limit:
            raise CheckFailed(
                f"{_told(session, pending)} after {waited:.0f} s; recall would say nothing. "
                "Raise `checks.index_timeout` or look at the target's index"
            )
        return StepProgress("wait for index", session.target.name, 0, None, f"{pending} vectors to go")
    return None if waited > limit else _growing(session, plan)


def require_index(session: Session, plan: Plan) -> None:
    """Raise CheckFailed where rows that were loaded cannot be searched."""
    if pending := _pending(session, plan):
        raise CheckFailed(f"{_told(session, pending)}: recall would say nothing. Wait for the index once more")


def _told(session: Session, pending: int) -> str:
    return f"{session.target.name}: {pending} vectors are not searchable"


def _pending(session: Session, plan: Plan) -> int:
    """Vectors that are not in the index; 0 where there are no more than routers wrote since the wait began."""
    pending = session.target.pending_index()
    return pending if pending > _written_meanwhile(session, plan) else 0


def _written_meanwhile(session: Session, plan: Plan) -> int:
    staged = session.staged(plan)
    note = staged.read_json(_NOTE) if session.spec.routers and staged.exists(_NOTE) else {}
    if note.get("run") != session.run_id:  # nothing was waited for in this run: nothing is left out
        return 0
    return session.journal.records.touched_since(session.migration, note["watermark"])


def _note_watermark(session: Session, plan: Plan) -> None:
    # Not in memory: the next look may be another process's.
    if session.spec.routers:
        watermark = session.journal.records.watermark()
        session.staged(plan).write_json(_NOTE, {"run": session.run_id, "watermark": watermark})


def _expected_rows(session: Session, staged: Staging, plan: Plan) -> int:
    rows = sum(int(manifest_of(staged, partition)["rows"]) for partition in plan.partitions)
    return rows - session.journal.records.excused_count(session.migration)


def _growing(session: Session, plan: Plan) -> StepProgress | None:
    """The rows that the target counts where they still become more; one that stands still is final, and the checks judge it."""
    target = session.target
    if target.capabilities.exact_count:
        return None
    expected, first = _expected_rows(session, session.staged(plan), plan), target.count()
    until = time.monotonic() + max(_STILL, target.capabilities.visibility_delay)
    seen = first
    while seen == first < expected and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        seen = target.count()
    return StepProgress("wait for rows", target.name, seen, expected) if first != seen < expected else None
