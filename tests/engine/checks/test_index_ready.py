"""Whether what was loaded can be searched: one look at a time, by whichever process."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from engine.building import Built
from engine.checks.test_recall import three
from vectorferry.core.errors import CheckFailed
from vectorferry.engine.checks import index_ready
from vectorferry.engine.checks.index_ready import index_missing
from vectorferry.engine.session import StepProgress
from vectorferry.engine.waiting import wait_here
from vectorferry.stores.memory import MEMORY


def look(made: Built, waited: float) -> StepProgress | None:
    return index_missing(made.session, made.plan, waited)


def test_a_look_waits_for_nothing_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = three(tmp_path, checks={"index_timeout": "10s"})
    monkeypatch.setattr(made.target, "pending_index", lambda: 12)
    for waited in (0.0, 10.0):
        missing = look(made, waited)
        assert missing is not None
        assert missing.note == "12 vectors to go"
    with pytest.raises(CheckFailed, match="12 vectors are not searchable after 11 s"):
        look(made, 11.0)


def test_it_is_looked_at_until_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, pending = three(tmp_path), iter([3, 1, 0])
    monkeypatch.setattr(made.target, "pending_index", lambda: next(pending))
    wait_here(made.session, partial(index_missing, made.session, made.plan), 0.0)
    assert next(pending, None) is None


class Lagging:
    """A target's own count, which lags behind what it holds."""

    def __init__(self, counts: Iterable[int]) -> None:
        self._counts = iter(counts)
        self._last = 0

    def __call__(self, namespace: str | None = None) -> int:
        self._last = next(self._counts, self._last)
        return self._last


@pytest.mark.parametrize(
    ("counts", "seen"),
    [((366,), None), ((300, 300, 320), 320), ((300, 300, 366), None), ((300,), None)],
    ids=["complete", "grows", "becomes complete", "stands still"],
)
def test_a_count_that_lags_is_waited_for_while_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...], seen: int | None
) -> None:
    made = three(tmp_path, target=replace(MEMORY, exact_count=False))
    monkeypatch.setattr(made.target, "count", Lagging(counts))
    monkeypatch.setattr(index_ready, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(index_ready, "_STILL", 0.1)
    missing = look(made, 1.0)
    assert (missing and missing.done) == seen
