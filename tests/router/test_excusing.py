"""A record that the following side rejects is told by its id and reason wherever it stops something, and can be excused."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.commanding import on
from router.conftest import DIMENSION, Pair
from router.moving import moving_to, pinecone, weaviate_of_ours
from trail import left_in_trail
from vectorferry.core.errors import GateError, NotSettled
from vectorferry.core.model import COHORT, Phase, Rejection
from vectorferry.core.records import make_batch
from vectorferry.engine import pipeline
from vectorferry.engine.cutover.handover import move_authority, step_back
from vectorferry.engine.monitor.alerts import alerts
from vectorferry.engine.monitor.blockers import blockers
from vectorferry.engine.sync.rejected import excuse
from vectorferry.engine.sync.settle import settle_batch
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.router import Record
from vectorferry.stores.base import VectorStore
from vectorferry.stores.weaviate.store import WeaviateStore

HOLD = 20.0
LONG = "x" * 2049  # pgvector takes 2,048 bytes


@pytest.fixture
def forward(database: str, postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    """To Pinecone, with two rows that may be excused."""
    with moving_to(pinecone(tmp_path), database, postgres, tmp_path, excused=2) as pair:
        yield pair


@pytest.fixture
def backward(database: str, postgres: Postgres, weaviate: Weaviate, tmp_path: Path) -> Iterator[Pair]:
    """To Weaviate, with one row that may be excused."""
    with moving_to(weaviate_of_ours(weaviate), database, postgres, tmp_path, excused=1) as pair:
        yield pair


def write(store: VectorStore, *ids: str, metadata: str = "{}") -> None:
    """Past the routers, as others do."""
    vectors = np.arange(len(ids) * DIMENSION, dtype=np.float32).reshape(-1, DIMENSION) + 1
    assert not store.upsert(make_batch("n", list(ids), vectors, [metadata] * len(ids))).rejected


def poison(pair: Pair, *ids: str) -> None:
    """The source has records that Pinecone rejects."""
    write(pair.session.source, *ids, metadata='{"$ref":1}')
    pair.session.journal.claims.mark_dirty("small", COHORT, "n", ids)


def held(store: VectorStore, *ids: str) -> list[str]:
    return list(store.fetch("n", ids).column("id").to_pylist())


def test_what_is_rejected_is_told_wherever_it_stops_something(forward: Pair) -> None:
    journal, session = forward.session.journal, forward.session
    poison(forward, "a", "b", "c", "d")
    told = "4 records are rejected by the side that follows: n/a: pinecone docs-moved: a metadata key starts with \\$; n/b: .*; and 1 more"
    began = time.monotonic()
    with pytest.raises(GateError, match=f"{told}.*vectorferry excuse"):
        settle_up_to_now(session)
    with pytest.raises(GateError, match=told):
        move_authority(session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    # At once, and no hold was begun.
    assert time.monotonic() - began < HOLD / 2
    assert not [row for row in journal.audit.trail("small") if row.action == "phase" and row.detail["to"] == "HOLD_A"]
    assert any("4 records are rejected" in line and "n/a" in line for line in blockers(journal, session.spec))
    [alert] = [each for each in alerts(journal, session.spec) if "rejected" in each.text]
    assert "n/a: pinecone docs-moved: a metadata key starts with $" in alert.text
    assert [(each.dirty, each.rejected) for each in pipeline.status(journal, session.spec).live] == [(4, 4)]
    assert any("4 records are rejected" in line for line in pipeline.status(journal, session.spec).in_the_way)


def test_what_is_rejected_in_the_hold_ends_it_at_once(forward: Pair) -> None:
    forward.step(Phase.HOLD_A, hold=HOLD)
    poison(forward, "a")
    began = time.monotonic()
    with pytest.raises(GateError, match="1 record is rejected by the side that follows: n/a"):
        move_authority(forward.session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    assert forward.phase() is Phase.TRACK_A
    assert time.monotonic() - began < HOLD / 2


def test_a_rejection_ends_with_the_write_that_was_rejected(forward: Pair) -> None:
    poison(forward, "written", "deleted", "waits")
    assert [each.id for each in settle_all(forward)] == ["deleted", "waits", "written"]
    router = forward.router()
    router.upsert("n", [Record("written", [1.0, 2, 3, 4])])
    router.delete("n", ["deleted"])
    eventually_settled(forward, 1)
    assert held(forward.session.target, "written", "deleted", "waits") == ["written"]
    assert [row.id for row in forward.session.journal.claims.rejected("small", COHORT).first] == ["waits"]


def test_an_update_whose_result_is_rejected_can_be_excused(forward: Pair) -> None:
    """Each half fits, the whole does not: only settling can find that."""
    router, session = forward.router(), forward.session
    router.upsert("n", [Record("grown", [1.0, 2, 3, 4], {"a": "x" * 30_000})])
    eventually_settled(forward, 0)
    router.update("n", "grown", set_metadata={"b": "x" * 30_000})
    with pytest.raises(GateError, match="n/grown: pinecone docs-moved: the metadata is longer than 40960 bytes"):
        settle_up_to_now(session)
    assert "longer than 40960 bytes" in excuse(session, "n", "grown", "too large to move")
    move_authority(session, COHORT, Phase.TRACK_B, reason="test", hold=HOLD)
    # The target has no part of it, and the source keeps all of it.
    assert held(session.target, "grown") == []
    assert held(session.source, "grown") == ["grown"]
    [row] = session.journal.records.excused("small")
    assert (row.namespace, row.id) == ("n", "grown")
    assert row.reason.startswith("too large to move (pinecone docs-moved: the metadata")
    line = left_in_trail(session.journal, "excuse")
    assert (line.detail["id"], line.detail["reason"]) == ("grown", "too large to move")
    move_authority(session, COHORT, Phase.TRACK_A, reason="test", hold=HOLD)
    assert held(session.source, "grown") == ["grown"]


def test_only_what_is_dirty_and_rejected_is_excused_and_no_more_than_allowed(forward: Pair) -> None:
    session = forward.session
    write(session.source, "fine", "clean")
    for id_, why in (
        ("fine", "is not rejected by pinecone docs-moved"),
        ("clean", "is settled"),
        ("missing", "is settled"),
    ):
        if id_ == "fine":
            session.journal.claims.mark_dirty("small", COHORT, "n", ["fine"])
        with pytest.raises(GateError, match=f"n/{id_} {why}"):
            excuse(session, "n", id_, "test")
    poison(forward, "a", "b", "c")
    # Not tried yet: the target is asked.
    assert "starts with $" in excuse(session, "n", "a", "test")
    excuse(session, "n", "b", "test")
    with pytest.raises(GateError, match=r"limits\.excused allows 2"):
        excuse(session, "n", "c", "test")


def test_a_hold_on_the_new_side_has_a_way_out(backward: Pair) -> None:
    """Marked dirty in HOLD_B and rejected by the old side, a record would keep the authority there for good."""
    session = backward.session
    backward.step(Phase.HOLD_A, hold=HOLD)
    backward.step(Phase.HOLD_B)
    write(session.target, LONG)
    session.journal.claims.mark_dirty("small", COHORT, "n", [LONG])
    with pytest.raises(
        NotSettled, match=r"1 record is rejected by the side that follows: n/xxx.*longer than 2048 bytes"
    ):
        step_back(session, COHORT, Phase.TRACK_A, "test")
    excuse(session, "n", LONG, "test")
    step_back(session, COHORT, Phase.TRACK_A, "test")
    assert backward.phase() is Phase.TRACK_A


def test_the_commands_lead_out_of_a_hold_on_the_new_side(backward: Pair) -> None:
    """`rollback` names what keeps the hold standing, `excuse` leaves it behind, and the same `rollback` ends the hold."""
    backward.step(Phase.HOLD_A, hold=600)
    backward.step(Phase.HOLD_B)
    write(backward.session.target, LONG)
    backward.session.journal.claims.mark_dirty("small", COHORT, "n", [LONG])
    stuck = on(backward.world, "rollback", "--reason", "test", "--yes")
    assert stuck.code != 0
    for told in ("longer than 2048 bytes", "vectorferry excuse", "cohort all is in HOLD_B: writers wait"):
        assert told in stuck.text
    assert backward.phase() is Phase.HOLD_B
    assert on(backward.world, "excuse", "--namespace", "n", "--id", LONG, "--reason", "test").code == 0
    ended = on(backward.world, "rollback", "--reason", "test", "--yes")
    assert ended.code == 0, ended.text
    assert backward.phase() is Phase.TRACK_A
    backward.router().upsert("n", [Record("after", [1.0, 2, 3, 4])])


def test_what_is_excused_on_the_way_back_leaves_the_source_as_it_was(backward: Pair) -> None:
    session = backward.session
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
        backward.step(phase)
    write(session.target, LONG, "other")
    session.journal.claims.mark_dirty("small", COHORT, "n", [LONG, "other"])
    with pytest.raises(GateError, match=r"n/xxx.*pgvector docs: the id is longer than 2048 bytes"):
        move_authority(session, COHORT, Phase.TRACK_A, reason="test", hold=HOLD)
    excuse(session, "n", LONG, "test")
    move_authority(session, COHORT, Phase.TRACK_A, reason="test", hold=HOLD)
    assert held(session.source, LONG, "other") == ["other"]
    assert held(session.target, LONG) == [LONG]


def settle_all(pair: Pair) -> list[Rejection]:
    found: list[Rejection] = []
    while (done := settle_batch(pair.session, COHORT)) is not None:
        found += done.rejected
    return found


def eventually_settled(pair: Pair, left: int) -> None:
    end = time.monotonic() + 10
    while pair.dirty() > left:
        assert time.monotonic() < end
        settle_all(pair)
        time.sleep(0.02)


def test_one_bad_record_is_rejected_and_the_others_go_on(backward: Pair) -> None:
    """A record that no store may be sent keeps only itself from being settled."""
    session, ids = backward.session, [f"i{number:02}" for number in range(20)]
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
        backward.step(phase)
    write(session.target, *ids)
    vectors = np.array([[np.nan, 1, 1, 1]], np.float32)
    assert isinstance(session.target, WeaviateStore)
    # The server takes it, from whoever does not look.
    assert session.target._writing().put(make_batch("n", ["i07"], vectors, ["{}"])) == {}
    session.journal.claims.mark_dirty("small", COHORT, "n", ids)
    done = settle_batch(session, COHORT)
    assert done is not None
    assert done.clean == 19 and [each.id for each in done.rejected] == ["i07"]
    assert "NaN" in done.rejected[0].reason
    assert held(session.source, *ids) == [id_ for id_ in ids if id_ != "i07"]
    with pytest.raises(GateError, match="1 record is rejected by the side that follows: n/i07"):
        settle_up_to_now(session)
    excuse(session, "n", "i07", "a vector of no numbers")
    settle_up_to_now(session)
    assert backward.dirty() == 0


def test_the_command_excuses_and_settle_names_what_is_left(forward: Pair) -> None:
    poison(forward, "a")
    settled = on(forward.world, "settle")
    assert settled.code == 1
    assert "n/a: pinecone docs-moved: a metadata key starts with $" in settled.text
    excused = on(forward.world, "excuse", "--namespace", "n", "--id", "a", "--reason", "test")
    assert excused.code == 0, excused.text
    assert "excused n/a" in excused.text
    assert on(forward.world, "settle").code == 0
    assert forward.dirty() == 0
    assert on(forward.world, "excuse", "--namespace", "n", "--id", "a", "--reason", "test").code == 1
