"""What an application can ask of a router: pages of ids, filters, neighbours with what they hold, and what is there."""

import asyncio
from dataclasses import replace

import pytest

from router.conftest import Pair
from router.planting import eventually
from vectorferry.core.errors import FilterError
from vectorferry.core.model import COHORT, Metric, Phase
from vectorferry.router import AsyncRouter, NotDone, Record, Router
from vectorferry.stores.pgvector.store import _CAPABILITIES, PgvectorStore


@pytest.fixture
def filled(tracked: Pair) -> Router:
    router = tracked.router()
    router.upsert(
        "n", [Record(f"a{i}", [i + 1.0, 2.0, 3.0, 4.0], {"kind": "even" if i % 2 == 0 else "odd"}) for i in range(7)]
    )
    router.upsert("n", [Record(id_, [0.0, 0.0, 0.0, 1.0]) for id_ in ("B", "a1\U0010ffffz", "a\ud7ff", "é")])
    return router


def test_ids_are_paged_by_prefix_in_bitwise_order(filled: Router) -> None:
    assert filled.list_ids("n", limit=4) == ["B", "a0", "a1", "a1\U0010ffffz"]
    assert filled.list_ids("n", prefix="a1") == ["a1", "a1\U0010ffffz"]
    assert filled.list_ids("n", prefix="a1\U0010ffff") == ["a1\U0010ffffz"]
    assert filled.list_ids("n", prefix="a\ud7ff", after="a6") == ["a\ud7ff"]
    assert filled.list_ids("n", prefix="a", after="a3", limit=2) == ["a4", "a5"]
    assert filled.list_ids("elsewhere") == []


def test_records_are_fetched_by_filter_in_pages(filled: Router) -> None:
    first = filled.fetch_where("n", {"kind": "even"}, limit=2)
    assert first["a2"] == Record("a2", [3.0, 2.0, 3.0, 4.0], {"kind": "even"})
    assert list(first) == ["a0", "a2"]
    assert list(filled.fetch_where("n", {"kind": "even"}, after="a2")) == ["a4", "a6"]
    with pytest.raises(FilterError):
        filled.fetch_where("n", {"kind": {"$near": 1}})


def test_matches_carry_what_was_asked_for(filled: Router) -> None:
    query = [3.0, 2.0, 3.0, 4.0]
    [plain] = filled.search("n", query, 1)
    assert (plain.id, plain.vector, plain.metadata) == ("a2", None, None)
    [full, second] = filled.search("n", query, 2, where={"kind": "even"}, include_vectors=True, include_metadata=True)
    assert (full.id, full.score, full.vector, full.metadata) == ("a2", plain.score, query, {"kind": "even"})
    assert second.score < full.score
    assert filled.search("n", query, 1, include_metadata=True)[0].vector is None
    assert [match.id for match in filled.search_id("n", "a2", 1)] == ["a2"]
    assert filled.search_id("n", "nobody", 3) == []


def test_the_collection_is_that_of_the_authority(tracked: Pair) -> None:
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
        tracked.step(phase)
    found = tracked.router().describe()
    assert (found.name, found.dimension, found.metric, dict(found.namespaces)) == ("docs_moved", 4, Metric.COSINE, {})


async def test_the_same_with_asyncio(filled: Router, tracked: Pair) -> None:
    async with AsyncRouter(
        "small", tracked.world.connection("journal"), connections=tracked.world.connection
    ) as router:
        assert await router.list_ids("n", prefix="a", limit=2) == filled.list_ids("n", prefix="a", limit=2)
        assert await router.fetch_where("n", {"kind": "odd"}) == filled.fetch_where("n", {"kind": "odd"})
        assert await router.search_id("n", "a2", 2, include_vectors=True) == filled.search_id(
            "n", "a2", 2, include_vectors=True
        )
        found = await router.describe()
        assert (found.name, dict(found.namespaces)) == ("docs", {"n": 11})


async def test_reads_go_on_while_more_writes_wait_than_there_are_threads(tracked: Pair) -> None:
    async with (
        AsyncRouter(
            "small", tracked.world.connection("journal"), connections=tracked.world.connection, parallel=1
        ) as router,
        router.pinecone_index() as index,
    ):
        one = [1.0, 2.0, 3.0, 4.0]
        await router.upsert("n", [Record("a", one)])
        tracked.step(Phase.HOLD_A, hold=60)
        eventually(lambda: tracked.session.journal.members.all("small")[0].cohorts[COHORT].phase is Phase.HOLD_A)
        writes = [asyncio.create_task(router.upsert("n", [Record("b", one)]))]
        writes += [asyncio.create_task(index.upsert(vectors=[("c", one)], namespace="n"))]
        await asyncio.sleep(0)
        assert list(await router.fetch("n", ["a"])) == ["a"]
        assert list((await index.fetch(ids=["a"], namespace="n")).vectors) == ["a"]
        assert not any(write.done() for write in writes)
        tracked.step(Phase.TRACK_A)
        await asyncio.gather(*writes)
        assert tracked.ids("source") == {"a", "b", "c"}


def test_a_filter_that_may_have_left_some_out_is_refused(filled: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PgvectorStore, "capabilities", replace(_CAPABILITIES, max_matching=4))
    assert len(filled.fetch_where("n", {"kind": "odd"})) == 3
    with pytest.raises(FilterError, match="4 records or more pass"):
        filled.fetch_where("n", {"kind": "even"})


def test_reads_end_with_the_router(filled: Router) -> None:
    filled.close()
    for read in (
        lambda: filled.list_ids("n"),
        lambda: filled.fetch_where("n", {"a": 1}),
        lambda: filled.search_id("n", "a", 1),
        filled.describe,
    ):
        with pytest.raises(NotDone):
            read()
