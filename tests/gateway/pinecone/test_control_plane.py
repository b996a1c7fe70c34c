"""Indexes: created, described, configured, dropped, kept over restarts, in the words of three versions of the API."""

import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pinecone import GrpcIndex, Pinecone, SchemaBuilder, ServerlessSpec
from pinecone.errors import ApiError, ConflictError, ForbiddenError, NotFoundError
from pinecone.models.indexes.schema import SemanticTextField

from gateway.pinecone.conftest import KEY, Local, clients, open_handle, run
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, VectorSpec
from vectorferry.gateway.pinecone.wire import front
from vectorferry.spec.connections import Connection
from vectorferry.stores.memory import MemoryStore

OLD = {"X-Pinecone-Api-Version": "2025-10"}


def test_life_of_an_index(on_memory: Local) -> None:
    client = on_memory.client
    made = client.create_index(
        name="life", dimension=3, metric="dotproduct", spec=ServerlessSpec(cloud="gcp", region="x"), tags={"a": "1"}
    )
    assert (made.dimension, made.metric, made.vector_type, made.status.ready) == (3, "dotproduct", "dense", True)
    assert made.spec.serverless.region == "x"
    assert made.host == on_memory.gateway.index_url("life")
    assert made.schema.fields.keys() == {"_values", "_sparse_values"}
    assert client.has_index("life")
    assert "life" in [index.name for index in client.list_indexes()]
    with pytest.raises(ConflictError):
        client.create_index(name="life", dimension=3, spec=ServerlessSpec(cloud="aws", region="x"))
    client.configure_index(name="life", deletion_protection="enabled", tags={"b": "2", "a": ""})
    assert dict(client.describe_index("life").tags) == {"b": "2"}
    with pytest.raises(ForbiddenError):
        client.delete_index("life")
    client.configure_index(name="life", deletion_protection="disabled")
    client.delete_index("life")
    with pytest.raises(NotFoundError):
        client.describe_index("life")
    with client.index(host=on_memory.gateway.index_url("life")) as index, pytest.raises(NotFoundError):
        index.describe_index_stats()


def test_older_versions_of_the_api(on_memory: Local) -> None:
    http, url = on_memory.http, f"{on_memory.gateway.url}/indexes"
    body = {
        "name": "old",
        "dimension": 8,
        "metric": "euclidean",
        "spec": {"serverless": {"cloud": "aws", "region": "r"}},
    }
    made = http.post(url, json=body, headers=OLD)
    assert made.status_code == 201
    model = http.get(f"{url}/old", headers={"X-Pinecone-Api-Version": "2025-01"}).json()
    assert model == made.json()
    assert model["host"] == f"{on_memory.gateway.url}/ix/old"
    assert {key: model[key] for key in ("dimension", "metric", "vector_type", "spec")} == {
        "dimension": 8,
        "metric": "euclidean",
        "vector_type": "dense",
        "spec": {"serverless": {"cloud": "aws", "region": "r"}},
    }
    assert "schema" not in model
    assert "schema" in http.get(f"{url}/old").json()
    assert http.delete(f"{url}/old", headers=OLD).status_code == 202


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Upper"}, "lower case"),
        ({"name": "x" * 46}, "45"),
        ({"name": None}, "name"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": 20_001}, "dimension"),
        ({"dimension": None}, "dimension"),
        ({"metric": "hamming"}, "metric"),
        ({"deletion_protection": "maybe"}, "deletion_protection"),
        ({"tags": {"k" * 81: "v"}}, "tag"),
    ],
)
def test_indexes_that_are_refused(on_memory: Local, change: dict[str, Any], message: str) -> None:
    body = {"name": "refused", "dimension": 4, "metric": "cosine", **change}
    answer = on_memory.http.post(f"{on_memory.gateway.url}/indexes", json=body, headers=OLD)
    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    assert answer.json()["error"]["code"] == "INVALID_ARGUMENT"
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_an_index_of_documents_reads_empty_and_refuses_vectors(on_memory: Local, transport: str) -> None:
    schema = SchemaBuilder().add_dense_vector_field("embedding", dimension=4, metric="cosine").build()
    name = f"documents-{transport}"
    on_memory.client.indexes.create(name=name, schema=schema)
    assert on_memory.client.describe_index(name).schema.fields.keys() == {"embedding"}
    index = open_handle(on_memory, name, transport)
    try:
        assert index.describe_index_stats().total_vector_count == 0
        assert not index.fetch(ids=["a"]).vectors
        assert not index.list_paginated().vectors
        assert not index.query(vector=[1.0, 0, 0, 0], top_k=1).matches
        with pytest.raises(ApiError, match="document schema"):
            index.upsert(vectors=[("a", [1.0, 0, 0, 0])])
    finally:
        index.close()


def test_a_collection_made_elsewhere_is_an_index_too(tmp_path: Path) -> None:
    MemoryStore("elsewhere", "found").create(CollectionDefinition(5, Metric.EUCLIDEAN))
    with run(tmp_path, Connection("elsewhere", "memory")) as gateway:
        for local in clients(gateway):
            made = local.client.describe_index("found")
            assert (made.dimension, made.metric) == (5, "euclidean")
            with pytest.raises(ConflictError):
                local.client.indexes.create(name="found", dimension=5)


def test_a_collection_with_vectors_by_name_is_refused_and_never_shown_without_them(tmp_path: Path) -> None:
    named = {"image": VectorSpec("image", VectorKind.DENSE, 3, Metric.COSINE)}
    MemoryStore("manifold", "found").create(CollectionDefinition(5, Metric.COSINE, named=named))
    with run(tmp_path, Connection("manifold", "memory")) as gateway:
        for local in clients(gateway):
            with pytest.raises(ApiError, match="vectors by name") as refused:
                local.client.describe_index("found")
            assert refused.value.status_code == 501


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    connection = Connection("restarted", "memory")
    with run(tmp_path, connection) as gateway:
        for local in clients(gateway):
            local.client.indexes.create(name="kept", dimension=2, tags={"a": "b"}, deletion_protection="enabled")
            with local.client.index(name="kept") as index:
                index.create_namespace(name="empty")
                lsn = index.upsert(vectors=[("a", [1.0, 0])]).response_info.lsn_committed
            port = gateway.grpc_target("kept")
    with run(tmp_path, connection) as gateway:
        for local in clients(gateway):
            assert gateway.grpc_target("kept") == port
            assert dict(local.client.describe_index("kept").tags) == {"a": "b"}
            with local.client.index(name="kept") as index:
                assert {space.name for space in index.list_namespaces_paginated().namespaces} == {
                    "__default__",
                    "empty",
                }
                assert index.upsert(vectors=[("a", [1.0, 0])]).response_info.lsn_committed > lsn


def test_grpc_ports_are_allotted_and_told(tmp_path: Path) -> None:
    first = random.randrange(12_000, 28_000)  # below the ports that systems hand out
    settings = {"grpc_port": first, "grpc_ports": {"pinned": first + 700}}
    with run(tmp_path, Connection("ports", "memory"), **settings) as gateway:
        for local in clients(gateway):
            for name in ("one", "two", "pinned"):
                local.client.indexes.create(name=name, dimension=2)
            told = [
                int(local.http.get(f"{gateway.url}/indexes/{name}").headers["x-vectorferry-grpc-port"])
                for name in ("one", "two", "pinned")
            ]
    assert first <= told[0] < told[1] < told[2] == first + 700


def test_requests_are_counted(on_memory: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(front, "INSTRUMENTS", front.Instruments(MeterProvider([reader]).get_meter("test")))
    on_memory.http.get(f"{on_memory.gateway.url}/indexes")
    httpx.get(f"{on_memory.gateway.url}/indexes", headers={"Api-Key": "wrong"}, trust_env=False)
    found = {each.name: each for each in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics}
    points = {name.removeprefix("vectorferry.gateway."): each.data.data_points for name, each in found.items()}
    counted = {tuple(point.attributes.values()): point.value for point in points["requests"]}
    assert counted == {("key1", "list_indexes", 200): 1, ("", "unauthorized", 401): 1}
    [active], [took] = points["active_requests"], points["request.duration"]
    assert (active.value, took.count, dict(took.attributes)) == (0, 1, {"operation": "list_indexes", "status": 200})


def test_keys_are_checked(on_memory: Local) -> None:
    name = on_memory.create()
    for url in (f"{on_memory.gateway.url}/indexes", f"{on_memory.gateway.index_url(name)}/vectors/list"):
        for key, text in (("", "Unauthorized"), ("wrong", "Invalid API key")):
            headers = {"Api-Key": key} if key else {}
            on_memory.http.headers.pop("Api-Key")
            answer = on_memory.http.get(url, headers=headers)
            on_memory.http.headers["Api-Key"] = KEY
            assert (answer.status_code, answer.text) == (401, text)
            assert answer.headers["content-type"] == "text/plain"
    with Pinecone(api_key="wrong", host=on_memory.gateway.url) as client, pytest.raises(ApiError) as refused:
        client.list_indexes()
    assert refused.value.status_code == 401


def test_a_wrong_key_over_grpc(on_memory: Local) -> None:
    with (
        GrpcIndex(host=on_memory.gateway.grpc_target(on_memory.create()), api_key="wrong", secure=False) as index,
        pytest.raises(ApiError) as refused,
    ):
        index.describe_index_stats()
    assert refused.value.status_code == 401


def test_what_is_not_served_says_so(on_memory: Local) -> None:
    name = on_memory.create()
    assert on_memory.call(name, "/bulk/imports").status_code == 501
    assert on_memory.call(name, "/nonsense").status_code == 404
    assert on_memory.http.get(f"{on_memory.gateway.url}/backups").status_code == 501
    assert on_memory.http.get(f"{on_memory.gateway.url}/nonsense").json()["error"]["code"] == "NOT_FOUND"


def test_an_index_made_for_a_model_says_its_text_field_and_only_its_statistics_say_its_dimension(
    on_memory: Local,
) -> None:
    embed = {"model": "multilingual-e5-large", "field_map": {"text": "chunk_text"}}
    made = on_memory.client.indexes.create_for_model(name="embedded", cloud="aws", region="us-east-1", embed=embed)
    text = made.schema.fields["chunk_text"]
    assert isinstance(text, SemanticTextField)
    assert (made.schema.fields.keys(), text.model, text.metric) == ({"chunk_text"}, "multilingual-e5-large", "cosine")
    with on_memory.client.index(name="embedded") as index:
        stats = index.describe_index_stats()
        assert (stats.dimension, stats.metric, stats.vector_type) == (1024, "cosine", "dense")
        index.upsert(vectors=[("a", [0.5] * 1024, {"chunk_text": "one"})])
        assert index.fetch(ids=["a"]).vectors["a"].metadata == {"chunk_text": "one"}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model": "word2vec"}, "embed.model"), ({"dimension": 3}, "embed.dimension"), ({"field_map": {}}, "field_map")],
)
def test_indexes_for_models_that_are_refused(on_memory: Local, change: dict[str, Any], message: str) -> None:
    embed = {"model": "llama-text-embed-v2", "field_map": {"text": "t"}, **change}
    body = {"name": "refused", "cloud": "aws", "region": "us-east-1", "embed": embed}
    answer = on_memory.http.post(f"{on_memory.gateway.url}/indexes/create-for-model", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
