"""What an application sees of a router in every phase, and what it leaves in both stores and the journal."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from router.conftest import Pair
from vectorferry.core.errors import JournalError, JournalUnavailable, Unavailable
from vectorferry.core.model import COHORT, Phase
from vectorferry.journal.members import Members
from vectorferry.router import AsyncRouter, NotDone, Record, Router, Unknown
from vectorferry.spec.connections import Connection
from vectorferry.stores.pgvector.store import PgvectorStore


def record(name: str, value: float = 1.0, **metadata: object) -> Record:
    return Record(name, [value, 2.0, 3.0, 4.0], metadata)


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- What it answers


def test_an_application_reads_what_it_wrote(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a", kind="x"), record("b", 9.0, kind="y")])
    assert router.fetch("n", ["a", "b", "c"]) == {"a": record("a", kind="x"), "b": record("b", 9.0, kind="y")}
    assert [match.id for match in router.search("n", [9.0, 2.0, 3.0, 4.0], 1)] == ["b"]
    assert [match.id for match in router.search("n", [9.0, 2.0, 3.0, 4.0], 5, where={"kind": "x"})] == ["a"]
    router.delete("n", ["a", "zz"])
    assert list(router.fetch("n", ["a", "b"])) == ["b"]


def test_deletion_by_filter_is_by_the_ids_of_the_authority(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record(f"r{n}", kind="x" if n % 2 else "y") for n in range(10)])
    assert router.delete_where("n", {"kind": {"$eq": "x"}}) == 5
    eventually(lambda: tracked.settle() == tracked.dirty() == 0)
    assert tracked.ids("source") == tracked.ids("target") == {f"r{n}" for n in range(0, 10, 2)}


@pytest.mark.parametrize(("deleted", "expected"), [(0, NotDone), (5, Unknown)])
def test_a_deletion_by_filter_that_is_cut_short_says_so(
    tracked: Pair, monkeypatch: pytest.MonkeyPatch, deleted: int, expected: type[Exception]
) -> None:
    router = tracked.router()
    router.upsert("n", [record(f"r{n}", kind="x") for n in range(5)])
    matching, answers = PgvectorStore.matching, iter([True] if deleted else [])

    def fails(store: PgvectorStore, *wanted: Any) -> frozenset[str]:
        if next(answers, None) is None:
            raise Unavailable("gone")
        return matching(store, *wanted)

    monkeypatch.setattr(PgvectorStore, "matching", fails)
    with pytest.raises(expected, match="nothing was deleted: gone" if not deleted else "5 ids are deleted"):
        router.delete_where("n", {"kind": "x"})
    assert len(tracked.ids("source")) == 5 - deleted


def test_a_deletion_by_filter_ends_where_a_store_still_shows_what_is_deleted(
    tracked: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = tracked.router()
    router.upsert("n", [record("a", kind="x")])
    monkeypatch.setattr(PgvectorStore, "matching", lambda *_: frozenset({"a"}))
    assert router.delete_where("n", {"kind": "x"}) == 1


async def test_the_same_with_asyncio(tracked: Pair) -> None:
    async with AsyncRouter(
        "small", tracked.world.connection("journal"), connections=tracked.world.connection
    ) as router:
        await asyncio.gather(*(router.upsert("n", [record(f"r{n}")]) for n in range(20)))
        assert len(await router.fetch("n", [f"r{n}" for n in range(30)])) == 20
        assert len(await router.search("n", [1.0, 2.0, 3.0, 4.0], 3)) == 3
        await router.delete("n", ["r0"])
        assert await router.delete_where("n", {"kind": "none"}) == 0


def test_a_migration_without_a_spec_is_named(tracked: Pair) -> None:
    lost = Router("other", tracked.world.connection("journal"), connections=tracked.world.connection)
    with pytest.raises(JournalError, match="knows no spec of 'other'"):
        lost.fetch("n", ["a"])


def test_an_opened_router_is_a_member_before_its_first_call(pair: Pair) -> None:
    router = pair.router()
    assert pair.session.journal.members.all("small") == ()
    router.open()
    router.open()
    assert len(pair.session.journal.members.all("small")) == 1


def test_a_lost_answer_to_its_joining_leaves_no_other_member(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    join, lose = Members.join, iter([True])

    def lost(*args: Any, **named: Any) -> Any:
        rows = join(*args, **named)
        if next(lose, False):
            raise JournalUnavailable("on purpose, the answer")
        return rows

    monkeypatch.setattr(Members, "join", lost)
    router = pair.router()
    with pytest.raises(JournalUnavailable):
        router.open()
    router.upsert("n", [record("a")])
    assert len(pair.session.journal.members.all("small")) == 1


# --- Phase by phase


def test_nothing_is_tracked_before_the_migration(pair: Pair) -> None:
    pair.router().upsert("n", [record("a")])
    assert pair.ids("source") == {"a"}
    assert pair.ids("target") == set()
    assert pair.dirty() == 0


def test_a_router_that_lapsed_before_tracking_leaves_its_old_name_itself(pair: Pair) -> None:
    router, members = pair.router(lease=1.5), pair.session.journal.members
    router.upsert("n", [record("a")])
    [before] = members.all("small")
    with pair.journal_down():
        time.sleep(1.6)

    def has_left() -> bool:
        members.evict_lapsed("small", "ann")
        names = {member.id for member in members.all("small")}
        return before.id not in names and bool(names)

    eventually(has_left)
    router.upsert("n", [record("b")])


def test_a_tracked_write_reaches_both_sides(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a")])
    eventually(lambda: tracked.dirty() == 0)
    assert tracked.ids("source") == tracked.ids("target") == {"a"}
    router.delete("n", ["a"])
    eventually(lambda: tracked.dirty() == 0)
    assert tracked.ids("source") == tracked.ids("target") == set()


def test_what_is_not_mirrored_is_settled(tracked: Pair) -> None:
    with tracked.session.journal.database.statement() as connection:
        connection.execute(sa.text("UPDATE vectorferry.control SET loaded = false"))
    tracked.router().upsert("n", [record("a")])
    eventually(lambda: tracked.session.journal.claims.backlog("small", COHORT).open == 0)
    assert tracked.dirty() == 1
    assert tracked.settle() == 0
    tracked.session.journal.control.mark_loaded("small", COHORT)
    assert tracked.settle() == 1
    assert tracked.dirty() == 0


def test_reads_go_on_during_a_hold_and_writes_wait(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a")])
    eventually(lambda: tracked.dirty() == 0)
    tracked.step(Phase.HOLD_A, hold=30)
    eventually(lambda: acknowledged(tracked, Phase.HOLD_A))
    done = threading.Event()
    writing = threading.Thread(target=lambda: (router.upsert("n", [record("b")]), done.set()))
    writing.start()
    assert list(router.fetch("n", ["a"])) == ["a"]
    assert not done.wait(0.3)
    tracked.step(Phase.HOLD_B)
    eventually(lambda: acknowledged(tracked, Phase.HOLD_B))
    assert not done.is_set()
    tracked.step(Phase.TRACK_B)
    assert done.wait(120)
    writing.join()
    assert "b" in tracked.ids("target")
    eventually(lambda: tracked.dirty() == 0)
    assert tracked.ids("source") == tracked.ids("target") == {"a", "b"}


def acknowledged(pair: Pair, phase: Phase) -> bool:
    members = pair.session.journal.members.all("small")
    return all(m.cohorts[COHORT].phase is phase and m.cohorts[COHORT].draining is None for m in members)


def test_a_hold_that_takes_too_long_ends_by_itself_and_fails_the_write(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a")])
    tracked.step(Phase.HOLD_A, hold=0.5)
    eventually(lambda: acknowledged(tracked, Phase.HOLD_A) or tracked.phase() is Phase.TRACK_A)
    router.upsert("n", [record("b")])
    assert tracked.phase() is Phase.TRACK_A


def test_after_the_end_nothing_is_tracked(tracked: Pair) -> None:
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B, Phase.DONE):
        tracked.step(phase)
    router = tracked.router()
    router.upsert("n", [record("a")])
    assert tracked.ids("target") == {"a"}
    assert tracked.ids("source") == set()
    assert tracked.dirty() == 0


# --- What it refuses


def test_a_record_that_one_side_cannot_hold_is_refused_before_it_is_sent(
    tracked: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = tracked.router()
    monkeypatch.setattr(
        PgvectorStore, "capabilities", replace(tracked.session.target.capabilities, metadata_kinds=frozenset())
    )
    with pytest.raises(NotDone, match="rejects 'bad'") as refusal:
        router.upsert("n", [record("a"), record("bad", kind="x")])
    assert not refusal.value.retryable
    assert tracked.ids("source") == set()
    assert tracked.dirty() == 0


def test_a_store_that_cannot_be_asked_what_it_holds_is_not_done(tracked: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: PgvectorStore) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(PgvectorStore, "capabilities", property(gone))
    with pytest.raises(NotDone, match="not written: gone") as refusal:
        tracked.router().upsert("n", [record("a")])
    assert refusal.value.retryable


@pytest.mark.parametrize("vector", [[float("nan")] * 4, [1.0] * 5])
def test_a_vector_that_no_side_takes_is_not_done(tracked: Pair, vector: list[float]) -> None:
    router = tracked.router()
    with pytest.raises(NotDone):
        router.upsert("n", [Record("a", vector)])
    eventually(lambda: tracked.session.journal.claims.backlog("small", COHORT).open == 0)
    assert tracked.ids("source") == set()


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("a\0b", r"NUL|U\+0000"),
        ("x" * 8000, "longer than 2048 bytes|the journal keeps"),
        ("a\ud800", "surrogates not allowed"),
    ],
)
def test_an_id_that_the_journal_cannot_keep_is_refused_by_name(tracked: Pair, id_: str, why: str) -> None:
    router = tracked.router()
    with pytest.raises(NotDone, match=why) as refusal:
        router.upsert("n", [record("good"), record(id_)])
    assert not refusal.value.retryable
    with pytest.raises(NotDone):
        router.delete("n", [id_])
    assert tracked.ids("source") == set()
    assert tracked.dirty() == 0


def test_nothing_to_write_is_no_error(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [])
    router.delete("n", [])
    assert tracked.dirty() == 0


@pytest.mark.parametrize("vector", [[1.0, 2.0], ["a", "b", "c", "d"], [[1.0], [2.0]]])
def test_a_vector_that_is_none_is_refused_by_name(tracked: Pair, vector: Any) -> None:
    router = tracked.router()
    with pytest.raises(NotDone, match="'bad'") as refusal:
        router.upsert("n", [record("good"), Record("bad", vector)])
    assert not refusal.value.retryable
    assert tracked.ids("source") == set()


def test_what_is_fetched_can_be_put_back_with_nothing_lost(tracked: Pair) -> None:
    sparse = {"indices": [1, 7], "values": [0.5, 2.0]}
    given = [Record("both", [1.0, 2.0, 3.0, 4.0], {"n": 1}, sparse), Record("sparse", None, {"n": 2}, sparse)]
    router = tracked.router()
    router.upsert("n", [*given, Record("bare", None)])
    found = router.fetch("n", ["both", "sparse", "bare"])
    assert found == {each.id: each for each in [*given, Record("bare", None)]}
    router.upsert("n", [replace(each, metadata={"n": 3}) for each in found.values()])
    assert router.fetch("n", ["both"])["both"] == Record("both", [1.0, 2.0, 3.0, 4.0], {"n": 3}, sparse)


def test_a_closed_router_writes_nothing(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("a")])
    router.close()
    [member] = tracked.session.journal.members.all("small")
    assert member.lease_left < 0
    assert tracked.session.journal.claims.backlog("small", COHORT).open == 0


def test_the_journal_gone_is_not_done_and_reads_go_on_for_a_lease(tracked: Pair) -> None:
    router = tracked.router(lease=3)
    router.upsert("n", [record("a")])
    eventually(lambda: tracked.dirty() == 0)
    with tracked.journal_down():
        with pytest.raises(NotDone, match="could not be recorded") as refusal:
            router.upsert("n", [record("b")])
        assert refusal.value.retryable
        assert list(router.fetch("n", ["a"])) == ["a"]
        eventually(lambda: refused(lambda: router.fetch("n", ["a"])))
    assert tracked.ids("source") == {"a"}
    eventually(lambda: not refused(lambda: router.upsert("n", [record("b")])))
    assert tracked.ids("source") == {"a", "b"}


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except NotDone:
        return True
    return False


def test_the_install_is_light() -> None:
    code = "import sys, vectorferry.router; print(' '.join(name.partition('.')[0] for name in sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {"airflow", "great_expectations", "faiss", "pandas", "typer", "rich", "pinecone", "weaviate"}


def test_a_process_that_is_forked_while_another_thread_opens_the_router_does_not_wait_for_it(tracked: Pair) -> None:
    parent, opening, opened = os.getpid(), threading.Event(), threading.Event()

    def connections(name: str) -> Connection:
        if os.getpid() == parent:
            opening.set()
            opened.wait()
        return tracked.world.connection(name)

    router = Router("small", tracked.world.connection("journal"), connections=connections)
    tracked.cleanup.callback(router.close)
    thread = threading.Thread(target=router.open)
    thread.start()
    opening.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        router.upsert("n", [record("child")])
        os._exit(0)
    opened.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert list(router.fetch("n", ["child"])) == ["child"]


def test_a_forked_process_is_a_router_of_its_own(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [record("parent")])
    child = os.fork()
    if child == 0:
        router.upsert("n", [record("child")])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    router.upsert("n", [record("again")])
    assert tracked.ids("source") == {"parent", "child", "again"}
    assert len(tracked.session.journal.members.all("small")) == 2
