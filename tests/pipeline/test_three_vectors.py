"""A collection of Weaviate with three vectors, made by the vendor's client, moves to PostgreSQL and back, and is the same to it."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from weaviate import WeaviateClient
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.data import DataObject

from pipeline.test_run import approve
from pipeline.worlds import World, postgres_connection, small_spec, weaviate_connection
from stores.weaviate.tools import open_store, vendor
from vectorferry.core.errors import PreflightFailed
from vectorferry.core.names import decode_tenant
from vectorferry.engine import pipeline
from vectorferry.engine.session import silent
from vectorferry.local.servers.weaviate import Weaviate

ROWS = 120
TENANTS = ("acme", "globex")
LENGTHS = {"image": 6, "title": 8, "tokens": 4}
_numbers = itertools.count(1)


@pytest.fixture
def client(weaviate: Weaviate) -> Iterator[WeaviateClient]:
    with vendor(weaviate) as found:
        yield found
        found.collections.delete(["Three", "ThreeAgain"])


def fill(client: WeaviateClient) -> None:
    """Two dense vectors and a multi vector, in two tenants; one in nine objects lacks one of them."""
    random = np.random.default_rng(5)
    made = client.collections.create(
        "Three",
        properties=[Property(name="text", data_type=DataType.TEXT), Property(name="row", data_type=DataType.NUMBER)],
        vector_config=[
            Configure.Vectors.self_provided(name="image"),
            Configure.Vectors.self_provided(name="title"),
            Configure.MultiVectors.self_provided(name="tokens"),
        ],
        multi_tenancy_config=Configure.multi_tenancy(auto_tenant_creation=True),
    )

    def vectors(row: int) -> Any:
        shapes: dict[str, tuple[int, ...]] = {name: (floats,) for name, floats in LENGTHS.items()}
        shapes["tokens"] = (1 + row % 4, LENGTHS["tokens"])
        lacking = [*LENGTHS][row // 9 % 3] if row % 9 == 0 else None
        drawn = {name: random.standard_normal(shape) for name, shape in shapes.items() if name != lacking}
        unit = {name: each / np.linalg.norm(each, axis=-1, keepdims=True) for name, each in drawn.items()}
        return {name: each.astype(np.float32).tolist() for name, each in unit.items()}

    for tenant in TENANTS:
        objects = [
            DataObject(properties={"text": f"{tenant} {row}", "row": row}, uuid=UUID(int=row + 1), vector=vectors(row))
            for row in range(ROWS)
        ]
        assert not made.with_tenant(tenant).data.insert_many(objects).has_errors


def theirs(client: WeaviateClient) -> dict[tuple[str, str], Any]:
    """Vectors by tenant and id of the collection that the vendor's client made."""
    made = client.collections.use("Three")
    return {
        (tenant, str(each.uuid)): each.vector
        for tenant in TENANTS
        for each in made.with_tenant(tenant).iterator(include_vector=True)
    }


def ours(client: WeaviateClient) -> dict[tuple[str, str], Any]:
    """The same of the collection that was made by the way back: its tenants are namespaces, and its objects tell their ids."""
    made = client.collections.use("ThreeAgain")
    return {
        (decode_tenant(tenant), each.properties["source_id"]): each.vector
        for tenant in made.tenants.get()
        for each in made.with_tenant(tenant).iterator(include_vector=True)
    }


def world(folder: Path, database: str, server: Weaviate, source: str, target: str) -> World:
    """From one of the two products to the other; the source is called as the database that it is in."""
    spec = small_spec(folder)
    spec |= {"migration": f"three{next(_numbers)}", "fields": {"row": "number"}}
    connections = {"journal": postgres_connection("journal", database)}
    for side, collection in (("source", source), ("target", target)):
        spec[side]["collection"] = collection
        weaviate = collection[0].isupper()
        connections[side] = weaviate_connection(server) if weaviate else postgres_connection(side, database)
    return World(folder, connections, spec)


def test_three_vectors_go_to_postgres_and_back(
    tmp_path: Path, database: str, weaviate: Weaviate, client: WeaviateClient
) -> None:
    fill(client)
    there = world(tmp_path / "there", database, weaviate, "Three", "three_moved")
    back = world(tmp_path / "back", database, weaviate, "three_moved", "ThreeAgain")
    for way in (there, back):
        with way.session() as session:
            outcome = pipeline.run(session, approve)
            assert outcome.switched is not None
            target = session.target.describe()
            assert (target.dimension, target.rows) == (None, ROWS * len(TENANTS))
            assert {name: spec.dimension for name, spec in target.named.items()} == LENGTHS
            compared = pipeline.compare(session.source, session.target, session.spec.namespaces, report=silent, limit=5)
            assert compared.equal, compared.differences
    expected = theirs(client)
    assert ours(client) == expected
    assert len(expected) == ROWS * len(TENANTS) and any(each.keys() != LENGTHS.keys() for each in expected.values())
    with closing(open_store(weaviate, "ThreeAgain")) as store:
        query = np.array([expected["acme", str(UUID(int=2))]["image"]], np.float32)
        assert store.search("acme", query, 1, vector="image").ids == ((str(UUID(int=2)),),)


def test_a_target_of_the_same_vectors_takes_them_and_one_that_lacks_any_is_refused(
    tmp_path: Path, database: str, weaviate: Weaviate, client: WeaviateClient
) -> None:
    fill(client)
    lacking = [Configure.Vectors.self_provided(name="image"), Configure.Vectors.self_provided(name="other")]
    client.collections.create(
        "ThreeAgain", vector_config=lacking, multi_tenancy_config=Configure.multi_tenancy(enabled=True)
    )
    with world(tmp_path, database, weaviate, "Three", "ThreeAgain").session() as session:
        with pytest.raises(PreflightFailed) as refused:
            pipeline.preflight(session)
        assert "'title'" in str(refused.value) and "'tokens' (multi" in str(refused.value)


def test_a_vector_without_an_index_is_moved_from_and_refused_as_a_target_before_anything_is_loaded(
    tmp_path: Path, database: str, weaviate: Weaviate, client: WeaviateClient
) -> None:
    kept = Configure.Vectors.self_provided(name="kept", vector_index_config=Configure.VectorIndex.none())
    vectors = [Configure.Vectors.self_provided(name="default"), kept]
    made = client.collections.create("Three", vector_config=vectors)
    rows = [
        DataObject(properties={}, uuid=UUID(int=row + 1), vector={"default": [1.0, row], "kept": [row, 2.0, 3.0]})
        for row in range(30)
    ]
    assert not made.data.insert_many(rows).has_errors
    moved = world(tmp_path / "away", database, weaviate, "Three", "kept_moved")
    moved.spec_dict["fields"] = {}
    with moved.session() as session:
        assert pipeline.run(session, approve).switched is not None
    client.collections.create("ThreeAgain", vector_config=vectors)
    back = world(tmp_path / "back", database, weaviate, "Three", "ThreeAgain")
    back.spec_dict["fields"] = {}
    with back.session() as session, pytest.raises(PreflightFailed, match="'kept' is kept without an index"):
        pipeline.preflight(session)
