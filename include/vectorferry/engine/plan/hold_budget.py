"""Hold budget: the shortest hold of writes that both sides' visibility delays and the tail of settling allow."""

from vectorferry.engine.session import Session

TAIL_SECONDS = 1.0
"""Routers follow into two phases, and what they wrote last is settled, on databases that answer at once."""


def shortest_hold(session: Session) -> float:
    """Seconds below which a hold cannot end well."""
    return TAIL_SECONDS + session.source.capabilities.visibility_delay + session.target.capabilities.visibility_delay


def too_short(session: Session) -> str:
    """Why `switch.hold` of the spec is too short, and what to change; empty where it is not."""
    hold, shortest = session.spec.switch.hold.total_seconds(), shortest_hold(session)
    if hold >= shortest:
        return ""
    sides = (("source", session.source, session.spec.source), ("target", session.target, session.spec.target))
    slow = [(name, store.capabilities.visibility_delay, side.connection) for name, store, side in sides]
    delays = " and ".join(
        f"{seconds:g} s until the {name} shows what was written" for name, seconds, _ in slow if seconds
    )
    named = " or ".join(repr(connection) for _, seconds, connection in slow if seconds)
    parts = f"{delays}, and {TAIL_SECONDS:g} s to settle the rest" if delays else "to settle the rest"
    sooner = (
        f", or, where that shows writes sooner, set `visibility_delay` (seconds) in the extra of connection {named}"
    )
    return f"switch.hold is {hold:g} s, the shortest possible is {shortest:g} s: {parts}. Raise `switch.hold`{sooner if named else ''}"
