"""Collections with several vectors, made by the vendor's own client: read whole, written back whole, and searched by each."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from weaviate import WeaviateClient
from weaviate.classes.config import Configure, VectorDistances
from weaviate.classes.data import DataObject

from stores.weaviate.tools import open_store, rest, vendor
from stores.weaviate.witness import held, read
from vectorferry.core.errors import Refused, Unsupported
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric, VectorKind, VectorSpec
from vectorferry.core.records import make_batch, vectors_of
from vectorferry.core.vector_columns import array_of
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.testing.assertions import put, put_all
from vectorferry.testing.samples import random_vectors, records

ROWS = 20
DENSE, MULTI = Configure.Vectors.self_provided, Configure.MultiVectors.self_provided
INDEX = Configure.VectorIndex
SHAPES: dict[str, Any] = {
    "two": lambda: [DENSE(name="a"), DENSE(name="b", vector_index_config=INDEX.flat())],
    "default": lambda: [DENSE(name="default"), DENSE(name="a"), MULTI(name="m")],
    "multi": lambda: [MULTI(name="m")],
    "one": lambda: [DENSE(name="own")],
}
NAMED = {"two": {"a", "b"}, "default": {"a", "m"}, "multi": {"m"}, "one": set[str]()}
LENGTHS = {"a": 4, "b": 3, "default": 5, "own": 2, "m": 2}


@pytest.fixture
def client(weaviate: Weaviate) -> Iterator[WeaviateClient]:
    with vendor(weaviate) as found:
        yield found
        found.collections.delete(["Several", "Twin"])


def objects(names: list[str], rows: int = ROWS) -> list[DataObject[Any, Any]]:
    """Objects with these vectors; some lack one."""
    random = np.random.default_rng(0)

    def vector(name: str, row: int) -> Any:
        shape = (1 + row % 3, LENGTHS[name]) if name == "m" else (LENGTHS[name],)
        return random.standard_normal(shape).astype(np.float32).tolist()

    def lacks(name: str, row: int) -> bool:
        return row % 5 == 4 and row // 5 % len(names) == names.index(name)

    return [
        DataObject(
            properties={},
            uuid=UUID(int=row + 1),
            vector={name: vector(name, row) for name in names if not lacks(name, row)},
        )
        for row in range(rows)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_vector_is_read_and_written_back(weaviate: Weaviate, client: WeaviateClient, shape: str) -> None:
    names = [each.name for each in SHAPES[shape]()]
    made, twin = (client.collections.create(name, vector_config=SHAPES[shape]()) for name in ("Several", "Twin"))
    assert not made.data.insert_many(objects(names)).has_errors
    with closing(open_store(weaviate, "Several")) as store, closing(open_store(weaviate, "Twin")) as target:
        info = store.describe()
        assert info.named.keys() == NAMED[shape]
        assert {name: spec.dimension for name, spec in info.named.items()} == {
            name: LENGTHS[name] for name in info.named
        }
        assert info.dimension == next((LENGTHS[name] for name in names if name not in info.named), None)
        found = list(store.scan(KeyRange(""), batch_rows=7))
        assert read(found) == held(weaviate, "Several")
        assert read([store.fetch("", [str(UUID(int=row + 1)) for row in range(ROWS)])]) == read(found)
        for batch in found:
            put_all(target, batch)
    theirs = {str(each.uuid): each.vector for each in made.iterator(include_vector=True)}
    assert {str(each.uuid): each.vector for each in twin.iterator(include_vector=True)} == theirs
    assert len(theirs) == ROWS


def test_a_vector_without_a_name_beside_named_ones_is_read_and_written(weaviate: Weaviate) -> None:
    """Which is what becomes of a collection of an older server when a named vector is added to it."""
    rest(weaviate, "POST", "/schema", {"class": "Older", "vectorizer": "none", "vectorIndexType": "hnsw"})
    schema = rest(weaviate, "GET", "/schema/Older")
    added = {"own": {"vectorizer": {"none": {}}, "vectorIndexType": "flat"}}
    rest(weaviate, "PUT", "/schema/Older", schema | {"vectorConfig": added})
    try:
        with closing(open_store(weaviate, "Older")) as store:
            assert store.describe().named.keys() == {"own"}
            ids, own = [str(UUID(int=row + 1)) for row in range(3)], random_vectors(3, 4)
            column = array_of(VectorKind.DENSE, [own[0], None, own[2]], 4)
            batch = make_batch("", ids, random_vectors(3), ["{}"] * 3, named={"vector:own": column})
            put_all(store, batch)
            found = held(weaviate, "Older")
            assert found == read([store.fetch("", ids)]) == read([batch])
            assert store.search("", vectors_of(batch)[:1], 1).ids == ((ids[0],),)
            assert store.search("", own[2:], 1, vector="own").ids == ((ids[2],),)
            new = random_vectors(1, seed=9)
            store.update("", ids[0], vector=new[0])
            after = held(weaviate, "Older")
            assert after[ids[0]].named == found[ids[0]].named and after[ids[0]].vector == new.tobytes()
    finally:
        rest(weaviate, "DELETE", "/schema/Older")


def test_named_vectors_are_made_as_they_are_defined(weaviate: Weaviate, client: WeaviateClient) -> None:
    named = {
        "image": VectorSpec("image", VectorKind.DENSE, 4, Metric.EUCLIDEAN, {"type": "flat", "quantizer": "rq"}),
        "tokens": VectorSpec("tokens", VectorKind.MULTI, 3, Metric.DOT, {"efConstruction": 77}),
    }
    with closing(open_store(weaviate, "Several")) as store:
        store.create(CollectionDefinition(8, Metric.DOT, named=named, index={"ef": 50}))
        told = store.describe()
        assert (told.dimension, told.metric, told.index["ef"]) == (8, Metric.DOT, 50)
        assert {name: (spec.kind, spec.dimension, spec.metric) for name, spec in told.named.items()} == {
            name: (spec.kind, spec.dimension, spec.metric) for name, spec in named.items()
        }
        assert (told.named["image"].index["type"], told.named["image"].index["quantizer"]) == ("flat", "rq")
        assert told.named["tokens"].index["efConstruction"] == 77
        config = client.collections.use("Several").config.get().vector_config
        assert config is not None and config.keys() == {"default", "image", "tokens"}
        assert config["image"].vector_index_config.distance_metric == VectorDistances.L2_SQUARED


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (VectorSpec("with space", VectorKind.DENSE, 4, Metric.DOT), "'with space' is no name of a vector"),
        (VectorSpec("default", VectorKind.DENSE, 4, Metric.DOT), "'default' is what the vector without a name"),
        (VectorSpec("m", VectorKind.MULTI, 4, Metric.EUCLIDEAN), "'m' is measured by euclidean"),
        (VectorSpec("words", VectorKind.SPARSE, None, Metric.DOT), "'words' is sparse"),
        (VectorSpec("a", VectorKind.DENSE, 4, Metric.DOT, {"type": "tree"}), "'a': index type 'tree'"),
    ],
)
def test_what_weaviate_has_not_is_refused_by_name(weaviate: Weaviate, spec: VectorSpec, message: str) -> None:
    with closing(open_store(weaviate, "Several")) as store:
        definition = CollectionDefinition(8, Metric.DOT, named={spec.name: spec})
        assert message in " ".join(store.obstacles(definition))
        with pytest.raises(Refused, match=message.split(":", maxsplit=1)[0]):
            store.create(definition)


def test_a_multi_vector_without_vectors_is_rejected_before_the_server_loses_its_object(
    weaviate: Weaviate, client: WeaviateClient
) -> None:
    client.collections.create("Several", vector_config=SHAPES["default"]())
    column = array_of(VectorKind.MULTI, [np.ones((1, 2), np.float32), np.empty((0, 2), np.float32)], 2)
    ids = [str(UUID(int=row + 1)) for row in range(2)]
    with closing(open_store(weaviate, "Several")) as store:
        result = put(store, make_batch("", ids, random_vectors(2, 5), ["{}"] * 2, named={"multi:m": column}))
        assert [(each.id, "'m' holds no vector" in each.reason) for each in result.rejected] == [(ids[1], True)]
        assert held(weaviate, "Several").keys() == {ids[0]}


def test_a_vector_that_is_kept_without_an_index_is_moved_and_not_searched(
    weaviate: Weaviate, client: WeaviateClient
) -> None:
    kept = DENSE(name="kept", vector_index_config=INDEX.none())
    client.collections.create("Several", vector_config=[DENSE(name="default"), kept])
    with closing(open_store(weaviate, "Several")) as store:
        column = array_of(VectorKind.DENSE, [random_vectors(1, 3)[0]], 3)
        batch = make_batch("", [str(UUID(int=1))], random_vectors(1, 5), ["{}"], named={"vector:kept": column})
        put_all(store, batch)
        assert read([store.fetch("", [str(UUID(int=1))])]) == read([batch])
        assert store.capabilities.searches
        with pytest.raises(Unsupported, match="'kept' is kept without an index"):
            store.search("", random_vectors(1, 3), 1, vector="kept")


def test_a_record_with_a_vector_that_the_collection_lacks_is_rejected_by_name(
    weaviate: Weaviate, client: WeaviateClient
) -> None:
    client.collections.create("Several", vector_config=SHAPES["two"]())
    with closing(open_store(weaviate, "Several")) as store:
        id_ = str(UUID(int=1))
        [rejected] = store.rejections(records("", [id_]))
        assert "no dense vector without a name" in rejected.reason
        column = array_of(VectorKind.MULTI, [np.ones((1, 2), np.float32)], 2)
        [rejected] = store.rejections(make_batch("", [id_], None, ["{}"], named={"multi:a": column}))
        assert "no multi vector 'a'" in rejected.reason


def test_a_collection_of_others_is_read_by_its_schema_whatever_its_description_says(
    weaviate: Weaviate, client: WeaviateClient
) -> None:
    description = '{"vectorferry": 1, "dimension": 9, "named": {"own": 9}}'
    made = client.collections.create("Several", description=description, vector_config=SHAPES["one"]())
    made.data.insert_many(objects(["own"], 2))
    with closing(open_store(weaviate, "Several")) as store:
        assert (store.describe().dimension, store.describe().named) == (LENGTHS["own"], {})
        assert read(list(store.scan(KeyRange("")))) == held(weaviate, "Several")
