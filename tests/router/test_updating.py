"""Partial updates: what an application sees of them in every phase, and what settling makes of them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from router.conftest import Pair
from vectorferry.core.model import COHORT, Phase
from vectorferry.engine.cutover.handover import move_authority
from vectorferry.engine.sync.settle import settle_batch
from vectorferry.router import AsyncRouter, NotDone, Record
from vectorferry.stores.base import Capabilities
from vectorferry.stores.pgvector.store import PgvectorStore

BEFORE = Record("a", [1.0, 2.0, 3.0, 4.0], {"kind": "x", "size": 1})


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def quiet(pair: Pair) -> bool:
    return pair.session.journal.claims.backlog("small", COHORT).open == 0


def acknowledged(pair: Pair, phase: Phase) -> bool:
    [member] = pair.session.journal.members.all("small")
    return member.cohorts[COHORT].phase is phase and member.cohorts[COHORT].draining is None


def both_hold(pair: Pair, expected: Record) -> None:
    for store in (pair.session.source, pair.session.target):
        found = store.fetch("n", [expected.id]).to_pylist()
        assert [row["vector"] for row in found] == [expected.vector]
        assert found[0]["metadata"].count(":") == len(expected.metadata)


def test_an_update_merges_and_is_settled_never_mirrored(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [BEFORE])
    eventually(lambda: tracked.dirty() == 0)
    router.update("n", "a", set_metadata={"size": 2, "new": True})
    after = replace(BEFORE, metadata={"kind": "x", "size": 2, "new": True})
    assert router.fetch("n", ["a"]) == {"a": after}
    eventually(lambda: quiet(tracked))
    assert tracked.dirty() == 1
    assert tracked.session.target.fetch("n", ["a"]).column("metadata").to_pylist() == ['{"kind":"x","size":1}']
    assert tracked.settle() == 1
    both_hold(tracked, after)


@pytest.mark.parametrize("phase", [Phase.OFF, Phase.TRACK_A, Phase.TRACK_B, Phase.DONE])
def test_an_update_goes_to_the_authority(tracked: Pair, phase: Phase) -> None:
    router = tracked.router()
    router.upsert("n", [BEFORE])
    if phase is Phase.OFF:
        tracked.step(phase)
    elif phase is not Phase.TRACK_A:
        move_authority(tracked.session, COHORT, Phase.TRACK_B, reason="test", hold=30)
        eventually(lambda: acknowledged(tracked, Phase.TRACK_B))
    if phase is Phase.DONE:
        tracked.step(phase)
    eventually(lambda: acknowledged(tracked, phase))
    router.update("n", "a", vector=[9, 9, 9, 9], set_metadata={"kind": "y"})
    assert router.fetch("n", ["a"]) == {"a": Record("a", [9, 9, 9, 9], {"kind": "y", "size": 1})}


def test_an_update_of_what_is_not_there_makes_nothing(tracked: Pair) -> None:
    router = tracked.router()
    router.update("n", "a", vector=[1, 2, 3, 4], set_metadata={"kind": "y"})
    router.update("n", "a")
    assert router.fetch("n", ["a"]) == {}
    eventually(lambda: quiet(tracked))
    assert tracked.settle() == 1
    assert tracked.ids("source") == tracked.ids("target") == set()


def test_updates_of_two_routers_at_once_lose_nothing(tracked: Pair) -> None:
    routers = [tracked.router(), tracked.router()]
    routers[0].upsert("n", [BEFORE])

    def bump(number: int) -> None:
        for value in range(10):
            routers[number].update("n", "a", set_metadata={f"k{number}": value})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(bump, range(2)))
    expected = replace(BEFORE, metadata={"kind": "x", "size": 1, "k0": 9, "k1": 9})
    assert routers[0].fetch("n", ["a"]) == {"a": expected}
    eventually(lambda: quiet(tracked))
    tracked.settle()
    both_hold(tracked, expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"merges_metadata": False}, "cannot change 'a': .* write the whole record"),
        ({"metadata_kinds": frozenset()}, "rejects 'a'"),
    ],
)
def test_what_a_side_cannot_do_is_not_done(
    tracked: Pair, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], message: str
) -> None:
    router = tracked.router()
    router.upsert("n", [BEFORE])
    eventually(lambda: tracked.dirty() == 0)
    lacking: Capabilities = replace(tracked.session.source.capabilities, **changed)  # type: ignore[arg-type]
    monkeypatch.setattr(PgvectorStore, "capabilities", lacking)
    with pytest.raises(NotDone, match=message) as refusal:
        router.update("n", "a", set_metadata={"kind": "y"})
    assert not refusal.value.retryable
    assert tracked.dirty() == 0
    assert router.fetch("n", ["a"]) == {"a": BEFORE}


def test_what_it_comes_to_may_be_refused_by_the_other_side(tracked: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the database knows what the merged record is: the router takes the update, settling names the record."""
    router = tracked.router()
    router.upsert("n", [BEFORE])
    eventually(lambda: tracked.dirty() == 0)
    small = replace(tracked.session.target.capabilities, max_metadata_bytes=40)
    monkeypatch.setattr(PgvectorStore, "capabilities", small)
    router.update("n", "a", set_metadata={"text": "x" * 20})
    eventually(lambda: quiet(tracked))
    monkeypatch.setattr("vectorferry.stores.pgvector.store._CAPABILITIES", small)
    settled = settle_batch(tracked.session, COHORT)
    assert settled is not None
    assert [(each.id, each.reason) for each in settled.rejected] == [("a", "the metadata is longer than 40 bytes")]
    assert tracked.dirty() == 1


async def test_the_same_with_asyncio(tracked: Pair) -> None:
    connection = tracked.world.connection
    async with AsyncRouter("small", connection("journal"), connections=connection) as router:
        await router.upsert("n", [BEFORE])
        await router.update("n", "a", set_metadata={"size": 2})
        assert (await router.fetch("n", ["a"]))["a"].metadata == {"kind": "x", "size": 2}
