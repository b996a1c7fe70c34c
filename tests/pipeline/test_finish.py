"""After the cut-over: a rollback that was approved, and DONE, while applications write."""

from collections.abc import Iterator

import pytest

from pipeline.planting import raw_postgres
from pipeline.test_live import approve, assert_equal, assert_nothing_lost, keys_of, live, phase_of, some
from pipeline.worlds import World, rows_of
from pipeline.writing import Writers, assert_as_written, record, writing
from trail import left_in_trail
from vectorferry.core.errors import CheckFailed, GateError, NotApproved
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.backup.drill import drill
from vectorferry.engine.cutover import switch
from vectorferry.engine.cutover.finalize import finish, verify_fresh
from vectorferry.engine.session import Session
from vectorferry.engine.sync.settle_loop import settle_continuously, settle_up_to_now
from vectorferry.journal import Evidence
from vectorferry.questions.cutover import question

__all__ = ["live"]


@pytest.fixture
def moved(live: World) -> Iterator[tuple[World, Session, Writers]]:
    """Cut over, and written to; the end wants no restore drill."""
    live.spec_dict["backup"] = {"require_drill": False}
    with live.session() as session, writing(live, keys_of(live)) as writers:
        pipeline.run(session, approve)
        some(writers)
        with live.session() as later:
            yield live, later, writers


def refuse(session: Session, evidence: Evidence) -> bool:
    return False


def test_done_is_the_end_and_loses_nothing(moved: tuple[World, Session, Writers]) -> None:
    world, _, writers = moved
    del world.spec_dict["backup"]
    with world.session() as strict:
        with pytest.raises(GateError, match="no restore drill of pgvector docs_moved was ever run"):
            pipeline.finalize(strict, refuse)
        assert drill(strict).figures["rows"] > 400, "under live writes"
        end(strict, writers)


def end(session: Session, writers: Writers) -> None:
    """Finish for good, while applications write."""
    assert not pipeline.finalize(session, refuse)
    evidence = session.journal.evidence.latest("small", "finalize")
    assert evidence is not None
    with pytest.raises(NotApproved, match="nobody has answered"):
        finish(session, evidence.hash)
    asked = question(session, evidence)
    assert "there is no way back" in asked.body
    assert "passed at" in asked.body
    assert asked.subject == "Finish small for good?"
    assert pipeline.finalize(session, approve)
    assert phase_of(session) is Phase.DONE
    some(writers)
    writers.stop()
    assert writers.errors == []
    assert_as_written(session, writers, session.target)
    assert session.journal.audit.trail("small")[-1] == left_in_trail(session.journal, "released")
    assert list(session.journal.records.touched("small", 0)) == []
    assert pipeline.finalize(session, refuse), "called again it is done"
    settle_continuously(session)
    with pytest.raises(GateError, match="is in DONE: there is nothing to roll back"):
        switch.roll_back(session, "too late")


def test_a_difference_stands_against_the_end(moved: tuple[World, Session, Writers], database: str) -> None:
    _, session, writers = moved
    with raw_postgres(database, "docs") as raw:
        raw.write(("wave", "planted"), [0.1] * 384, {})
    with pytest.raises(CheckFailed, match=r"equal of overall: .*wave/planted"):
        pipeline.prepare_finalize(session)
    evidence = session.journal.evidence.latest("small", "finalize")
    assert evidence is not None
    with pytest.raises(NotApproved, match="cannot be approved"):
        approve(session, evidence)
    session.journal.claims.mark_dirty("small", "all", "wave", ["planted"])
    settle_up_to_now(session)
    assert verify_fresh(session).passed
    writers.stop()
    settle_up_to_now(session)
    assert_equal(session)


def test_the_end_waits_for_a_router_that_has_not_followed(moved: tuple[World, Session, Writers]) -> None:
    world, session, _ = moved
    session.journal.members.join("small", "asleep", host="far", pid=1, version="0", lease=60, deadline=1)
    world.spec_dict["switch"] = {"wait_for_routers": "0.3s"}
    with world.session() as hasty:
        with pytest.raises(GateError, match=r"is DONE, but its source is still in use: router asleep on far"):
            pipeline.finalize(hasty, approve)
        with pytest.raises(GateError, match="router asleep on far"):
            pipeline.finalize(hasty, refuse)
        for row in session.journal.control.all("small"):
            session.journal.members.acknowledge("asleep", row)
    assert pipeline.finalize(session, refuse)


def test_nothing_is_finished_before_it_is_cut_over(live: World) -> None:
    with live.session() as session:
        pipeline.register(session.journal, session.spec, "ann")
        with pytest.raises(GateError, match="cannot be finished: all in OFF"):
            verify_fresh(session)


def test_a_rollback_needs_an_approval_of_its_own(moved: tuple[World, Session, Writers]) -> None:
    _, session, writers = moved
    evidence = pipeline.prepare_rollback(session)
    with pytest.raises(NotApproved, match="nobody has answered"):
        pipeline.roll_back(session, evidence.hash)
    asked = question(session, evidence)
    assert asked.subject.startswith("Roll small back to")
    approve(session, evidence)
    done = pipeline.roll_back(session, evidence.hash)
    assert (done.phase, phase_of(session)) == (Phase.TRACK_A, Phase.TRACK_A)
    assert pipeline.roll_back(session, evidence.hash).phase is Phase.TRACK_A, "cleared, it does nothing"
    some(writers)
    assert_nothing_lost(session, writers)


def test_without_routers_the_verification_after_the_cut_over_counts(world: World) -> None:
    world.fill(rows_of("", "wave"))
    with world.session() as session:
        pipeline.run(session, approve)
        drill(session)
        assert pipeline.finalize(session, approve)
        assert phase_of(session) is Phase.DONE


def test_a_write_just_before_the_end_is_not_waited_for(moved: tuple[World, Session, Writers]) -> None:
    _, session, writers = moved

    def approve_late(asked: Session, evidence: Evidence) -> bool:
        writers.routers[0].upsert("wave", [record("late", 0.7)])
        return approve(asked, evidence)

    assert pipeline.finalize(session, approve_late)
    assert set(writers.routers[0].fetch("wave", ["late"])) == {"late"}
