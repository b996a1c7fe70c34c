"""Points written, changed, read and deleted by the vendor's own client."""

import uuid

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from local.qdrant.clients import refused

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

PLAIN = models.VectorParams(size=2, distance=models.Distance.DOT)


def make(client: QdrantClient, name: str, *points: models.PointStruct) -> None:
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, list(points))


def point(key: int | str, payload: dict[str, object] | None = None, vector: object = (1.0, 2.0)) -> models.PointStruct:
    return models.PointStruct(id=key, vector=list(vector), payload=payload)


def payloads(client: QdrantClient, name: str) -> dict[object, object]:
    return {each.id: each.payload for each in client.scroll(name, limit=100)[0]}


def test_what_was_written_is_read_as_it_was(client: QdrantClient, name: str) -> None:
    payload = {
        "text": "é",
        "whole": 2**53 + 1,
        "half": 0.5,
        "one": 1.0,
        "no": None,
        "deep": [1, {"b": [True, None]}],
        "": {},
    }
    make(client, name, point(1, payload, (1.5, -0.0)))
    found = client.retrieve(name, [1, 2], with_vectors=True)
    assert [(each.id, each.vector, each.payload) for each in found] == [(1, [1.5, -0.0], payload)]
    assert type(found[0].payload["one"]) is float


def test_whole_numbers_of_64_bits_without_a_sign_are_kept_where_the_wire_has_them(
    rest: QdrantClient, grpc: QdrantClient, name: str
) -> None:
    largest = 2**64 - 1
    make(rest, name, point(largest, {"n": largest, "deep": [{"n": largest}]}))
    rest.set_payload(name, {"set": 2**63}, points=[largest])
    assert payloads(rest, name) == {largest: {"n": largest, "deep": [{"n": largest}], "set": 2**63}}
    # gRPC has 64 bits with a sign, and the vendor's server gives a double for the rest.
    assert payloads(grpc, name) == {
        largest: {"n": float(largest), "deep": [{"n": float(largest)}], "set": float(2**63)}
    }


def test_numbers_of_vectors_are_those_of_32_bits(rest: QdrantClient, grpc: QdrantClient, name: str) -> None:
    make(grpc, name, point(1, vector=(0.1, 3.4e38)))
    vectors = [client.retrieve(name, [1], with_vectors=True)[0].vector for client in (grpc, rest)]
    assert vectors == [[float(np.float32(0.1)), float(np.float32(3.4e38))], [0.1, 3.4e38]]


def test_ids(client: QdrantClient, name: str) -> None:
    some = uuid.UUID(int=7)
    make(client, name, point(0), point(some.hex.upper()))
    assert [each.id for each in client.scroll(name)[0]] == [0, str(some)]
    with refused("INVALID_ARGUMENT", ""):
        client.upsert(name, [point("doc-1")])


def test_an_upsert_replaces_the_point(client: QdrantClient, name: str) -> None:
    make(client, name, point(1, {"a": 1}))
    client.upsert(name, [point(1, {"b": 2}), point(1, {"c": 3})])
    assert payloads(client, name) == {1: {"c": 3}}


def test_conditional_upserts(client: QdrantClient, name: str) -> None:
    make(client, name, point(1, {"at": 5}), point(2, {"at": 1}))
    older = models.Filter(must=[models.FieldCondition(key="at", range=models.Range(lt=3))])
    client.upsert(name, [point(each, {"at": 3}) for each in (1, 2, 3)], update_filter=older)
    assert payloads(client, name) == {1: {"at": 5}, 2: {"at": 3}, 3: {"at": 3}}
    client.upsert(name, [point(3, {"at": 9}), point(4)], update_mode=models.UpdateMode.INSERT_ONLY)
    client.upsert(name, [point(1, {"at": 9}), point(5)], update_mode=models.UpdateMode.UPDATE_ONLY)
    assert payloads(client, name) == {1: {"at": 9}, 2: {"at": 3}, 3: {"at": 3}, 4: {}}


def test_payloads_are_changed(client: QdrantClient, name: str) -> None:
    make(client, name, *(point(each, {"a": 1, "deep": {"x": 1}}) for each in range(1, 6)))
    client.set_payload(name, {"b": 2}, points=[1])
    client.set_payload(name, {"y": 2}, points=[2], key="deep")
    client.overwrite_payload(name, {"b": 2}, points=[3])
    client.delete_payload(name, ["a"], points=models.Filter(must=[models.HasIdCondition(has_id=[4])]))
    client.clear_payload(name, points_selector=[5])
    assert payloads(client, name) == {
        1: {"a": 1, "deep": {"x": 1}, "b": 2},
        2: {"a": 1, "deep": {"x": 1, "y": 2}},
        3: {"b": 2},
        4: {"deep": {"x": 1}},
        5: {},
    }
    with refused("NOT_FOUND", "No point with id 77"):
        client.set_payload(name, {"b": 2}, points=[77])


def test_deletes(client: QdrantClient, name: str) -> None:
    make(client, name, *(point(each, {"odd": bool(each % 2)}) for each in range(6)))
    client.delete(name, [0, 99])
    client.delete(name, models.Filter(must=[models.FieldCondition(key="odd", match=models.MatchValue(value=True))]))
    assert list(payloads(client, name)) == [2, 4]


def test_vectors_of_all_kinds(client: QdrantClient, name: str) -> None:
    late = models.VectorParams(
        size=2, distance=models.Distance.DOT, multivector_config=models.MultiVectorConfig(comparator="max_sim")
    )
    client.create_collection(
        name,
        vectors_config={"plain": PLAIN, "late": late},
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    words = models.SparseVector(indices=[7, 1], values=[0.5, 2.0])
    full = {"plain": [1.0, 2.0], "late": [[1.0, 0.0], [0.0, 1.0]], "words": words}
    client.upsert(
        name,
        [
            models.PointStruct(id=1, vector=full),
            models.PointStruct(id=2, vector={}),
            models.PointStruct(id=3, vector=full),
        ],
    )
    client.update_vectors(name, [models.PointVectors(id=2, vector={"plain": [3.0, 4.0]})])
    client.delete_vectors(name, ["plain", "late"], points=[3])
    in_order = models.SparseVector(indices=[1, 7], values=[2.0, 0.5])
    found = {each.id: each.vector for each in client.retrieve(name, [1, 2, 3], with_vectors=True)}
    assert found == {1: {**full, "words": in_order}, 2: {"plain": [3.0, 4.0]}, 3: {"words": in_order}}
    assert client.retrieve(name, [1], with_vectors=["late"])[0].vector == {"late": full["late"]}
    with_words = models.Filter(must=[models.HasVectorCondition(has_vector="words")])
    assert [each.id for each in client.scroll(name, scroll_filter=with_words)[0]] == [1, 3]


def test_what_the_engine_does_to_vectors_is_the_engines(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.COSINE))
    client.upsert(name, [point(1, vector=(3.0, 4.0)), point(2, vector=(0.0, 0.0))])
    found = {each.id: each.vector for each in client.retrieve(name, [1, 2], with_vectors=True)}
    assert found == {1: pytest.approx([0.6, 0.8]), 2: [0.0, 0.0]}
    with refused("INVALID_ARGUMENT", "Vector dimension error: expected dim: 2, got 3"):
        client.upsert(name, [point(1, vector=(1.0, 2.0, 3.0))])
    with refused("INVALID_ARGUMENT", "Not existing vector name error: other"):
        client.upsert(name, [models.PointStruct(id=1, vector={"other": [1.0, 2.0]})])


def test_not_a_number_is_taken(grpc: QdrantClient, name: str) -> None:
    make(grpc, name, point(1, vector=(float("nan"), 1.0)))
    assert np.isnan(grpc.retrieve(name, [1], with_vectors=True)[0].vector[0])


def test_several_writes_in_a_batch(client: QdrantClient, name: str) -> None:
    make(client, name, point(1), point(2))
    client.batch_update_points(
        name,
        [
            models.UpsertOperation(upsert=models.PointsList(points=[point(3, {"a": 1})])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"b": 2}, points=[3])),
            models.DeleteOperation(delete=models.PointIdsList(points=[1])),
        ],
    )
    assert payloads(client, name) == {2: {}, 3: {"a": 1, "b": 2}}


def test_what_of_a_payload_comes_back(client: QdrantClient, name: str) -> None:
    make(client, name, point(1, {"a": 1, "b": {"c": 2, "d": 3}}))

    def read(selector: object) -> object:
        return client.retrieve(name, [1], with_payload=selector)[0].payload

    assert [read(True), read(["a"]), read(["b.c"]), read(models.PayloadSelectorExclude(exclude=["b"]))] == [
        {"a": 1, "b": {"c": 2, "d": 3}},
        {"a": 1},
        {"b": {"c": 2}},
        {"a": 1},
    ]
    assert not read(False)
