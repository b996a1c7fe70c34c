"""A ring of pairs, each database once source and once target, and the table of all of them, which `make pairs` writes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import oracle
from pairs.moving import Moved, NotMoved, move
from pairs.places import KINDS, World, world_beside
from pairs.rows import TOTAL
from pairs.table import PAGE, cells_of, page_of, read_page
from vectorferry.core.model import CollectionDefinition, FieldType, Metric, VectorKind, VectorSpec
from vectorferry.core.records import make_batch
from vectorferry.engine.plan.second_look import second_look
from vectorferry.engine.probe.trial import refusal
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.registry import OWN_STORES, open_store
from vectorferry.testing.assertions import assert_same, eventually, wait_for_index

RING = list(zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True))
PRODUCTS = {"postgres": "pgvector"}


@pytest.fixture(scope="module")
def world(
    postgres: Postgres, weaviate: Weaviate, qdrant: Qdrant, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world_beside(tmp_path_factory.mktemp("pairs"), postgres, weaviate, qdrant) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize(("source", "target"), RING)
def test_every_kind_of_value_is_moved_or_refused_by_name(world: World, source: str, target: str) -> None:
    moved = move(world, source, target)
    committed = read_page(PAGE.read_text(encoding="utf-8"))
    assert cells_of(moved) == committed[source, target], "run `make pairs`, and read what it changes in docs/pairs.md"


@pytest.mark.long
def test_a_row_that_the_vendors_client_does_not_find_is_named(world: World) -> None:
    place = world.places["pgvector"]

    def blind(collection: str) -> oracle.Rows:
        return {key: row for key, row in place.read(collection).items() if key != ("berlin", "value-00")}

    places = {**world.places, "pgvector": replace(place, read=blind)}
    with pytest.raises(NotMoved, match="missing 'berlin' 'value-00'"):
        move(replace(world, places=places), "pgvector", "pgvector")


def test_the_table_is_of_all_pairs_of_todays_stores() -> None:
    table = read_page(PAGE.read_text(encoding="utf-8"))
    assert set(KINDS) == {PRODUCTS.get(kind, kind) for kind in OWN_STORES} - {"memory"}
    assert set(table) == set(product(KINDS, KINDS))
    for pair, cells in table.items():
        assert cells.rows + sum(cells.refused.values()) + sum(cells.unheld.values()) == TOTAL, pair
    assert "|  |" not in PAGE.read_text(encoding="utf-8")


def test_the_table_is_read_as_it_is_written() -> None:
    moved = Moved("pinecone", "weaviate", rows=3, seconds=1.25)
    moved.unheld["the id is not ASCII"] += 2
    moved.refused["metadata '…': null values are not supported"] += 1
    assert read_page(page_of([moved])) == {("pinecone", "weaviate"): cells_of(moved)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_database_answers_a_probe_and_a_second_look_rightly(world: World, kind: str) -> None:
    """In a collection that has records, with each kind of vector that the database searches; and nothing of the probe stays."""
    place = world.places[kind]
    fields = {"kind": FieldType.STRING, "year": FieldType.INTEGER}
    store = open_store(place.connection(kind), place.called("probed"), StoreOptions(fields=fields))
    named = {
        name: VectorSpec(
            name,
            each,
            None if each is VectorKind.SPARSE else 5,
            Metric.COSINE if each is VectorKind.DENSE else Metric.DOT,
        )
        for name, each in (("image", VectorKind.DENSE), ("words", VectorKind.SPARSE))
        if each in store.capabilities.named_vectors
    }
    store.create(CollectionDefinition(8, Metric.COSINE, fields, named=named))
    try:
        vectors = np.random.default_rng(3).standard_normal((20, 8)).astype(np.float32)
        rows = make_batch("theirs", [f"r{row}" for row in range(20)], vectors, ['{"kind":"a","year":7}'] * 20)
        assert not store.upsert(rows).rejected
        wait_for_index(store, "theirs", 20)
        before = store.describe()
        assert refusal(store, before, search=True) == ""
        assert list(second_look(store, {"theirs": 20})) == []
        eventually(store, lambda: assert_same(store.describe().namespaces, {"theirs": 20}))
        assert store.describe().fields == before.fields
    finally:
        store.drop()
        store.close()
