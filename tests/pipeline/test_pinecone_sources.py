"""Indexes of Pinecone as people have them, as source: each is moved whole, or refused once with a way on that leads somewhere."""

from collections.abc import Iterator

import numpy as np
import pytest
from pinecone import Pinecone, ServerlessSpec

from pipeline.commanding import on, vectorferry
from pipeline.worlds import World, weaviate_connection
from stores.weaviate.tools import rest
from vectorferry.core.errors import PreflightFailed, SpecError
from vectorferry.core.model import FieldType
from vectorferry.engine import pipeline
from vectorferry.engine.backup.create import backup
from vectorferry.gateway.pinecone.emulator import local_pinecone, stores_of
from vectorferry.gateway.pinecone.server import Gateway, Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.spec.loader import load_spec

KEY = "source-key"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    stores = stores_of(Connection("pinecone_sources", "memory"))
    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
    with local_pinecone(stores, tmp_path_factory.mktemp("gateway"), serving) as running:
        yield running


@pytest.fixture
def client(gateway: Gateway, world: World) -> Iterator[Pinecone]:
    """The vendor's client; the world's source is an index of the gateway's, which a test names."""
    world.connections["source"] = Connection(
        "source", "pinecone", gateway.url, password=KEY, extra={"visibility_delay": 0}
    )
    world.spec_dict |= {"fields": {}, "approval": {"four_eyes": False, "terminal": True}}
    with Pinecone(api_key=KEY, host=gateway.url) as made:
        yield made


def test_an_index_that_embeds_texts_is_moved_with_them_and_people_are_told_that_the_embedding_is_not(
    client: Pinecone, world: World
) -> None:
    embed = {"model": "llama-text-embed-v2", "dimension": 384, "field_map": {"text": "chunk_text"}}
    client.indexes.create_for_model(name="embedded", cloud="aws", region="us-east-1", embed=embed)
    vectors = np.random.default_rng(0).normal(size=(60, 384)).astype(np.float32)
    with client.index(name="embedded") as index:
        index.upsert(vectors=[(f"id-{n}", v.tolist(), {"chunk_text": f"text {n}"}) for n, v in enumerate(vectors)])
    world.spec_dict["source"]["collection"] = "embedded"
    planned = on(world, "plan")
    assert planned.code == 0, planned.text
    assert "field 'chunk_text', model 'llama-text-embed-v2'" in planned.text.replace("\n", " ")
    ran = on(world, "run", answers="approve\nyes\n")
    assert ran.code == 0, ran.text
    with world.session() as session:
        moved = session.target.fetch("", ["id-7"])
    assert moved.column("metadata").to_pylist() == ['{"chunk_text":"text 7"}']
    assert moved.column("vector")[0].as_py() == vectors[7].tolist()


TENANTS = 12


@pytest.fixture
def hybrid(client: Pinecone, world: World, weaviate: Weaviate) -> Iterator[World]:
    """An index of which every record has a sparse vector, on its way to Weaviate, which has none."""
    client.create_index(
        name="hybrid", dimension=8, metric="dotproduct", spec={"serverless": {"cloud": "aws", "region": "r"}}
    )
    with client.index(name="hybrid") as index:
        for tenant in range(TENANTS):
            vectors = np.random.default_rng(tenant).normal(size=(8, 8)).astype(np.float32)
            rows = [
                {"id": f"id-{n}", "values": v.tolist(), "sparse_values": {"indices": [n], "values": [1.0]}}
                for n, v in enumerate(vectors)
            ]
            index.upsert(vectors=rows, namespace=f"cust-{tenant}")
    world.connections["target"] = weaviate_connection(weaviate)
    world.spec_dict["source"]["collection"] = "hybrid"
    world.spec_dict["target"]["collection"] = "Hybrid"
    world.spec_dict["checks"]["recall"] |= {"min_queries": 5}
    yield world
    client.delete_index("hybrid")
    rest(weaviate, "DELETE", "/schema/Hybrid")


def test_one_reason_is_told_once_with_advice_for_its_count_and_the_way_on_leads_to_a_cut_over(hybrid: World) -> None:
    with hybrid.session() as session, pytest.raises(PreflightFailed) as refused:
        pipeline.preflight(session)
    [problem] = refused.value.problems
    assert f"cust-0/id-2 and {8 * TENANTS - 3} more: sparse vectors are not supported ({8 * TENANTS} of" in problem
    assert "excuse" not in problem
    assert "set `source.sparse: leave`" in problem

    hybrid.spec_dict["source"]["sparse"] = "leave"
    planned = on(hybrid, "plan")
    assert planned.code == 0, planned.text
    assert f"{8 * TENANTS} of a sample of {8 * TENANTS} records have one" in planned.text
    ran = on(hybrid, "run", answers="approve\nyes\n")
    assert ran.code == 0, ran.text
    assert "every sparse vector" in ran.text
    compared = on(hybrid, "compare")
    assert compared.code == 0, compared.text
    assert "sparse vectors were not compared" in compared.text


def test_what_is_left_behind_stays_in_the_source_and_in_its_backups(hybrid: World) -> None:
    hybrid.spec_dict["source"]["sparse"] = "leave"
    with hybrid.session() as session:
        read = session.source.fetch("cust-3", ["id-5"])
        assert read.column("sparse").null_count == 1
        [rejection] = session.source.upsert(read).rejected
        assert "`source.sparse: leave`" in rejection.reason
        saved = backup(session, "source")
        batches = list(saved.batches())
    assert sum(len(batch) - batch.column("sparse").null_count for batch in batches) == 8 * TENANTS


def test_sparse_vectors_are_not_left_behind_while_routers_write_back(world: World) -> None:
    world.spec_dict["source"]["sparse"] = "leave"
    world.spec_dict["writers"] = {"expected": 1}
    with pytest.raises(SpecError, match="needs `writers: none`"):
        _ = world.spec


def test_a_spec_is_proposed_for_an_index_among_those_that_are_there(
    client: Pinecone, world: World, weaviate: Weaviate
) -> None:
    world.connections |= {"target": weaviate_connection(weaviate), "vectorferry_journal": world.connections["journal"]}
    client.indexes.create(
        name="my-docs", dimension=4, metric="dotproduct", spec=ServerlessSpec(cloud="aws", region="us-east-1")
    )
    with client.index(name="my-docs") as index:
        index.upsert(vectors=[(f"id-{n}", [1.0, 0.5, 0.25, n + 1.0], {"year": 1990 + n}) for n in range(30)])
    listed = vectorferry("init", "--source", "source", "--json", environment=world.environment()).json()
    assert isinstance(listed, dict) and listed["my-docs"] == "4 dimensions, dotproduct, sparse vectors"
    file = world.folder / "proposed.yaml"
    places = ("--source", "source/my-docs", "--target", "target", "--output", str(file))
    assert vectorferry("init", *places, environment=world.environment()).code == 0
    spec = load_spec(file)
    assert (spec.migration, spec.target.collection, spec.fields) == ("my-docs", "MyDocs", {"year": FieldType.NUMBER})
    planned = vectorferry("plan", str(file), environment=world.environment())
    assert planned.code == 0, planned.text


def test_an_index_is_moved_to_another_one_with_its_namespaces_renamed(client: Pinecone, world: World) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    client.indexes.create(
        name="pods", dimension=8, metric="cosine", spec=ServerlessSpec(cloud="aws", region="us-east-1")
    )
    with client.index(name="pods") as index:
        for namespace in ("", "kunde-7"):
            rows = [(f"id-{n}", v.tolist(), {"n": n}) for n, v in enumerate(vectors)]
            index.upsert(vectors=rows, namespace=namespace)
    world.spec_dict |= {
        "source": {"connection": "source", "collection": "pods"},
        "target": {"connection": "source", "collection": "serverless", "index": {"region": "eu-west-1"}},
        "mapping": {"namespaces": {"rename": {"": "main", "kunde-7": "acme"}}},
    }
    ran = on(world, "run", answers="approve\nyes\n")
    assert ran.code == 0, ran.text
    with client.index(name="serverless") as index:
        counted = index.describe_index_stats().namespaces
        assert {name: each.vector_count for name, each in counted.items()} == {"main": 40, "acme": 40}
        assert index.fetch(ids=["id-7"], namespace="acme").vectors["id-7"].metadata == {"n": 7}
    assert client.indexes.describe("serverless").deployment.region == "eu-west-1"
    assert client.indexes.describe("pods").name == "pods"
