"""Vectors of several lengths, and objects without one, are told as what they are; no reader takes one for missing."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID

import pytest
from weaviate.classes.config import Configure
from weaviate.classes.data import DataObject

from stores.weaviate.tools import open_store, vendor
from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionDefinition, Inventory, KeyRange, LengthCount, Metric
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.weaviate.store import WeaviateStore
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import random_vectors, records

PLAIN = Configure.VectorIndex.hnsw()
FLAT = Configure.VectorIndex.flat()
HFRESH = Configure.VectorIndex.hfresh()


def object_of(number: int, floats: int) -> DataObject[Any, Any]:
    vector = [0.5 + number] * floats if floats else None
    return DataObject(properties={}, uuid=UUID(int=number), vector=vector)


@contextmanager
def collection(
    server: Weaviate, lengths: dict[str, Sequence[int]], index: Any = PLAIN, first: int = 1
) -> Iterator[WeaviateStore]:
    """A collection of the vendor's client: for each tenant the lengths of its vectors in the order of UUIDs, 0 for none."""
    with vendor(server) as client:
        tenants = None if "" in lengths else Configure.multi_tenancy(auto_tenant_creation=True)
        config = Configure.Vectors.self_provided(vector_index_config=index)
        made = client.collections.create("Lengths", vector_config=config, multi_tenancy_config=tenants)
        try:
            for tenant, floats in lengths.items():
                put = made.with_tenant(tenant) if tenant else made
                # The server stores those of another length too, and answers that it cannot index them.
                put.data.insert_many([object_of(first + number, length) for number, length in enumerate(floats)])
                stored = [len(each.vector.get("default", ())) for each in put.iterator(include_vector=True)]
                assert stored == list(floats)
            with closing(open_store(server, "Lengths")) as store:
                yield store
        finally:
            client.collections.delete("Lengths")


def found(store: WeaviateStore, most: int = 10_000, namespaces: Sequence[str] = ("",)) -> Inventory:
    return store.inventory(namespaces, most=most)


@pytest.mark.parametrize("index", [PLAIN, FLAT], ids=["hnsw", "flat"])
def test_a_vector_of_another_length_is_an_error_and_never_missing(weaviate: Weaviate, index: Any) -> None:
    with collection(weaviate, {"": [4, 4, 4, *[8] * 57]}, index) as store:
        words = "Lengths, namespace .default., id 00000000-0000-0000-0000-000000000004: the vector has 8 dimensions, those .* have 4"
        with pytest.raises(RecordError, match=words):
            list(store.scan(KeyRange("")))
        with pytest.raises(RecordError, match=words):
            store.fetch("", [str(UUID(int=2)), str(UUID(int=4))])
        assert len(store.fetch("", [str(UUID(int=2))])) == 1
        told = found(store)
        assert told.rows == told.looked_at == 60
        assert {floats: count.records for floats, count in told.lengths.items()} == {4: 3, 8: 57}
        assert told.lengths[8].first == tuple(f"(default)/{UUID(int=number)}" for number in (4, 5, 6))


@pytest.mark.parametrize("index", [PLAIN, FLAT, HFRESH], ids=["hnsw", "flat", "hfresh"])
def test_the_dimension_is_found_behind_objects_without_a_vector(weaviate: Weaviate, index: Any) -> None:
    with collection(weaviate, {"": [0] * 1500 + [4] + [0] * 3}, index) as store:
        assert store.describe().dimension == 4
        batches = list(store.scan(KeyRange("")))
        assert sum(batch.column("vector").is_valid().to_pylist().count(True) for batch in batches) == 1
        assert {batch.schema.field("vector").type.list_size for batch in batches} == {4}
        assert {floats: count.records for floats, count in found(store).lengths.items()} == {0: 1503, 4: 1}


def test_the_dimension_is_found_in_whichever_tenant_has_a_vector(weaviate: Weaviate) -> None:
    with collection(weaviate, {"acme": [0, 0], "globex": [0, 3], "initech": [3]}) as store:
        assert store.describe().dimension == 3
        [batch] = store.scan(KeyRange("acme"))
        assert batch.column("vector").null_count == 2 and batch.schema.field("vector").type.list_size == 3
        assert found(store, namespaces=["acme", "globex"]).lengths == {
            0: LengthCount(3, (f"acme/{UUID(int=1)}", f"acme/{UUID(int=2)}", f"globex/{UUID(int=1)}")),
            3: LengthCount(1, (f"globex/{UUID(int=2)}",)),
        }


def test_tenants_of_several_dimensions_are_told(weaviate: Weaviate) -> None:
    with collection(weaviate, {"acme": [3, 3], "globex": [5]}) as store:
        lengths = found(store, namespaces=["acme", "globex"]).lengths
        assert {floats: count.first for floats, count in lengths.items()} == {
            3: (f"acme/{UUID(int=1)}", f"acme/{UUID(int=2)}"),
            5: (f"globex/{UUID(int=1)}",),
        }
        assert store.describe().dimension == 3
        with pytest.raises(
            RecordError, match=r"namespace globex, id .*1: the vector has 5 dimensions, those .* have 3"
        ):
            list(store.scan(KeyRange("globex")))


def test_a_collection_without_any_vector_has_no_dimension(weaviate: Weaviate, monkeypatch: pytest.MonkeyPatch) -> None:
    with collection(weaviate, {"": [0, 0]}) as store, vendor(weaviate) as client:
        assert store.describe().dimension is None
        [batch] = store.scan(KeyRange(""))
        assert len(batch) == 2
        # One that is written afterwards is no reason to leave it out, however lately it was looked for.
        client.collections.use("Lengths").data.insert({}, uuid=UUID(int=9), vector=[1.0, 2.0])
        assert store.fetch("", [str(UUID(int=9))]).column("vector")[0].as_py() == [1.0, 2.0]
        assert store.describe().dimension == 2


def test_of_many_vectors_some_are_looked_at_everywhere(weaviate: Weaviate) -> None:
    step = (1 << 128) // 4000
    with vendor(weaviate) as client:
        config = Configure.Vectors.self_provided(vector_index_config=FLAT)
        made = client.collections.create("Lengths", vector_config=config)
        try:
            # The last tenth has another length: whoever looks at the first ones only does not find it.
            rows = [
                DataObject(properties={}, uuid=UUID(int=step * n), vector=[0.5] * (2 if n < 3600 else 3))
                for n in range(4000)
            ]
            made.data.insert_many(rows)
            store = open_store(weaviate, "Lengths")
            told = found(store, most=3000)
            assert told.rows == 4000 and 2500 < told.looked_at < 4000 and set(told.lengths) == {2, 3}
            store.close()
        finally:
            client.collections.delete("Lengths")


@pytest.mark.parametrize("options", [{}, {"namespaces": "property"}])
def test_an_inventory_of_our_own_layout_tells_namespaces_apart(weaviate: Weaviate, options: dict[str, Any]) -> None:
    store = open_store(weaviate, "Lengths", **options)
    store.create(CollectionDefinition(4, Metric.COSINE))
    for name, ids in (("a", ["1", "2"]), ("", ["3"])):
        put_all(store, records(name, ids, random_vectors(len(ids), 4)))
    told = found(store, namespaces=["a"])
    assert (told.rows, told.looked_at) == (2, 2) and set(told.lengths[4].first) == {"a/1", "a/2"}
    every = found(store, namespaces=["a", "", "none"])
    assert every.lengths[4].records == 3
    assert {name: held.vectors for name, held in every.held.items()} == {"a": 2, "": 1, "none": 0}
    store.drop()
    store.close()
