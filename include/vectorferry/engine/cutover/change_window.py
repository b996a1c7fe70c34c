"""Change window: the hours in which a cut-over may begin."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from vectorferry.core.errors import GateError
from vectorferry.spec.cutover_rules import ChangeWindow
from vectorferry.spec.migration import MigrationSpec

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def opens_at(window: ChangeWindow, now: datetime) -> datetime | None:
    """When the window opens next, None where it is open now; `now` has a time zone."""
    spans = list(_spans(window, now.astimezone(ZoneInfo(window.timezone))))
    if any(begin <= now < end for begin, end in spans):
        return None
    return min(begin for begin, _ in spans if begin > now)


def require_open(spec: MigrationSpec) -> None:
    """Raise GateError, saying when it opens, where a cut-over may not begin now."""
    window = spec.switch.window
    opens = None if window is None else opens_at(window, datetime.now(UTC))
    if opens is not None:
        raise GateError(
            f"the cut-over of {spec.migration} waits for its window (switch.window), which opens at {opens:%a %Y-%m-%d %H:%M %Z}"
        )


def _spans(window: ChangeWindow, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows from yesterday's, which may end today, to next week's. Wall-clock times: days have 23 to 25 hours."""
    for ahead in range(-1, 9):
        day = now.date() + timedelta(days=ahead)
        if _DAYS[day.weekday()] in window.days:
            over_night = window.until <= window.begin
            end = day + timedelta(days=1) if over_night else day
            yield (
                datetime.combine(day, window.begin, now.tzinfo),
                datetime.combine(end, window.until, now.tzinfo),
            )
