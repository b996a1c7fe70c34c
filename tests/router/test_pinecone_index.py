"""The drop-in: the vendor's own client over a router, with its calls, its answers and its errors."""

from typing import Any

import pandas as pd
import pytest
from pinecone import Index, Vector
from pinecone.errors import ApiError, NotFoundError, PineconeValueError, ServiceError
from pinecone.models.vectors.responses import DescribeIndexStatsResponse, FetchResponse, QueryResponse, UpsertResponse

from router.conftest import Pair
from router.planting import eventually, raising
from vectorferry.core.errors import OutcomeUnknown, Unavailable
from vectorferry.core.model import COHORT, Phase
from vectorferry.router import AsyncRouter, NotDone, Router, Unknown

ROWS = [{"id": f"a{i}", "values": [i + 1.0, 2.0, 3.0, 4.0], "metadata": {"n": i, "even": i % 2 == 0}} for i in range(7)]


@pytest.fixture
def router(tracked: Pair) -> Router:
    return tracked.router()


@pytest.fixture
def index(router: Router) -> Any:
    with router.pinecone_index() as found:
        found.upsert(vectors=ROWS, namespace="n")
        yield found


def test_reads_answer_as_the_vendor_does(index: Any) -> None:
    assert isinstance(index, Index)
    fetched = index.fetch(ids=["a1", "nobody"], namespace="n")
    assert isinstance(fetched, FetchResponse)
    assert (fetched.vectors["a1"].values, fetched.vectors["a1"].metadata) == ([2.0, 2, 3, 4], {"n": 1.0, "even": False})
    near = index.query(vector=[3.0, 2, 3, 4], top_k=3, namespace="n", filter={"even": True}, include_metadata=True)
    assert isinstance(near, QueryResponse)
    assert [match.id for match in near.matches] == ["a2", "a4", "a6"] or near.matches[0].id == "a2"
    assert near["matches"][0]["metadata"] == {"n": 2.0, "even": True}
    assert index.query(id="a5", top_k=1, namespace="n", include_values=True).matches[0].values == [6.0, 2, 3, 4]
    pages = [[item.id for item in page.vectors] for page in index.list(namespace="n", prefix="a", limit=4)]
    assert pages == [["a0", "a1", "a2", "a3"], ["a4", "a5", "a6"]]
    assert index.list_paginated(namespace="n", limit=2).pagination.next
    found = index.fetch_by_metadata(filter={"n": {"$gte": 5}}, namespace="n")
    assert sorted(found.vectors) == ["a5", "a6"]
    stats = index.describe_index_stats()
    assert isinstance(stats, DescribeIndexStatsResponse)
    assert (stats.total_vector_count, stats.dimension, stats.namespaces["n"].vector_count) == (7, 4, 7)
    assert [space.name for space in index.list_namespaces_paginated().namespaces] == ["n"]


def test_writes_in_every_form_reach_both_sides(router: Router, index: Any, tracked: Pair) -> None:
    one = [1.0, 2.0, 3.0, 4.0]
    answer = index.upsert(vectors=[("t", one), ("m", one, {"k": "v"}), {"id": "d", "values": one}, Vector("v", one)])
    assert isinstance(answer, UpsertResponse) and answer.upserted_count == 4
    assert index.upsert(vectors=[{"id": f"b{i}", "values": one} for i in range(30)], batch_size=10).upserted_count == 30
    frame = pd.DataFrame({"id": ["f"], "values": [one], "metadata": [{"k": "w"}]})
    assert index.upsert_from_dataframe(frame, show_progress=False).upserted_count == 1
    assert index.upsert(vectors=[("later", one)], async_req=True).get(timeout=30).upserted_count == 1
    index.update(id="m", values=[9.0, 2, 3, 4], set_metadata={"more": True})
    assert index.update(filter={"k": "w"}, set_metadata={"k": "x"}).matched_records == 1
    stored = index.fetch(ids=["m", "f"]).vectors
    assert (stored["m"].values[0], stored["m"].metadata) == (9.0, {"k": "v", "more": True})
    assert stored["f"].metadata == {"k": "x"}
    index.delete(ids=["t", "nobody"])
    index.delete(filter={"k": {"$exists": True}})
    assert {item.id for page in index.list() for item in page.vectors} == {
        "d",
        "v",
        "later",
        *(f"b{i}" for i in range(30)),
    }
    assert "d" in index.fetch(ids=["d"], namespace="__default__").vectors
    index.delete(delete_all=True)
    assert set(index.describe_index_stats().namespaces) == {"n"}
    with pytest.raises(NotFoundError):
        index.delete(delete_all=True)
    router.close()
    tracked.settle()
    assert tracked.ids("source", "") == tracked.ids("target", "") == set()


def test_what_is_not_served_says_so(index: Any) -> None:
    for call in (
        lambda: index.upsert_records(namespace="n", records=[{"_id": "a", "text": "t"}]),
        lambda: index.create_namespace(name="new"),
        lambda: index.start_import(uri="s3://bucket/folder"),
        lambda: index.update(id="a1", sparse_values={"indices": [1], "values": [1.0]}, namespace="n"),
    ):
        with pytest.raises(ApiError, match=r"not supported by this gateway|does not support sparse"):
            call()
    with pytest.raises(PineconeValueError):
        index.query(vector=[1.0, 2, 3, 4], top_k=0, namespace="n")


def test_an_unknown_outcome_is_both_errors_and_never_tried_again(index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = raising(OutcomeUnknown, monkeypatch)
    with pytest.raises(Unknown, match="nobody knows") as unknown:
        index.upsert(vectors=ROWS[:1], namespace="n")
    assert isinstance(unknown.value, ServiceError)
    assert (unknown.value.status_code, unknown.value.within, len(asked)) == (520, 1.0, 1)


def test_what_was_not_done_is_tried_again_by_the_sdk(index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinecone._internal.http_client._retry_sleep", lambda _: None)
    asked = raising(Unavailable, monkeypatch)
    with pytest.raises(NotDone, match="not written") as refusal:
        index.upsert(vectors=ROWS[:1], namespace="n")
    assert isinstance(refusal.value, ServiceError)
    assert (refusal.value.status_code, refusal.value.retryable, len(asked)) == (503, True, 4)


def test_what_will_never_be_done_is_refused_once(router: Router, index: Any) -> None:
    router.close()
    with pytest.raises(NotDone, match="closed") as refusal:
        index.upsert(vectors=ROWS[:1], namespace="n")
    assert isinstance(refusal.value, ApiError)
    assert (refusal.value.status_code, refusal.value.retryable) == (400, False)


async def test_the_same_with_asyncio(tracked: Pair) -> None:
    async with (
        AsyncRouter("small", tracked.world.connection("journal"), connections=tracked.world.connection) as router,
        router.pinecone_index() as index,
    ):
        await index.upsert(vectors=ROWS, namespace="n")
        assert len((await index.fetch(ids=["a1", "a2"], namespace="n")).vectors) == 2
        assert [item.id async for page in index.list(namespace="n", limit=3) for item in page.vectors] == [
            row["id"] for row in ROWS
        ]
        await index.update(id="a1", set_metadata={"n": 10}, namespace="n")
        await index.delete(filter={"n": {"$gt": 5}}, namespace="n")
        found = await index.query(vector=[1.0, 2, 3, 4], top_k=9, namespace="n", include_values=True)
        assert {match.id for match in found.matches} == {"a0", "a2", "a3", "a4", "a5"}
        assert (await index.describe_index_stats()).total_vector_count == 5
        await index.delete(delete_all=True, namespace="n")
        with pytest.raises(NotFoundError):
            await index.delete(delete_all=True, namespace="n")


def test_it_follows_the_authority(router: Router, index: Any, tracked: Pair) -> None:
    eventually(lambda: tracked.dirty() == 0)
    for phase in (Phase.HOLD_A, Phase.HOLD_B, Phase.TRACK_B):
        tracked.step(phase, hold=30 if phase is Phase.HOLD_A else None)
        eventually(lambda phase=phase: tracked.session.journal.members.all("small")[0].cohorts[COHORT].phase is phase)
    index.upsert(vectors=[("new", [1.0, 2, 3, 4])], namespace="n")
    assert "new" in tracked.ids("target")
    assert index.list_paginated(namespace="n").vectors[-1].id == "new"
