"""A ring of pairs, each database once source and once target, and the table of all of them, which `make pairs` writes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

import oracle
from pairs.moving import Moved, NotMoved, move
from pairs.places import KINDS, World, world_beside
from pairs.rows import TOTAL
from pairs.table import PAGE, cells_of, page_of, read_page
from vectorferry.local.servers.postgres import Postgres
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.registry import OWN_STORES

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
