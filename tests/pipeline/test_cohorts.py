"""Namespaces that are cut over one cohort after the other, and back, while applications write to all of them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.test_live import SPACES, approve, assert_nothing_lost, keys_of, some
from pipeline.worlds import World, rows_of
from pipeline.writing import joined, record, writing
from vectorferry.core.errors import GateError
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import switch
from vectorferry.engine.cutover.handover import move_authority
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.journal import Counted, Evidence
from vectorferry.questions.cutover import question

CANARY = ("email", "made*")


@pytest.fixture
def live(world: World) -> World:
    """Two of six namespaces are cut over first; one of them does not exist yet."""
    world.spec_dict |= {"writers": {"expected": 2}, "limits": {"request_deadline": "20s", "lease": "30s"}}
    world.spec_dict["shadow"] = {"share": 0}
    world.spec_dict["switch"] = {
        "cohorts": [{"name": "canary", "namespaces": list(CANARY)}],
        "guardrails": {"watch": "0s", "min_operations": 0},
        "wait_for_routers": "5s",
    }
    world.fill(rows_of(*SPACES))
    return world


def phases(session: Session) -> list[tuple[str, Phase]]:
    return [(row.cohort, row.phase) for row in session.journal.control.all("small")]


def test_cohorts_are_cut_over_in_order_and_each_can_go_back(live: World) -> None:
    def refuse(session: Session, evidence: Evidence) -> bool:
        return not approve(session, evidence)

    with live.session() as session, writing(live, keys_of(live)) as writers:
        outcome = pipeline.run(session, refuse)
        assert {(p.cohort, *p.namespaces) for p in outcome.plan.partitions} >= {("canary", "email")}
        digest = outcome.evidence.hash
        with pytest.raises(GateError, match="cohort all of small follows canary, which is in TRACK_A"):
            switch.cut_over(session, outcome.plan, digest)
        switch.cut_over(session, outcome.plan, digest, "canary")
        assert phases(session) == [("canary", Phase.TRACK_B), ("all", Phase.TRACK_A)]
        some(writers)
        assert {member.cohorts["canary"].phase for member in session.journal.members.all("small")} == {Phase.TRACK_B}
        switch.roll_back(session, "only to see", "canary")
        assert phases(session) == [("canary", Phase.TRACK_A), ("all", Phase.TRACK_A)]
        some(writers)
        switch.cut_over(session, outcome.plan, digest, "canary")
        with live.session() as later:
            done = pipeline.run(later, refuse).switched
        assert done is not None, "it went on with the second cohort"
        assert phases(session) == [("canary", Phase.TRACK_B), ("all", Phase.TRACK_B)]
        some(writers)
        last = pipeline.prepare_rollback(session, "all")
        assert question(session, last).subject == f"Roll cohort all of small back to {session.source.name}?"
        approve(session, last)
        for _ in range(2):  # also once it is back, and the other still away: as after a death
            pipeline.roll_back(session, last.hash)
            assert phases(session) == [("canary", Phase.TRACK_B), ("all", Phase.TRACK_A)], "approved for that one only"
        switch.roll_back(session, "all of it")
        assert phases(session) == [("canary", Phase.TRACK_A), ("all", Phase.TRACK_A)]
        some(writers)
        assert_nothing_lost(session, writers)


def test_each_namespace_is_read_and_written_where_its_cohort_is(live: World) -> None:
    live.spec_dict["writers"] = {"expected": 1}
    with live.session() as session:
        register(session.journal, session.spec, "ann")
        with joined(live) as router:
            pipeline.prepare(session)
            for row in session.journal.control.all("small"):
                session.journal.control.mark_loaded("small", row.cohort)
            move_authority(session, "canary", Phase.TRACK_B, reason="test", hold=5)
            session.target.upsert(session.source.fetch("asyncio", ["asyncio.exceptions.CancelledError"]))
            router.upsert("email", [record("one", 0.2)])
            router.upsert("asyncio", [record("two", 0.2)])
            session.source.delete("email", ["one"])
            session.target.delete("asyncio", ["two"])
            assert set(router.fetch("email", ["one"])) == {"one"}
            assert set(router.fetch("asyncio", ["two"])) == {"two"}
            counts = router.describe().namespaces
            assert counts["email"] == 1, "where the canary's authority is, and where nothing was loaded"
            assert counts["asyncio"] == session.source.count("asyncio") > 1


def test_new_evidence_can_be_collected_while_the_canary_has_moved(live: World) -> None:
    answers = iter([True, True])

    def first_only(session: Session, evidence: Evidence) -> bool:
        approve(session, evidence)
        return next(answers) and session.run_id != "first"

    with live.session(run_id="first") as session, writing(live, keys_of(live)):
        outcome = pipeline.run(session, first_only)
        switch.cut_over(session, outcome.plan, outcome.evidence.hash, "canary")
        with live.session(run_id="second") as later:
            pipeline.prepare(later)
            pipeline.settle(later, outcome.plan)
            for partition in outcome.plan.partitions:
                pipeline.move_partition(later, outcome.plan, partition)
            pipeline.wait_and_merge(later, outcome.plan)
            for partition in outcome.plan.partitions:
                pipeline.check_recall(later, outcome.plan, partition)
            pipeline.check_collection(later, outcome.plan)
            pipeline.check_expectations(later, outcome.plan)
            pipeline.check_touched(later, outcome.plan)
            newer = pipeline.evidence(later, outcome.plan)
            approve(later, newer)
            switch.cut_over(later, outcome.plan, newer.hash)
        assert phases(session) == [("canary", Phase.TRACK_B), ("all", Phase.TRACK_B)]


def test_a_broken_guardrail_gives_the_canary_back_and_stops_the_rollout(live: World) -> None:
    live.spec_dict["switch"]["guardrails"] = {"watch": "60s", "min_operations": 5}
    with live.session() as session, writing(live, keys_of(live)) as writers:

        def approve_and_plant(asked: Session, evidence: Evidence) -> bool:
            member = asked.journal.members.all("small")[0].id
            planted.append(
                lambda: asked.journal.traffic.add("small", member, [Counted("canary", Phase.TRACK_B, 100, 9)])
            )
            return approve(asked, evidence)

        planted: list[Callable[[], None]] = []
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(pipeline.run, session, approve_and_plant)
            while not done.done() and phases(session)[0][1] is not Phase.TRACK_B:
                time.sleep(0.05)
            planted[0]()
            with pytest.raises(GateError, match=r"cohort canary of small was rolled back: .* operations failed"):
                done.result()
        assert phases(session) == [("canary", Phase.TRACK_A), ("all", Phase.TRACK_A)]
        some(writers)
        assert writers.errors == []


def test_too_little_traffic_does_not_carry_the_rollout_on(live: World) -> None:
    live.spec_dict["switch"]["guardrails"] = {"watch": "0s", "min_operations": 1_000_000}
    with live.session() as session, writing(live, keys_of(live)):
        with pytest.raises(GateError, match="operations since its cut-over are too few to judge by"):
            pipeline.run(session, approve)
        assert phases(session) == [("canary", Phase.TRACK_B), ("all", Phase.TRACK_A)]
