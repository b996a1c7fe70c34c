"""Settling: what routers write is copied to the follower, or given up by name."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Journal, Plan


def settle(session: "Session", plan: "Plan") -> None:
    """Settle what routers wrote while the partitions were moved."""
    from vectorferry.engine.marker import under_marker
    from vectorferry.engine.sync.touched_check import settle_after_load

    with under_marker(session):
        settle_after_load(session, plan)


def settle_up_to_now(session: "Session") -> None:
    """Settle everything that routers have written until now."""
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker
    from vectorferry.engine.sync.settle_loop import settle_up_to_now

    with naming_way_out(session), under_marker(session):
        settle_up_to_now(session)


def to_settle(journal: "Journal", migration: str) -> int | None:
    """How many records and open writes wait for a settler; None once the migration is DONE."""
    from vectorferry.engine.sync.settle_loop import to_settle

    return to_settle(journal, migration)


def settle_continuously(session: "Session", turn: float | None = None) -> None:
    """Settle whatever routers write, until DONE; or for a turn of so many seconds, which ends once nothing was written for a while."""
    from vectorferry.engine.cutover.way_out import naming_way_out
    from vectorferry.engine.marker import under_marker
    from vectorferry.engine.sync.settle_loop import settle_continuously

    with naming_way_out(session), under_marker(session):
        settle_continuously(session, turn)


def excuse(session: "Session", namespace: str, id_: str, reason: str) -> str:
    """Leave a record behind that the following side rejects; returns why it does. Settling takes it as excused from then on."""
    from vectorferry.engine.sync.rejected import excuse

    return excuse(session, namespace, id_, reason)


def taint(session: "Session", reason: str) -> int:
    """Have every record of both sides settled anew; returns how many ids were marked. Voids evidence and approvals."""
    from vectorferry.engine.sync.taint import taint

    return taint(session, reason)
