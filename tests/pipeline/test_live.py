"""The whole pipeline while applications write through routers: nothing is lost, and what differs fails the gate."""

import time
from collections.abc import Callable
from functools import partial

import pytest

from pipeline.planting import raw_postgres
from pipeline.worlds import World, rows_of, weaviate_connection
from pipeline.writing import Key, Writers, assert_as_written, joined, record, writing
from vectorferry.core.errors import CheckFailed, GateError, NotApproved
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.checks.extras import check_extras
from vectorferry.engine.cutover import switch
from vectorferry.engine.diff.full_compare import compare
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.engine.signoff.approval import record_answer
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.engine.waiting import wait_here
from vectorferry.journal import Evidence, Plan
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.pgvector.store import PgvectorStore

SPACES = ("asyncio", "email", "", "os/path", "wave")


@pytest.fixture
def live(world: World) -> World:
    """Five namespaces, and a spec that expects two routers, of whose requests none is given up because the machine is busy."""
    world.spec_dict |= {"writers": {"expected": 2}, "limits": {"request_deadline": "20s", "lease": "30s"}}
    world.spec_dict["shadow"] = {"share": 0}
    world.fill(rows_of(*SPACES))
    return world


def keys_of(world: World, most: int = 12) -> list[Key]:
    """Some records of every namespace, some that are new, and a namespace that is new."""
    table = rows_of(*SPACES)
    every = list(zip(table.column("namespace").to_pylist(), table.column("id").to_pylist(), strict=True))
    old = [key for name in SPACES for key in [k for k in every if k[0] == name][:most]]
    new = [(name, f"new {n}") for name in ("asyncio", "", "made meanwhile") for n in range(4)]
    return [*old, *new]


def approve(session: Session, evidence: Evidence) -> bool:
    record_answer(session, evidence.hash, "approve", person="approver", reason="looks right", via="airflow")
    return True


def phase_of(session: Session) -> Phase:
    return session.journal.control.get(session.migration, COHORT).phase


def assert_equal(session: Session) -> None:
    found = compare(session.source, session.target, session.spec.namespaces)
    assert found.equal, found.differences
    assert found.rows_source > 400


def assert_nothing_lost(session: Session, writers: Writers) -> None:
    """Once settled, both sides are equal, and hold what the writers, who met no error, were told."""
    writers.stop()
    assert writers.errors == []
    settle_up_to_now(session)
    assert_equal(session)
    assert_as_written(session, writers)


def test_a_migration_under_live_writes_and_its_rollback_lose_nothing(
    live: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with live.session() as session, writing(live, keys_of(live)) as writers:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        assert outcome.switched.phase is Phase.TRACK_B
        [touched] = [v for v in outcome.evidence.body["verdicts"] if v["check"] == "touched"]
        assert touched["passed"]
        assert touched["figures"]["compared"] > 0
        some(writers)
        back = switch.roll_back(session, "on purpose")
        assert phase_of(session) is Phase.TRACK_A
        some(writers)
        with live.session() as later:
            again = pipeline.run(later, approve)
        assert again.switched is not None
        assert again.switched.phase is Phase.TRACK_B
        some(writers)
        assert_nothing_lost(session, writers)
        assert "rollback" in [row.action for row in session.journal.audit.trail("small")]
    with capsys.disabled():
        holds = [f"{each.hold_seconds:.2f}" for each in (outcome.switched, back, again.switched)]
        print(
            f" {writers.written} writes, longest {writers.longest:.2f} s, holds {holds} s", touched["figures"], end=" "
        )


def some(writers: Writers) -> None:
    """Wait for some more writes."""
    before = writers.written
    while writers.written < before + 50 and not writers.errors:
        time.sleep(0.01)


@pytest.mark.parametrize("approved", [True, False])
def test_a_switch_that_died_in_its_hold_goes_on_only_if_it_is_approved(one: World, approved: bool) -> None:
    def answer(session: Session, evidence: Evidence) -> bool:
        if approved:
            approve(session, evidence)
        return False

    with one.session() as session, joined(one) as router:
        outcome = pipeline.run(session, answer)
        row = session.journal.control.get("small", COHORT)
        session.journal.control.advance(row, Phase.HOLD_A, actor="ann", reason="died", hold_seconds=60)
        if approved:
            assert pipeline.run(session, approve).switched is not None
            assert phase_of(session) is Phase.TRACK_B
        else:
            with pytest.raises(NotApproved, match="nobody has answered"):
                switch.cut_over(session, outcome.plan, outcome.evidence.hash)
            assert phase_of(session) is Phase.TRACK_A
        router.upsert("", [record("after", 0.2)])


def test_a_rollback_ends_a_cut_over_that_is_in_its_hold(one: World) -> None:
    with one.session() as session, joined(one) as router:
        prepared(session, lambda: None)
        row = session.journal.control.get("small", COHORT)
        session.journal.control.advance(row, Phase.HOLD_A, actor="ann", reason="died", hold_seconds=60)
        assert switch.roll_back(session, "too long").phase is Phase.TRACK_A
        router.upsert("", [record("after", 0.2)])


def test_begin_names_how_many_routers_are_missing(live: World) -> None:
    live.spec_dict["switch"] = {"wait_for_routers": "0.3s"}
    with live.session() as session:
        register(session.journal, session.spec, "ann")
        with joined(live), pytest.raises(GateError, match=r"1 of 2 expected routers .* 1 have not joined"):
            pipeline.prepare(session)
        assert session.journal.plans.current("small") is None


def test_nothing_is_planned_while_a_router_is_missing_whoever_says_that_it_was_waited_for(live: World) -> None:
    with live.session() as session:
        register(session.journal, session.spec, "ann")
        with joined(live):
            pipeline.begin(session)
            while (missing := pipeline.routers_missing(session, 0)) and missing.done == 0:
                time.sleep(0.05)
            assert missing is not None
            assert (missing.done, missing.total) == (1, 2)
            with pytest.raises(GateError, match=r"1 of 2 expected routers follow, so the source cannot be read yet"):
                pipeline.plan(session)
            with joined(live):
                wait_here(session, partial(pipeline.routers_missing, session), 0.05)
                assert pipeline.plan(session).partitions


def test_begin_names_a_router_that_does_not_follow(live: World) -> None:
    live.spec_dict |= {"switch": {"wait_for_routers": "0.3s"}, "writers": {"expected": 1}}
    with live.session() as session:
        register(session.journal, session.spec, "ann")
        session.journal.members.join("small", "asleep", host="far", pid=1, version="0", lease=60, deadline=1)
        with joined(live), pytest.raises(GateError, match="not followed: asleep on far"):
            pipeline.prepare(session)


A: Key = ("asyncio", "asyncio.events.AbstractEventLoop.run_forever")
B: Key = ("asyncio", "asyncio.exceptions.CancelledError")


@pytest.fixture
def one(live: World) -> World:
    """One router is enough."""
    live.spec_dict |= {"writers": {"expected": 1}, "switch": {"wait_for_routers": "5s"}}
    with live.session() as session:
        register(session.journal, session.spec, "ann")
    return live


def prepared(session: Session, written: Callable[[], None]) -> Plan:
    """Planned, exported, then written to, loaded and settled."""
    _, plan = pipeline.prepare(session)
    for partition in plan.partitions:
        pipeline.export_partition(session, plan, partition)
    written()
    for partition in plan.partitions:
        pipeline.load_partition(session, plan, partition)
    pipeline.settle(session, plan)
    return plan


def tamper(database: str, key: Key) -> None:
    with raw_postgres(database, "docs_moved") as raw:
        vector, metadata = raw.read(key)
        raw.write(key, [x + 0.25 for x in vector], metadata)


def test_a_difference_in_a_touched_and_in_an_untouched_record_each_fails(one: World, database: str) -> None:
    with one.session() as session, joined(one) as router:
        plan = prepared(session, lambda: router.upsert(A[0], [record(A[1], 0.3)]))
        assert_equal(session)
        found = next(v for v in pipeline.check_touched(session, plan) if v.check == "touched")
        assert (found.passed, found.figures["touched"]) == (True, 1)
        tamper(database, A)
        for partition in plan.partitions:
            pipeline.check_partition(session, plan, partition)
        with pytest.raises(CheckFailed, match=r"touched of overall: .*asyncio/asyncio\.events\S* vector"):
            pipeline.check_touched(session, plan)
        tamper(database, B)
        with pytest.raises(CheckFailed) as refusal:
            for partition in plan.partitions:
                pipeline.check_partition(session, plan, partition)
        assert f"asyncio/{B[1]} vector" in str(refusal.value)
        assert A[1] not in str(refusal.value)


def test_deleted_and_new_records_are_no_extras_unless_nobody_wrote_them(one: World, database: str) -> None:
    def write() -> None:
        writer.delete(A[0], [A[1]])
        writer.upsert("", [record("new", 0.4)])

    with one.session() as session, joined(one) as writer:
        plan = prepared(session, write)
        assert_equal(session)
        [extras] = check_extras(session, plan)
        assert extras.passed, extras.differences
        with raw_postgres(database, "docs_moved") as raw:
            raw.write(("", "planted"), [0.1] * 384, {})
            raw.write(A, [0.1] * 384, {})
        [extras] = check_extras(session, plan)
        assert [(d.kind, d.namespace, d.id) for d in extras.differences] == [("extra", "", "planted")]
        with pytest.raises(CheckFailed, match="run_forever extra"):
            pipeline.check_touched(session, plan)


def test_the_switch_looks_at_what_was_written_since_the_evidence(one: World, database: str) -> None:
    def approve_late(session: Session, evidence: Evidence) -> bool:
        router.upsert(B[0], [record(B[1], 0.6)])
        settle_up_to_now(session)
        tamper(database, B)
        return approve(session, evidence)

    with one.session() as session, joined(one) as router:
        with pytest.raises(CheckFailed, match=r"written since the evidence, and not equal: .*CancelledError vector"):
            pipeline.run(session, approve_late)
        assert phase_of(session) is Phase.TRACK_A


def test_evidence_lapses_once_much_was_written_since(one: World) -> None:
    def approve_late(session: Session, evidence: Evidence) -> bool:
        router.upsert("elsewhere", [record(f"n{n}", 0.1) for n in range(200)])
        return approve(session, evidence)

    with one.session() as session, joined(one) as router:
        with pytest.raises(NotApproved, match="has lapsed: 200 records were written since, more than 20% of"):
            pipeline.run(session, approve_late)
        assert phase_of(session) is Phase.TRACK_A


def test_an_index_that_is_written_to_all_the_time_is_complete_once_it_has_the_load(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.spec_dict["checks"] |= {"index_timeout": "3s"}
    with one.session() as session, joined(one) as router:
        plan = prepared(session, lambda: None)

        def pending(store: PgvectorStore) -> int:
            router.upsert("", [record("written while the index is waited for", 0.4)])
            return 1

        monkeypatch.setattr(PgvectorStore, "pending_index", pending)
        pipeline.wait_and_merge(session, plan)


def test_without_routers_there_is_no_rollback_once_the_target_has_the_authority(world: World) -> None:
    with world.session() as session:
        register(session.journal, session.spec, "ann")
        control = session.journal.control
        control.mark_loaded("small", COHORT)
        for phase in (Phase.TRACK_A, Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
            control.advance(control.get("small", COHORT), phase, actor="ann", reason="test")
        with pytest.raises(GateError, match="has no routers"):
            switch.roll_back(session, "on purpose")


def test_nothing_to_roll_back_before_the_cut_over(one: World) -> None:
    with one.session() as session, pytest.raises(GateError, match="is in OFF: there is nothing to roll back"):
        switch.roll_back(session, "why not")


def test_the_same_to_weaviate(live: World, weaviate: Weaviate, capsys: pytest.CaptureFixture[str]) -> None:
    live.connections["target"] = weaviate_connection(weaviate)
    live.spec_dict["target"] = {"connection": "target", "collection": "Live"}
    with live.session() as session, writing(live, keys_of(live)) as writers:
        outcome = pipeline.run(session, approve)
        assert outcome.switched is not None
        some(writers)
        switch.roll_back(session, "on purpose")
        some(writers)
        assert_nothing_lost(session, writers)
        session.target.drop()
    with capsys.disabled():
        print(
            f" {writers.written} writes, longest {writers.longest:.2f} s, hold {outcome.switched.hold_seconds:.2f} s",
            end=" ",
        )
