"""Settling waits while the follower is too full, but never in a hold."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest

from router.conftest import DIMENSION, Pair
from vectorferry.core.errors import NoRoom
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine.cutover.handover import move_authority
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.sync.settle_loop import settle_continuously, settle_up_to_now
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import records


class Stopped(BaseException):
    """The end of a settler that follows for ever."""


class Following:
    """A session under limits of rows, whose progress a test waits for."""

    def __init__(self, pair: Pair, **rules: object) -> None:
        self._changed = threading.Condition()
        self._notes: list[str] = []
        self.stopped = False
        self.session: Session = replace(pair.session, report=self._note)
        limits = type(pair.session.spec.capacity).model_validate({"every": "0.01s", "pause": 1, "warn": 1} | rules)
        self.session = replace(self.session, spec=pair.session.spec.model_copy(update={"capacity": limits}))

    def _note(self, progress: StepProgress) -> None:
        if self.stopped:
            raise Stopped
        with self._changed:
            self._notes.append(progress.note)
            self._changed.notify_all()

    def until(self, words: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(words in note for note in self._notes), 30), self._notes

    @contextmanager
    def settling(self) -> Iterator[None]:
        def follow() -> None:
            with suppress(Stopped):
                settle_continuously(self.session)

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def behind(tracked: Pair) -> Pair:
    """Two records that the target lacks, and one too many elsewhere in it."""
    vectors = np.eye(2, DIMENSION, dtype=np.float32)
    put_all(tracked.session.source, records("n", ["a", "b"], vectors))
    put_all(tracked.session.target, records("elsewhere", ["x", "y"], vectors))
    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", ["a", "b"])
    return tracked


def test_a_settler_that_follows_reports_and_waits(behind: Pair) -> None:
    following = Following(behind, target={"rows": 1})
    with following.settling():
        following.until("waits for room: target rows: 2 rows used, of 1 rows (200%)")
        assert behind.ids("target") == set() and behind.dirty() == 2
        behind.session.target.delete("elsewhere", ["x", "y"])
        following.until("written meanwhile")
        following.stopped = True
        behind.session.journal.claims.mark_dirty("small", COHORT, "n", ["a"])
    assert behind.ids("target") == {"a", "b"}


def test_settling_to_an_end_gives_up_saying_how_to_go_on(behind: Pair) -> None:
    with pytest.raises(NoRoom, match=r"raise the limit under capacity\.target, then clear the failed task"):
        settle_up_to_now(Following(behind, target={"rows": 1}, wait="0.1s").session)
    assert behind.dirty() == 2
    settle_up_to_now(Following(behind, target={"rows": 2}).session)
    assert behind.ids("target") == {"a", "b"}


def test_nothing_waits_for_room_in_a_hold(behind: Pair) -> None:
    full = Following(behind, target={"rows": 1}, source={"rows": 1}, wait="0.1s").session
    assert move_authority(full, COHORT, Phase.TRACK_B, reason="test", hold=20).phase is Phase.TRACK_B
    assert behind.ids("target") == {"a", "b"}
    behind.session.journal.claims.mark_dirty("small", COHORT, "n", ["a"])
    with pytest.raises(NoRoom, match="source rows"):
        settle_up_to_now(full)
