"""The hours in which a cut-over may begin."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vectorferry.engine.cutover.change_window import opens_at
from vectorferry.spec.cutover_rules import ChangeWindow

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = ChangeWindow.model_validate(
    {"days": ["mon", "fri"], "begin": "09:00", "until": "16:00", "timezone": "Europe/Berlin"}
)
NIGHT = ChangeWindow.model_validate({"days": ["fri"], "begin": "22:00", "until": "02:00"})


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        (OFFICE, datetime(2026, 11, 23, 9, 0, tzinfo=BERLIN), None),
        (OFFICE, datetime(2026, 11, 23, 15, 59, tzinfo=BERLIN), None),
        (OFFICE, datetime(2026, 11, 23, 16, 0, tzinfo=BERLIN), datetime(2026, 11, 27, 9, 0, tzinfo=BERLIN)),
        (OFFICE, datetime(2026, 11, 23, 7, 59, tzinfo=UTC), datetime(2026, 11, 23, 9, 0, tzinfo=BERLIN)),
        (OFFICE, datetime(2026, 11, 23, 8, 0, tzinfo=UTC), None),
        (OFFICE, datetime(2026, 10, 24, 12, 0, tzinfo=BERLIN), datetime(2026, 10, 26, 9, 0, tzinfo=BERLIN)),
        (NIGHT, datetime(2026, 11, 28, 1, 59, tzinfo=UTC), None),
        (NIGHT, datetime(2026, 11, 28, 2, 0, tzinfo=UTC), datetime(2026, 12, 4, 22, 0, tzinfo=UTC)),
    ],
)
def test_when_it_opens(window: ChangeWindow, now: datetime, opens: datetime | None) -> None:
    assert opens_at(window, now) == opens


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))
def test_it_is_open_when_it_opens_and_not_a_moment_before(now: datetime) -> None:
    for window in (OFFICE, NIGHT):
        opens = opens_at(window, now)
        assert opens is None or (opens > now and opens_at(window, opens) is None)


def test_times_are_read_as_people_write_them_in_yaml() -> None:
    window = ChangeWindow.model_validate(yaml.safe_load("{begin: 09:30, until: 16:00}"))
    assert (window.begin, window.until) == (time(9, 30), time(16))


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="'Mars' is no time zone"):
        ChangeWindow(timezone="Mars")
