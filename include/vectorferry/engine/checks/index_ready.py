"""Index readiness: waits until the target's index has everything that was loaded, because recall would say nothing before."""

import time

from vectorferry.core.errors import CheckFailed
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.loaded import excused_ids
from vectorferry.engine.transfer.staged import manifest_of
from vectorferry.journal import Plan

_POLL = 1.0
_STILL = 30.0  # seconds without a new row after which a lagging count is taken for final


def wait_for_index(session: Session, plan: Plan) -> tuple[float, int]:
    """Wait until what is loaded can be searched; returns the seconds that took, and the rows that the target counts.

    What routers write meanwhile is not waited for: there always is some of it. Raises CheckFailed after `checks.index_timeout`.
    """
    began, limit = time.monotonic(), session.spec.checks.index_timeout.total_seconds()
    watermark = session.journal.records.watermark() if session.spec.routers else None
    while (pending := session.target.pending_index()) > _written_since(session, watermark):
        waited = time.monotonic() - began
        if waited > limit:
            raise CheckFailed(
                f"{session.target.name}: {pending} vectors are not searchable after {waited:.0f} s; recall would say nothing. "
                "Raise `checks.index_timeout` or look at the target's index"
            )
        session.report(StepProgress("wait for index", session.target.name, 0, None, f"{pending} vectors to go"))
        time.sleep(min(_POLL, limit))
    visible = _wait_for_rows(session, _expected_rows(session, plan), began + limit)
    return time.monotonic() - began, visible


def _written_since(session: Session, watermark: int | None) -> int:
    return 0 if watermark is None else session.journal.records.touched_since(session.migration, watermark)


def _expected_rows(session: Session, plan: Plan) -> int:
    staged = session.staged(plan)
    rows = sum(int(manifest_of(staged, partition)["rows"]) for partition in plan.partitions)
    return rows - len(excused_ids(session))


def _wait_for_rows(session: Session, expected: int, until: float) -> int:
    """Rows that the target counts. A count that lags is waited for as long as it grows; the checks judge what is missing."""
    visible, moved = session.target.count(), time.monotonic()
    while visible < expected and not session.target.capabilities.exact_count:
        now = time.monotonic()
        if now > until or now - moved > max(_STILL, session.target.capabilities.visibility_delay):
            break
        session.report(StepProgress("wait for rows", session.target.name, visible, expected))
        time.sleep(_POLL)
        before, visible = visible, session.target.count()
        moved = time.monotonic() if visible != before else moved
    return visible
