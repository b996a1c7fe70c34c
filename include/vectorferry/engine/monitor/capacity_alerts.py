"""Capacity alerts: how full a database is, how fast it grows, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from vectorferry.core.capacity import Fill, Seen
from vectorferry.journal import AuditRow, Journal
from vectorferry.spec.migration import MigrationSpec

MEASURED = "capacity"
_KEEP_EVERY = timedelta(days=1)
_LEAST = timedelta(hours=1)  # growth over less says nothing of a day


def capacity_alerts(
    trail: Sequence[AuditRow], spec: MigrationSpec, seen: Seen, now: datetime
) -> Iterator[tuple[str, str]]:
    """Keys and texts of what should be known of one side now."""
    if seen.problem:
        yield f"capacity {seen.side}", f"nobody knows how full the {seen.side} is: {seen.problem}"
    if seen.read_only:
        text = f"{seen.side} {seen.store} takes no writes: it is read-only, as a database whose disk is full. Make room there"
        yield f"capacity {seen.side} read-only", text
    rules = spec.capacity
    for fill in seen.fills:
        if fill.share > rules.warn:
            above = "pause" if fill.share > rules.pause else "warn"
            text = f"{fill}{_growth(trail, fill, now)}. {_advice(fill, stopped=above == 'pause', pause=rules.pause)}"
            yield f"capacity {fill.name} {above}", text


def keep(
    journal: Journal, spec: MigrationSpec, actor: str, measured: Sequence[Seen], trail: Sequence[AuditRow]
) -> None:
    """Keep what was measured, once a day, for the growth."""
    rows = {fill.name: fill.used for seen in measured for fill in seen.fills if fill.used is not None}
    kept = _kept(trail)
    if rows and (not kept or datetime.now(UTC) - kept[-1].at >= _KEEP_EVERY):
        journal.audit.write(spec.migration, actor, MEASURED, rows)


def _advice(fill: Fill, *, stopped: bool, pause: float) -> str:
    what = "fewer rows" if fill.what == "rows" else f"more {fill.what}, or fewer records"
    then = "Loads and settling wait" if stopped else f"Above {pause:.0%} loads and settling wait"
    return f"{then}: the {fill.side} needs {what}, or a higher capacity.{fill.side}.{fill.what}"


def _growth(trail: Sequence[AuditRow], fill: Fill, now: datetime) -> str:
    earlier = [row for row in _kept(trail) if fill.name in row.detail and now - row.at >= _LEAST]
    if not earlier or fill.used is None:
        return ""
    detail: Mapping[str, int] = earlier[-1].detail
    daily = (fill.used - detail[fill.name]) / ((now - earlier[-1].at) / timedelta(days=1))
    return f", {'growing' if daily >= 0 else 'shrinking'} by {fill.amount(abs(daily))} a day"


def _kept(trail: Sequence[AuditRow]) -> list[AuditRow]:
    return [row for row in trail if row.action == MEASURED]
