"""Records that are stored and that no search returns: found by their own vectors, and written again without being lost on the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipeline.commanding import on
from pipeline.test_live import approve, live, one
from pipeline.worlds import World, rows_of, weaviate_connection
from pipeline.writing import joined
from stores.weaviate.test_failures import losing_the_first
from trail import left_in_trail
from vectorferry.core.errors import OutcomeUnknown
from vectorferry.core.model import KeyRange, Neighbours, Vectors
from vectorferry.core.records import comparable_rows
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import ONCE, Caller
from vectorferry.stores.pgvector.store import PgvectorStore
from vectorferry.stores.registry import open_store, source_options
from vectorferry.stores.weaviate.store import WeaviateStore

__all__ = ["live", "one"]


@pytest.fixture
def signing(world: World) -> World:
    world.spec_dict["approval"] = {"terminal": True, "four_eyes": False}
    world.fill(rows_of("asyncio", "wave", most=60))
    return world


Forget = Callable[..., None]


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forget]:
    """Has searches of a collection leave these ids out until they are deleted, as an index does that never got them."""
    lost: dict[str, set[str]] = {}
    search, delete = PgvectorStore.search, PgvectorStore.delete

    def searching(self: PgvectorStore, namespace: str, queries: Vectors, k: int, **more: Any) -> Neighbours:
        gone = lost.get(self.name, set())
        found = search(self, namespace, queries, k + len(gone), **more)
        kept = [
            [(i, s) for i, s in zip(*each, strict=True) if i not in gone][:k]
            for each in zip(found.ids, found.scores, strict=True)
        ]
        return Neighbours(
            tuple(tuple(i for i, _ in row) for row in kept), tuple(tuple(s for _, s in row) for row in kept)
        )

    def deleting(self: PgvectorStore, namespace: str, ids: Any) -> None:
        lost.get(self.name, set()).difference_update(ids)
        delete(self, namespace, ids)

    monkeypatch.setattr(PgvectorStore, "search", searching)
    monkeypatch.setattr(PgvectorStore, "delete", deleting)
    able = PgvectorStore.capabilities.fget
    assert able is not None
    resending = property(lambda self: replace(able(self), resend_after_delete=True))
    monkeypatch.setattr(PgvectorStore, "capabilities", resending)
    yield lambda store, *ids: lost.setdefault(store, set()).update(ids)


def everything(store: VectorStore) -> list[Any]:
    return [
        row
        for name in sorted(store.describe().namespaces)
        for batch in store.scan(KeyRange(name))
        for row in comparable_rows(batch)
    ]


def test_what_no_search_returns_is_named_and_written_again(signing: World, forget: Forget) -> None:
    assert on(signing, "run", answers="approve\nyes\n").code == 0
    with signing.session() as session:
        before = everything(session.target)
        [first, second] = [row["id"] for row in before if row["namespace"] == "wave"][:2]
    assert on(signing, "searchable").code == 0
    forget("pgvector docs_moved", first, second)
    ran = on(signing, "searchable")
    assert ran.code == 1
    assert "2 are not found by their own vector" in ran.text
    assert f"wave/{first}" in ran.text
    assert f"wave/{second}" in ran.text
    assert "searchable" in ran.text.partition("Next: ")[2]
    asked = on(signing, "searchable", "--put-again", answers="n\n")
    assert (asked.code, "nothing was written" in asked.text) == (1, True)
    mended = on(signing, "searchable", "--put-again", "--yes")
    assert mended.code == 0, mended
    with signing.session() as session:
        assert everything(session.target) == before
        assert left_in_trail(session.journal, "put_again").detail == {"side": "target", "records": 2}


def test_a_death_between_the_deletion_and_the_put_loses_nothing(
    signing: World, forget: Forget, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on(signing, "run", answers="approve\nyes\n").code == 0
    with signing.session() as session:
        before = everything(session.target)
        lost = [row["id"] for row in before if row["namespace"] == "wave"][:3]
        forget("pgvector docs_moved", *lost)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(PgvectorStore, "upsert", _dying)
            pipeline.put_again(session, "target", [("wave", id_) for id_ in lost])
        assert len(everything(session.target)) == len(before) - 3
    with signing.session() as session:
        assert not pipeline.search_each(session, "target", 1.0).unsearchable
        assert everything(session.target) == before
        assert not session.staging.exists("put_again/target.parquet")


def _dying(*_: Any) -> None:
    raise KeyboardInterrupt


def test_under_routers_settling_writes_and_only_to_the_side_that_follows(one: World, forget: Forget) -> None:
    with one.session() as session, joined(one):
        pipeline.run(session, approve)
        [id_] = [row["id"] for row in everything(session.source) if row["namespace"] == "wave"][:1]
        forget("pgvector docs", id_)
        forget("pgvector docs_moved", id_)
        ran = on(one, "searchable", "--put-again", "--yes")
        assert ran.code == 1
        assert "has the authority over cohort all" in ran.text
        assert "through a router" in ran.text
        assert on(one, "searchable", "--side", "source", "--put-again", "--yes").code == 0


def test_what_weaviate_stored_without_its_index_is_searchable_afterwards(signing: World, weaviate: Weaviate) -> None:
    """The server leaves out some of a put whose client went away, or none: how many is its own affair."""
    signing.connections["target"] = weaviate_connection(weaviate)
    signing.spec_dict["target"]["collection"] = "Searchable"
    assert on(signing, "run", answers="approve\nyes\n").code == 0
    with signing.session() as session:
        hasty = open_store(
            signing.connection("target"), "Searchable", source_options(signing.spec), caller=Caller(policy=ONCE)
        )
        assert isinstance(hasty, WeaviateStore)
        told = _interrupted(hasty, session)
        found = pipeline.search_each(session, "target", 1.0)
        print(f"{told} puts lost their client, {len(found.unsearchable)} of {found.looked_at} records without index")
        for _ in range(5):  # a request that was given up may land late
            if found.unsearchable:
                pipeline.put_again(session, "target", found.unsearchable)
                found = pipeline.search_each(session, "target", 1.0)
        assert (found.unsearchable, found.undecided) == ((), 0)
        assert found.looked_at
        session.target.drop()
        hasty.close()


def _interrupted(store: WeaviateStore, session: Session) -> int:
    """All records anew, by puts that lose their client."""
    told, put = 0, store._link.put
    for namespace in session.target.describe().namespaces:
        for batch in session.source.scan(KeyRange(namespace), batch_rows=20):
            store.delete(namespace, batch.column("id").to_pylist())
            store._link.put = losing_the_first(store, 0.002 * (1 + told % 6))  # type: ignore[method-assign]
            try:
                store.upsert(batch)
            except OutcomeUnknown:
                told += 1
            finally:
                store._link.put = put  # type: ignore[method-assign]
    return told
