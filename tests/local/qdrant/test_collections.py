"""Collections made, told of, changed and removed by the vendor's own client."""

import pytest
from qdrant_client import QdrantClient, models

from local.qdrant.clients import refused

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

PLAIN = models.VectorParams(size=2, distance=models.Distance.DOT)


def test_a_collection_comes_and_goes(client: QdrantClient, name: str) -> None:
    assert not client.collection_exists(name)
    assert client.create_collection(name, vectors_config=PLAIN)
    assert client.collection_exists(name)
    assert name in {each.name for each in client.get_collections().collections}
    assert client.delete_collection(name)
    assert not client.collection_exists(name)
    assert not client.delete_collection(name)


def test_what_it_was_made_with_is_told(client: QdrantClient, name: str) -> None:
    vectors = {
        "plain": models.VectorParams(size=3, distance=models.Distance.COSINE, hnsw_config=models.HnswConfigDiff(m=8)),
        "late": models.VectorParams(
            size=2,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            datatype=models.Datatype.FLOAT16,
        ),
    }
    sparse = {"words": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    quantized = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99)
    )
    client.create_collection(
        name,
        vectors_config=vectors,
        sparse_vectors_config=sparse,
        quantization_config=quantized,
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=77),
        on_disk_payload=False,
        metadata={"from": "elsewhere"},
    )
    info = client.get_collection(name)
    assert info.config.params.vectors == vectors
    assert info.config.params.sparse_vectors == sparse
    assert info.config.params.on_disk_payload is False
    assert info.config.quantization_config.scalar.quantile == pytest.approx(0.99)
    assert info.config.optimizer_config.indexing_threshold == 77
    assert info.config.metadata == {"from": "elsewhere"}
    # The vendor's own defaults for the rest.
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (16, 100)
    assert (info.status, info.points_count, info.indexed_vectors_count) == ("green", 0, 0)


def test_it_is_changed(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0])])
    client.update_collection(
        name,
        hnsw_config=models.HnswConfigDiff(m=32),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=5),
        quantization_config=models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
    )
    config = client.get_collection(name).config
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (32, 100)
    assert config.optimizer_config.indexing_threshold == 5
    assert config.quantization_config.binary.always_ram
    assert client.count(name).count == 1


def test_payload_indexes_are_told_with_their_points(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=PLAIN)
    client.create_payload_index(name, "tenant", models.KeywordIndexParams(type="keyword", is_tenant=True))
    for each in models.PayloadSchemaType:
        client.create_payload_index(name, each.value, each)
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0], payload={"tenant": "a", "integer": 5})])
    schema = client.get_collection(name).payload_schema
    assert {key: each.data_type for key, each in schema.items()} == {
        "tenant": "keyword",
        **{each.value: each for each in models.PayloadSchemaType},
    }
    assert schema["tenant"].params.is_tenant
    assert {key: each.points for key, each in schema.items() if each.points} == {"tenant": 1, "integer": 1}
    client.delete_payload_index(name, "integer")
    assert "integer" not in client.get_collection(name).payload_schema


def test_what_is_wrong_is_refused_as_the_vendor_refuses_it(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=PLAIN)
    with refused("ALREADY_EXISTS", f"Collection `{name}` already exists!"):
        client.create_collection(name, vectors_config=PLAIN)
    with refused("NOT_FOUND", "Collection `nowhere` doesn't exist!"):
        client.get_collection("nowhere")
    with refused("NOT_FOUND", "Collection `nowhere` doesn't exist!"):
        client.count("nowhere")
    with refused("INVALID_ARGUMENT", "collection_name"):
        client.create_collection("a:b", vectors_config=PLAIN)
