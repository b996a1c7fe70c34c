"""What is counted of an application's calls before it is moved, and what is said of it."""

import uuid
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow.parquet as pq
import pytest
from pinecone import Pinecone
from pinecone.errors import ApiError

from gateway.pinecone.conftest import KEY
from pipeline.commanding import vectorferry
from pipeline.worlds import World, postgres_connection, small_spec
from vectorferry.core.errors import SpecError
from vectorferry.core.model import CollectionDefinition, Metric, VectorKind, VectorSpec
from vectorferry.engine.checks.query_file import recorded_queries
from vectorferry.engine.plan.observed_use import judged
from vectorferry.gateway.pinecone import observed_queries, observing
from vectorferry.gateway.pinecone.api.problems import ApiProblem
from vectorferry.gateway.pinecone.observed_queries import QuerySample
from vectorferry.gateway.pinecone.observed_store import observed_index, observing_gateway
from vectorferry.gateway.pinecone.observing import OTHERS, Observation
from vectorferry.gateway.pinecone.server import Serving
from vectorferry.gateway.pinecone.wire.keys import Keys
from vectorferry.spec.connections import Connection
from vectorferry.spec.sides import Namespaces
from vectorferry.stores.base import Capabilities
from vectorferry.stores.memory import MemoryStore

SECRET = "confidential"
ROW = {"id": "a", "values": [1.0, 2, 3, 4], "metadata": {"kind": SECRET, "n": 1}}


@pytest.fixture
def present() -> str:
    """The name of a memory connection with a collection `docs`."""
    name = uuid.uuid4().hex
    MemoryStore(name, "docs").create(CollectionDefinition(4, Metric.COSINE))
    return name


def test_a_collection_with_vectors_by_name_is_not_observed(tmp_path: Path) -> None:
    name, named = uuid.uuid4().hex, {"image": VectorSpec("image", VectorKind.DENSE, 3, Metric.COSINE)}
    MemoryStore(name, "docs").create(CollectionDefinition(4, Metric.COSINE, named=named))
    with pytest.raises(ApiProblem, match="vectors by name"):
        observed_index(name, "docs", tmp_path / "use.json", connections=lambda each: Connection(each, "memory"))


def seen(file: Path) -> dict[tuple[str, str], int]:
    return {(use["kind"], use["name"]): use["count"] for use in orjson.loads(file.read_bytes())["uses"]}


def use_all(index: Any) -> None:
    index.upsert(vectors=[ROW], namespace="n")
    where = {"$or": [{"kind": {"$in": [SECRET, 7]}}, {"n": {"$gt": 0}}, {"gone": {"$exists": False}}]}
    for _ in range(2):
        assert index.query(vector=[1.0, 0, 0, 0], top_k=5, namespace="n", filter=where, include_metadata=True).matches
    index.query(id="a", top_k=5, namespace="n", include_values=True)
    index.update(id="a", set_metadata={"n": 2}, values=[2.0, 2, 3, 4], namespace="n")
    assert index.fetch(ids=["a"], namespace="n").vectors["a"].metadata == {"kind": SECRET, "n": 2.0}
    index.list_paginated(prefix="a", namespace="n")
    index.describe_index_stats()
    index.delete(filter={"kind": SECRET}, namespace="n")
    with pytest.raises(ApiError):
        index.create_namespace(name="empty")


SHAPE = '{"$or":[{"kind":{"$in":[0,""]}},{"n":{"$gt":0}},{"gone":{"$exists":false}}]}'
COUNTED = {
    ("operation", "upsert"): 1,
    ("operation", "query with filter, metadata"): 2,
    ("operation", "query with id, values"): 1,
    ("operation", "update with values, metadata"): 1,
    ("operation", "fetch"): 1,
    ("operation", "list with prefix"): 1,
    ("operation", "describe_index_stats or namespaces"): 2,
    ("operation", "delete with filter"): 1,
    ("operation", "create_namespace"): 1,
    ("filter", SHAPE): 2,
    ("filter", '{"kind":{"$eq":""}}'): 1,
    ("top_k", "5"): 3,
    ("namespace", "n"): 8,
    ("namespace", "empty"): 1,
}


def test_the_drop_in_counts_over_the_present_collection(present: str, tmp_path: Path) -> None:
    file = tmp_path / "uses.json"
    with observed_index(present, "docs", file, connections=lambda name: Connection(name, "memory")) as index:
        use_all(index)
    assert seen(file) == COUNTED
    with (
        observed_index(present, "docs", file, connections=lambda name: Connection(name, "memory")) as index,
        pytest.raises(ApiError, match="near"),
    ):
        index.query(vector=[1.0, 0, 0, 0], top_k=5, namespace="n", filter={"kind": {"$near": SECRET}})
    assert seen(file) == COUNTED | {
        ("operation", "query with filter"): 1,
        ("filter", "(not valid)"): 1,
        ("top_k", "5"): 4,
        ("namespace", "n"): 9,
    }


def test_the_gateway_counts_over_the_present_collection(present: str, tmp_path: Path) -> None:
    file = tmp_path / "uses.json"
    serving = Serving(keys=Keys.parse([KEY]), port=0, grpc_port=None)
    with observing_gateway(MemoryStore(present, "docs"), "docs", file, serving) as gateway:
        with Pinecone(api_key=KEY, host=gateway.url) as client, client.index(name="docs") as index:
            use_all(index)
        refused = httpx.delete(f"{gateway.url}/indexes/docs", headers={"Api-Key": KEY}, trust_env=False)
        assert refused.status_code == 501
    assert seen(file) == COUNTED
    assert SECRET not in file.read_text()


def test_queries_are_kept_as_a_query_file_where_one_is_named(present: str, tmp_path: Path) -> None:
    file, queries = tmp_path / "uses.json", tmp_path / "asked.parquet"
    for _ in range(2):
        index = observed_index(
            present, "docs", file, queries=queries, connections=lambda name: Connection(name, "memory")
        )
        use_all(index)
        with pytest.raises(ApiError):
            index.query(vector=[1.0, 0], top_k=5, namespace="n")
        index.close()
    asked = recorded_queries(str(queries), queries.read_bytes(), moved={"n"}, dimensions={"": 4}, chosen=Namespaces())
    found = asked[""]
    assert found.namespaces == ["n"] * 4, "neither those by an id nor the one that was refused"
    assert found.vectors.tolist() == [[1, 0, 0, 0]] * 4
    assert found.kinds == ["recorded"] * 4
    assert orjson.loads(found.filters[0] or "")["$or"][0] == {"kind": {"$in": [SECRET, 7]}}
    assert SECRET not in file.read_text()


def test_of_many_queries_each_is_as_likely_kept_and_the_count_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed_queries, "MOST_KEPT", 50)
    late = 0
    for run in range(40):
        for half in (0, 1):
            sample = QuerySample(tmp_path / f"{run}.parquet")
            for number in range(100):
                sample.note("n", [float(100 * half + number)], None)
            sample.save()
        numbers = [vector[0] for vector in pq.read_table(tmp_path / f"{run}.parquet").column("vector").to_pylist()]
        assert len(numbers) == len(set(numbers)) == 50
        late += sum(number >= 100 for number in numbers)
    assert 850 < late < 1150, "of 2,000: half"
    (tmp_path / "other.parquet").write_bytes(b"no parquet")
    with pytest.raises(SpecError, match="not a file of observed queries"):
        QuerySample(tmp_path / "other.parquet")


def test_counts_go_on_and_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "_MOST_NAMES", 2)
    for _ in range(2):
        observation = Observation(tmp_path / "uses.json")
        for name in ("a", "b", "c", "d"):
            observation.note("fetch", name)
        observation.close()
    assert seen(tmp_path / "uses.json") == {
        ("operation", "fetch"): 8,
        ("namespace", "a"): 2,
        ("namespace", "b"): 2,
        ("namespace", OTHERS): 4,
    }
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(SpecError, match="not a file of observed uses"):
        Observation(tmp_path / "other.json")


def test_what_the_target_cannot_serve_is_named(tmp_path: Path) -> None:
    file = tmp_path / "uses.json"
    uses = [
        *COUNTED,
        ("operation", "query with sparse"),
        ("operation", "upsert with sparse"),
        ("namespace", "ä" * 9),
        ("top_k", "500"),
    ]
    file.write_bytes(orjson.dumps({"uses": [{"kind": k, "name": n, "count": 1} for k, n in uses]}))
    poor = Capabilities(
        product="poor",
        filters_any_field=False,
        merges_metadata=False,
        sparse=False,
        max_top_k=100,
        filter_operators=frozenset({"$eq", "$or", "$in", "$gt"}),
        ascii_namespaces=True,
        max_namespace_bytes=10,
    )
    spec = World(tmp_path, {}, small_spec(tmp_path) | {"fields": {"kind": "string"}}).spec
    found = {(use.kind, use.name): use.problem for use in judged(file, spec, poor) if use.problem}
    assert found == {
        (
            "filter",
            SHAPE,
        ): "can filter by declared fields only: declare 'n' under `fields`; does not support $exists on 'gone'",
        ("namespace", "ä" * 9): "the target takes ASCII names only; the target takes names of at most 10 bytes",
        ("operation", "create_namespace"): "no router serves it",
        ("operation", "query with sparse"): "no router serves it",
        ("operation", "update with values, metadata"): "the target cannot merge metadata: write the whole record",
        ("operation", "upsert with sparse"): "the target holds no sparse vectors",
        ("top_k", "500"): "the target returns at most 100",
    }


def test_a_mapping_is_part_of_what_the_target_serves(tmp_path: Path) -> None:
    file = tmp_path / "uses.json"
    uses = [
        ("filter", '{"n":{"$gt":0}}'),
        ("filter", '{"gone":{"$eq":""}}'),
        ("namespace", "ä"),
        ("operation", "update with values"),
    ]
    file.write_bytes(orjson.dumps({"uses": [{"kind": k, "name": n, "count": 1} for k, n in uses]}))
    mapping = {
        "cast": {"n": {"to": "string"}},
        "drop": ["gone"],
        "namespaces": {"rename": {"ä": "a"}},
        "vectors": {"": "v"},
    }
    spec = World(tmp_path, {}, small_spec(tmp_path) | {"mapping": mapping}).spec
    able = Capabilities(product="able", ascii_namespaces=True, updates_vectors=False)
    assert {use.name: use.problem for use in judged(file, spec, able)} == {
        uses[0][
            1
        ]: "does not support $gt on 'n': `mapping.cast` makes string of its values, which have no such order there",
        uses[1][1]: "does not get 'gone', which stays behind (`mapping.drop`)",
        "ä": "",
        "update with values": "the target calls the vector otherwise, and no update knows it: write the whole record",
    }


def test_the_command_shows_it(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    world = World(tmp_path, {"target": postgres_connection("target", url)}, small_spec(tmp_path))
    observation = Observation(tmp_path / "uses.json")
    observation.note("query with filter", "", {"kind": SECRET}, 5)
    observation.close()
    command = ("observe", str(tmp_path / "uses.json"), str(world.spec_file))
    fine = vectorferry(*command, environment=world.environment())
    assert (fine.code, "4 uses, 0 of them cannot be served" in fine.text) == (0, True), fine.text
    observation.note("create_namespace", "new")
    observation.close()
    refused = vectorferry(*command, "--json", environment=world.environment())
    assert refused.code == 1
    assert refused.json()[0] == {
        "kind": "operation",
        "name": "create_namespace",
        "count": 1,
        "problem": "no router serves it",
    }
    missing = vectorferry("observe", str(tmp_path / "none.json"), command[2], environment=world.environment())
    assert (missing.code, "not a file of observed uses" in missing.text) == (2, True)
