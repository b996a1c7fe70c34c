"""Progress of a run: what a line says, and that a rate is that of its step."""

import io
from typing import Any

import pytest

from vectorferry.cli import progress
from vectorferry.cli.progress import Live
from vectorferry.engine.session import StepProgress


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reports at some seconds; gives what was printed."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setenv("COLUMNS", "200")
    out = io.StringIO()
    live = Live(out)

    def at(seconds: float, *reports: StepProgress) -> list[str]:
        nonlocal now
        now = 100.0 + seconds
        for report in reports:
            live.show(report)
        return out.getvalue().splitlines()

    return at


def load(partition: str, done: int) -> StepProgress:
    return StepProgress("load", partition, done, 1000)


def test_a_step_over_partitions_says_how_far_all_of_them_are(shown: Any) -> None:
    assert shown(0, load("p0", 0), load("p1", 0)) == []
    shown(10, load("p0", 100))
    said = shown(20, load("p0", 1000), load("p1", 0), load("p1", 200))
    assert said[0] == "load: 0 of 2 partitions, 100 of 2,000 rows"
    said = shown(30, load("p1", 300))
    assert said[-1] == "load: 1 of 2 partitions, 1,300 of 2,000 rows, 60/s, 12 s left"


def test_the_rate_of_a_step_that_has_ended_does_not_fall(shown: Any) -> None:
    shown(0, load("p0", 0))
    shown(10, load("p0", 200))
    ended = shown(20, load("p0", 1000))[-1]
    assert ended == "load: 1 of 1 partitions, 1,000 of 1,000 rows, 80/s"
    assert shown(500, StepProgress("search", "n", 1, 50))[-1] == "search n: 1 of 50 rows"


def test_any_other_step_says_what_it_works_on(shown: Any) -> None:
    shown(0, StepProgress("reread source", "p0", 10, 100))
    assert (
        shown(10, StepProgress("reread source", "p0", 60, 100))[-1] == "reread source p0: 60 of 100 rows, 5/s, 8 s left"
    )


def test_the_last_line_of_a_step_says_that_it_has_ended(shown: Any) -> None:
    shown(0, load("p0", 0))
    assert shown(1, load("p0", 200))[-1] == "load: 0 of 1 partitions, 200 of 1,000 rows"
    assert shown(1.1, load("p0", 900))[-1] == "load: 0 of 1 partitions, 200 of 1,000 rows"
    assert shown(1.2, load("p0", 1000))[-1] == "load: 1 of 1 partitions, 1,000 of 1,000 rows"
    said = shown(1.3, StepProgress("search", "n", 5, 5, unit="queries"), StepProgress("search", "n", 5, 5))
    assert said[3:] == []
    assert said[-1] == "search n: 5 of 5 queries"
