"""Records with several vectors by name through a router: fetched, changed and put back whole, settled whole, and searched by each."""

from dataclasses import replace
from typing import Any

import pytest

from router.conftest import DIMENSION, Pair
from vectorferry.core.model import COHORT, CollectionDefinition, Metric, Phase, VectorKind, VectorSpec
from vectorferry.core.records import fingerprints
from vectorferry.router import AsyncRouter, NotDone, Record

NAMED = {
    "image": VectorSpec("image", VectorKind.DENSE, 2, Metric.COSINE),
    "tokens": VectorSpec("tokens", VectorKind.MULTI, 2, Metric.DOT),
    "words": VectorSpec("words", VectorKind.SPARSE, None, Metric.DOT),
}
UNIT = [1.0, 0.0, 0.0, 0.0]


def record(id_: str, angle: float, **named: Any) -> Record:
    vectors = {"image": [angle, 1.0], "tokens": [[angle, 0.0], [0.0, 1.0]], "words": {"indices": [7], "values": [0.5]}}
    return Record(id_, UNIT, {"n": 1}, None, vectors | named)


@pytest.fixture
def several(pair: Pair) -> Pair:
    """Both sides hold the three vectors; in TRACK_A, loaded."""
    for store in (pair.session.source, pair.session.target):
        store.drop()
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE, pair.session.spec.fields, named=NAMED))
    pair.step(Phase.TRACK_A)
    pair.session.journal.control.mark_loaded("small", COHORT)
    return pair


def test_what_is_fetched_changed_and_put_back_keeps_every_vector(several: Pair) -> None:
    router, first = several.router(), record("a", 0.25)
    router.upsert("n", [first, record("b", 2.0, words=None)])
    found = router.fetch("n", ["a", "b"])
    assert found["a"] == first and found["b"].named.keys() == {"image", "tokens"}
    router.upsert("n", [replace(found["a"], metadata={"n": 2})])
    assert router.fetch("n", ["a"])["a"] == replace(first, metadata={"n": 2})
    router.update("n", "a", set_metadata={"more": True}, vector=[0.0, 1.0, 0.0, 0.0])
    after = router.fetch("n", ["a"])["a"]
    assert (after.named, after.vector, after.metadata) == (first.named, [0.0, 1.0, 0.0, 0.0], {"n": 2, "more": True})
    while several.dirty():
        several.settle()
    sides = [fingerprints(side.fetch("n", ["a", "b"])) for side in (several.session.source, several.session.target)]
    assert sides[0] == sides[1] and len(sides[0]) == 2


def test_it_is_searched_by_the_vector_of_a_name(several: Pair) -> None:
    router = several.router()
    router.upsert("n", [record(f"r{n}", float(n)) for n in range(5)])
    assert router.search("n", [4.0, 1.0], 1, by="image", include_vectors=True)[0].vector == [4.0, 1.0]
    assert [each.id for each in router.search("n", [[1.0, 0.0]], 2, by="tokens")] == ["r4", "r3"]
    assert router.search_id("n", "r2", 1, by="image")[0].id == "r2"
    assert router.search_id("n", "nowhere", 1, by="image") == []
    assert len(router.search("n", UNIT, 5)) == 5


async def test_the_awaitable_face_has_the_same_name(several: Pair) -> None:
    several.router().upsert("n", [record("a", 0.0), record("b", 3.0)])
    connection = several.world.connection
    async with AsyncRouter("small", connection("journal"), connections=connection) as router:
        assert [each.id for each in await router.search("n", [3.0, 1.0], 1, by="image")] == ["b"]
        assert [each.id for each in await router.search_id("n", "b", 1, by="tokens")] == ["b"]


def test_a_vector_that_one_side_lacks_is_refused_by_name(several: Pair) -> None:
    several.session.target.drop()
    lacking = {name: spec for name, spec in NAMED.items() if name != "image"}
    several.session.target.create(
        CollectionDefinition(DIMENSION, Metric.COSINE, several.session.spec.fields, named=lacking)
    )
    with pytest.raises(NotDone, match="'image'") as refused:
        several.router().upsert("n", [record("a", 0.5)])
    assert not refused.value.retryable
    assert several.session.source.count("n") == 0
