"""What Qdrant would lose or change and this store does not: ids, doubles, lengths, what others write beside it."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Literal
from uuid import UUID, uuid5

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from qdrant_client import models as m

from stores.qdrant.tools import open_qdrant, vendors_client
from vectorferry.core.errors import RecordError
from vectorferry.core.keys import key_of
from vectorferry.core.model import CollectionDefinition, FieldType, KeyRange, Metric, VectorKind, VectorSpec
from vectorferry.core.names import record_uuid
from vectorferry.core.records import canonical_json, make_batch, parse_json
from vectorferry.core.vector_columns import array_of
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.testing.assertions import assert_holds, put, put_all
from vectorferry.testing.samples import QUICK, ids_of, new_name, random_vectors, records

Make = Callable[..., VectorStore]
PLAIN_UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@pytest.fixture(scope="module")
def make(qdrant: Qdrant) -> Iterator[Make]:
    made: list[VectorStore] = []

    def create(definition: CollectionDefinition, options: StoreOptions | None = None) -> VectorStore:
        store = open_qdrant(qdrant, new_name("Points"), options)
        made.append(store)
        store.create(definition)
        return store

    yield create
    for store in made:
        store.drop()
        store.close()


@pytest.fixture(scope="module")
def store(make: Make) -> VectorStore:
    return make(CollectionDefinition(8, Metric.COSINE))


@pytest.fixture(scope="module")
def client(qdrant: Qdrant) -> Iterator[QdrantClient]:
    with vendors_client(qdrant) as opened:
        yield opened


def collection_of(store: VectorStore) -> str:
    return store.name.removeprefix("qdrant ")


def test_ids_that_points_can_have_stay_themselves(make: Make, client: QdrantClient) -> None:
    store = make(CollectionDefinition(8, Metric.COSINE))
    own = ["0", "7", str((1 << 64) - 1), PLAIN_UUID]
    others = ["07", "-1", str(1 << 64), PLAIN_UUID.upper(), "doc-1", "7.0"]
    put_all(store, records("", [*own, *others]))
    put_all(store, records("n", ["7", PLAIN_UUID]))
    found = client.scroll(collection_of(store), limit=100, with_payload=["source_id", "namespace"])[0]
    points = {str(point.id): point.payload for point in found}
    assert {id_: points[id_] for id_ in own} == {id_: {} for id_ in own}
    for namespace, id_ in [("", id_) for id_ in others] + [("n", "7"), ("n", PLAIN_UUID)]:
        named = {"source_id": id_} | ({"namespace": namespace} if namespace else {})
        assert points[str(record_uuid(namespace, id_))] == named
    listed = [id_ for page in store.list_ids(KeyRange("")) for id_ in page]
    assert listed[:3] == own[:3] and sorted(listed) == sorted([*own, *others])
    keys = [key_of(store.capabilities.key_order, "", id_) for id_ in listed]
    assert keys == sorted(keys)


def test_records_that_would_share_a_point_are_refused_and_nothing_is_overwritten(make: Make) -> None:
    store = make(CollectionDefinition(8, Metric.COSINE))
    hashed = str(record_uuid("", "doc-1"))
    both = records("", ["doc-1", hashed])
    assert [each.id for each in store.rejections(both)] == [hashed]
    put_all(store, both.slice(0, 1))
    assert [(each.id, hashed in each.reason) for each in put(store, both.slice(1)).rejected] == [(hashed, True)]
    assert len(store.fetch("", [hashed])) == 0
    store.update("", hashed, metadata='{"a":1}')
    store.delete("", [hashed])
    assert_holds(store, both.slice(0, 1))
    store.delete("", ["doc-1"])
    put_all(store, both.slice(1))
    assert [each.id for each in put(store, both.slice(0, 1)).rejected] == ["doc-1"]
    store.delete("", ["doc-1"])
    store.update("", "doc-1", vector=random_vectors(1)[0], metadata='{"a":1}')
    assert_holds(store, both.slice(1))


def test_a_uuid_of_version_5_is_an_id_like_any_other(store: VectorStore) -> None:
    id_ = str(uuid5(UUID(int=0), "somebody's own"))
    for metadata in ({"a": 1}, {"a": 2}):
        put_all(store, records("", [id_], metadata=[metadata]))
        assert_holds(store, records("", [id_], metadata=[metadata]))
    store.update("", id_, metadata='{"b":1}')
    assert_holds(store, records("", [id_], metadata=[{"a": 2, "b": 1}]))
    store.delete("", [id_])
    assert len(store.fetch("", [id_])) == 0


DOUBLES = st.floats(allow_nan=False, allow_infinity=False)


@QUICK
@given(st.lists(DOUBLES, min_size=1, max_size=30))
def test_doubles_come_back_to_the_last_bit(store: VectorStore, doubles: list[float]) -> None:
    namespace = new_name()
    metadata = [{"x": each, "list": [each, "a"], "inside": {"x": [each]}} for each in doubles]
    batch = records(namespace, [f"i{row}" for row in range(len(doubles))], metadata=metadata)
    put_all(store, batch)
    assert_holds(store, batch)
    store.update(namespace, "i0", metadata=canonical_json({"x": doubles[-1]}))
    assert_holds(store, records(namespace, ["i0"], metadata=[metadata[0] | {"x": doubles[-1]}]))


def test_short_decimals_are_in_the_payload_alone(store: VectorStore, client: QdrantClient) -> None:
    put_all(store, records("", ["1"], metadata=[{"short": 12.25, "long": 0.1 + 0.2, "big": (1 << 64) - 1}]))
    (point,) = client.retrieve(collection_of(store), [1])
    assert point.payload is not None and point.payload["short"] == 12.25
    assert point.payload["vf_overflow"] == {"long": "0.30000000000000004", "big": "18446744073709551615"}
    assert math.isclose(point.payload["long"], 0.3) and point.payload["big"] == float((1 << 64) - 1)


def test_what_others_change_since_counts(store: VectorStore, client: QdrantClient) -> None:
    before = {"a": 0.1 + 0.2, "b": [0.1 + 0.2], "c": 1 / 3, "d": []}
    put_all(store, records("", ["2"], metadata=[before]))
    name = collection_of(store)
    client.set_payload(name, {"a": 0.5, "b": [0.5, 1]}, points=[2])
    client.delete_payload(name, ["d"], points=[2])
    found = parse_json(store.fetch("", ["2"]).column("metadata")[0].as_py())
    assert found == {"a": 0.5, "b": [0.5, 1], "c": 1 / 3}


def test_an_update_to_the_rounded_neighbour_is_seen(store: VectorStore) -> None:
    namespace = new_name()
    put_all(store, records(namespace, ["a"], metadata=[{"x": 0.1 + 0.2}]))
    for value in (0.3, 0.1 + 0.2, math.nextafter(0.3, 0)):
        store.update(namespace, "a", metadata=canonical_json({"x": value}))
        assert parse_json(store.fetch(namespace, ["a"]).column("metadata")[0].as_py()) == {"x": value}


def test_names_of_ours_and_of_no_path_are_keys_like_others(store: VectorStore) -> None:
    keys = ["namespace", "source_id", "vf_overflow", "vf_norms", "vf_key:x", 'a"b', "a\\b", "a%22b", "a.b", "a[]", ""]
    metadata = {key: f"of {key}" for key in keys} | {"vf_overflow": 1 / 3}
    batch = records("n", ["a"], metadata=[metadata])
    put_all(store, batch)
    assert_holds(store, batch)
    store.update("n", "a", metadata=canonical_json({'a"b': 0.1 + 0.2, "namespace": None}))
    assert_holds(store, records("n", ["a"], metadata=[metadata | {'a"b': 0.1 + 0.2, "namespace": None}]))


@pytest.fixture
def of_others(client: QdrantClient) -> Iterator[str]:
    name = new_name("Others")
    client.create_collection(name, m.VectorParams(size=2, distance=m.Distance.DOT))
    yield name
    client.delete_collection(name)


def test_what_only_looks_like_ours_in_a_collection_of_others_is_metadata(
    qdrant: Qdrant, client: QdrantClient, of_others: str
) -> None:
    payloads: list[dict[str, Any]] = [
        {"vf_overflow": "text", "vf_norms": 2, "vf_key:a": 1, "a": 2},
        {"vf_overflow": {"a": "no JSON"}, "vf_norms": {"": 2.0}},
        {"vf_overflow": {"a": 1}, "a": 1, "": "not a namespace", 'a"b': 3},
        {"vf_overflow": ["1"], "vf_key:%": None},
    ]
    points = [m.PointStruct(id=id_, vector=[1, 2], payload=each) for id_, each in enumerate(payloads)]
    client.upsert(of_others, points)
    store = open_qdrant(qdrant, of_others)
    [batch] = store.scan(KeyRange(""))
    assert [parse_json(text) for text in batch.column("metadata").to_pylist()] == payloads
    assert batch.column("vector").to_pylist() == [[1, 2]] * len(payloads)
    assert store.fetch("", ["2"]).column("namespace").to_pylist() == [""]
    for id_, each in enumerate(payloads):
        store.update("", str(id_), metadata='{"b":2}')
        assert client.retrieve(of_others, [id_])[0].payload == each | {"b": 2}
    client.upsert(of_others, [m.PointStruct(id=9, vector=[1, 2], payload={"vf_key:vf_norms": 1, "vf_norms": 2})])
    with pytest.raises(RecordError, match="id 9: two payload keys stand for one metadata key"):
        store.fetch("", ["9"])
    store.close()


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("payload", [{"n": (1 << 64) - 1}, {"n": {"of": ["x", (1 << 63) + 1]}}])
def test_whole_numbers_that_the_server_tells_rounded_are_refused_with_their_place(
    qdrant: Qdrant, of_others: str, payload: dict[str, Any], transport: Literal["grpc", "rest"]
) -> None:
    body = {"points": [{"id": 1, "vector": [1, 2], "payload": payload}]}
    httpx.put(
        f"{qdrant.url}/collections/{of_others}/points?wait=true", json=body, headers={"api-key": qdrant.api_key}
    ).raise_for_status()
    store = open_qdrant(qdrant, of_others, StoreOptions(transport=transport))
    with pytest.raises(RecordError, match=r"id 1: the payload's 'n' has a number from 2\^63 to 2\^64"):
        list(store.scan(KeyRange("")))
    store.close()


@pytest.mark.parametrize("metric", Metric)
def test_vectors_of_any_length_come_back(make: Make, metric: Metric) -> None:
    store = make(CollectionDefinition(8, metric))
    tiny, large = np.float32(1e-40), np.float32(3.4e38)
    rows = np.array(
        [
            [0.0] * 8, [-0.0] * 8, [tiny] * 8, [large] * 8, [1.0] + [0.0] * 7, [-0.0, 1.0] + [0.0] * 6, [1e-7] + [0.0] * 7,
            [large, tiny] + [0.0] * 6, [3e-4] * 8, [3.0, 4.0] + [-0.0] * 6, [1 + 1e-6] + [0.0] * 7,
        ],
        np.float32,
    )  # fmt: skip
    put_all(store, records("", [str(row) for row in range(len(rows))], rows))
    batch = store.fetch("", [str(row) for row in range(len(rows))])
    found = np.array(batch.column("vector").to_pylist(), np.float32)
    if metric is not Metric.COSINE:
        assert store.capabilities.vector_tolerance == 0.0 and not store.capabilities.tolerances
        assert found.tobytes() == rows.tobytes()
        return
    apart = np.abs(found.astype(np.float64) - rows).max(axis=1)
    assert (apart <= store.capabilities.tolerances[""] * np.abs(rows.astype(np.float64)).max(axis=1)).all()
    assert (np.signbit(found) == np.signbit(rows)).all()
    unit = [0, 1, 4, 5]
    assert found[unit].tobytes() == rows[unit].tobytes()


def test_multi_vectors_keep_their_lengths_and_dot_products_their_bits(make: Make) -> None:
    named = {
        "tokens": VectorSpec("tokens", VectorKind.MULTI, 4, Metric.COSINE),
        "raw": VectorSpec("raw", VectorKind.MULTI, 4, Metric.DOT),
        "words": VectorSpec("words", VectorKind.SPARSE, None, Metric.DOT),
    }
    store = make(CollectionDefinition(8, Metric.COSINE, named=named))
    sparse = [None, {"indices": [], "values": []}, {"indices": [(1 << 32) - 1, 0], "values": [1.5, -0.0]}]
    multi = [random_vectors(3, 4), np.eye(4, dtype=np.float32)[:1], None]
    columns = {
        "multi:tokens": array_of(VectorKind.MULTI, multi, 4),
        "multi:raw": array_of(VectorKind.MULTI, multi, 4),
        "sparse:words": array_of(VectorKind.SPARSE, sparse, None),
    }  # fmt: skip
    batch = make_batch("n", ["a", "b", "c"], random_vectors(3), ["{}"] * 3, named=columns)
    put_all(store, batch)
    assert_holds(store, batch)
    assert set(store.capabilities.tolerances) == {"", "tokens"}
    store.update("n", "a", vector=np.full(8, 5, np.float32))
    assert_holds(
        store,
        make_batch(
            "n", ["b", "c"], random_vectors(3)[1:], ["{}"] * 2, named={k: c.slice(1) for k, c in columns.items()}
        ),
    )
    held = store.inventory(["n"], most=0).held["n"]
    assert (held.rows, held.vectors) == (3, 3)
    assert held.named == {"multi:tokens": 2, "multi:raw": 2, "sparse:words": 2}


def test_a_namespace_that_is_no_text_is_told_and_never_read_as_another(make: Make, client: QdrantClient) -> None:
    store = make(CollectionDefinition(8, Metric.COSINE))
    put_all(store, records("n", ["a"]))
    put_all(store, records("", ["1"]))
    assert not store.inventory(["n", ""], most=0).unread
    empty = m.PointStruct(id=6, vector=[1.0] * 8, payload={"namespace": ""})
    client.upsert(collection_of(store), [empty])
    assert store.describe().namespaces == {"": 2, "n": 1} and not store.inventory(["n", ""], most=0).unread
    assert ids_of(list(store.scan(KeyRange("")))) == ["1", "6"]
    for odd in (7, ["a", "b"]):
        client.upsert(collection_of(store), [m.PointStruct(id=5, vector=[1.0] * 8, payload={"namespace": odd})])
        assert "payload key 'namespace'" in store.inventory(["n", ""], most=0).unread[0]
        with pytest.raises(RecordError, match="id 5"):
            store.fetch("", ["5"])


def test_settings_of_an_index_are_told_as_they_were_made(make: Make) -> None:
    index = {
        "m": 8, "ef_construct": 64, "full_scan_threshold": 5000, "on_disk": True, "quantizer": "scalar", "quantile": 0.99,
        "always_ram": True, "indexing_threshold": 1000, "id_field": "doc", "namespace_field": "shop",
    }  # fmt: skip
    named = {"image": VectorSpec("image", VectorKind.DENSE, 4, Metric.DOT, {"m": 4, "quantizer": "binary"})}
    fields = {"when": FieldType.DATE, "n": FieldType.INTEGERS}
    store = make(CollectionDefinition(8, Metric.EUCLIDEAN, fields, index, named))
    put_all(store, records("a shop", ["x"]))
    told = store.describe()
    assert index.items() <= told.index.items() and told.fields == fields
    assert named["image"].index.items() <= told.named["image"].index.items()
    again = make(CollectionDefinition(8, told.metric, told.fields, told.index, told.named))
    assert again.describe().index == told.index and again.describe().named == told.named
    assert ids_of(store.fetch("a shop", ["x"])) == ["x"]


@pytest.mark.parametrize(
    "index",
    [
        {"m": -1},
        {"quantizer": "magic"},
        {"datatype": "int"},
        {"id_field": "namespace"},
        {"on_disk": 1},
        {"id_field": "vf_x"},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(qdrant: Qdrant, index: dict[str, object]) -> None:
    store = open_qdrant(qdrant, new_name("Never"))
    told = " ".join(store.obstacles(CollectionDefinition(8, Metric.COSINE, index=index)))
    assert next(iter(index)) in told or "vf_" in told
    store.close()


def test_vectors_that_a_datatype_does_not_hold_are_refused(make: Make) -> None:
    store = make(CollectionDefinition(4, Metric.DOT, index={"datatype": "float16"}))
    batch = records("", ["1", "2"], np.array([[0.5, 1, 2, 3], [0.1, 1, 2, 3]], np.float32))
    assert [(each.id, "float16" in each.reason) for each in put(store, batch).rejected] == [("2", True)]
    assert_holds(store, batch.slice(0, 1))


def test_a_collection_that_is_made_anew_is_written_as_what_it_is(qdrant: Qdrant, client: QdrantClient) -> None:
    name, id_ = new_name("Anew"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    with closing(open_qdrant(qdrant, name)) as store:
        store.create(CollectionDefinition(2, Metric.DOT))
        batch = make_batch("", ["plain", id_], np.ones((2, 2), np.float32), ["{}", '{"namespace":"mine"}'])
        put_all(store, batch)
        client.delete_collection(name)
        client.create_collection(name, m.VectorParams(size=2, distance=m.Distance.DOT))
        [rejected] = store.upsert(batch).rejected
        assert rejected.id == "plain" and "whole numbers and UUIDs" in rejected.reason
        [point] = client.scroll(name)[0]
        assert (point.id, point.payload) == (id_, {"namespace": "mine"})
        store.drop()
