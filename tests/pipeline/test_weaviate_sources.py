"""Collections of Weaviate that hold what a migration cannot move: preflight says so, by name and number, before anything is written."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from weaviate import WeaviateClient
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.data import DataObject, GeoCoordinate, PhoneNumber

from pipeline.commanding import on
from pipeline.test_run import approve
from pipeline.worlds import World, weaviate_connection
from stores.weaviate.tools import rest, vendor
from stores.weaviate.witness import held
from vectorferry.core.errors import GateError, PreflightFailed
from vectorferry.engine import pipeline
from vectorferry.engine.backup.create import backup
from vectorferry.engine.plan.preflight import Preflight
from vectorferry.engine.signoff.evidence import verdicts_of
from vectorferry.local.servers.weaviate import Weaviate

Look = Callable[[], Preflight]


@pytest.fixture
def look(world: World, weaviate: Weaviate) -> Look:
    """Preflight of a move from the collection Lossy to PostgreSQL."""
    world.connections["source"] = weaviate_connection(weaviate)
    world.spec_dict["source"]["collection"] = "Lossy"
    world.spec_dict["fields"] = {}

    def looked() -> Preflight:
        with world.session() as session:
            return pipeline.preflight(session)

    return looked


@pytest.fixture
def lossy(weaviate: Weaviate) -> Any:
    """A client of the vendor's, and the name of a collection that is dropped afterwards."""
    with vendor(weaviate) as client:
        yield client
        client.collections.delete("Lossy")


def test_vectors_of_several_lengths_are_refused_with_their_numbers(lossy: WeaviateClient, look: Look) -> None:
    made = lossy.collections.create("Lossy", vector_config=Configure.Vectors.self_provided())
    made.data.insert_many(
        [DataObject(uuid=UUID(int=n + 1), properties={}, vector=[0.5] * (4 if n < 3 else 8)) for n in range(60)]
    )
    with pytest.raises(PreflightFailed) as caught:
        look()
    [problem] = caught.value.problems
    assert f"4 (3 records; first (default)/{UUID(int=1)}, " in problem
    assert f"8 (57 records; first (default)/{UUID(int=4)}, " in problem


def test_a_tenant_that_sleeps_is_excluded_from_a_move_but_never_from_a_backup(
    lossy: WeaviateClient, look: Look, world: World
) -> None:
    tenancy = Configure.multi_tenancy(auto_tenant_creation=True)
    vectors = Configure.Vectors.self_provided()
    made = lossy.collections.create("Lossy", vector_config=vectors, multi_tenancy_config=tenancy)
    for name in ("acme", "initech"):
        made.with_tenant(name).data.insert({}, vector=[0.5] * 4)
    made.tenants.deactivate("initech")
    with pytest.raises(PreflightFailed, match="being INACTIVE: initech"):
        look()
    world.spec_dict["namespaces"] = {"exclude": ["initech"]}
    assert look().namespaces == {"acme": 1}
    with (
        world.session() as session,
        pytest.raises(GateError, match=r"1 namespaces of Lossy sleep .*initech.*wake them"),
    ):
        backup(session, "source")
    assert made.tenants.get_by_name("initech").activity_status.value == "INACTIVE"


def test_an_alias_named_like_a_collection_is_refused_before_anything_is_made(
    lossy: WeaviateClient, filled: World, weaviate: Weaviate
) -> None:
    lossy.collections.create("Lossy", vector_config=Configure.Vectors.self_provided())
    filled.connections["target"] = weaviate_connection(weaviate)
    filled.spec_dict["target"] |= {"collection": "Moved", "alias": "Lossy"}
    with filled.session() as session, pytest.raises(PreflightFailed) as caught:
        pipeline.preflight(session)
    [problem] = caught.value.problems
    assert problem.startswith("`target.alias` can never be set") and "'Lossy' is the name of a collection" in problem
    assert not lossy.collections.exists("Moved")


def test_objects_without_a_vector_are_told(lossy: WeaviateClient, look: Look) -> None:
    made = lossy.collections.create("Lossy", vector_config=Configure.Vectors.self_provided())
    rows = [DataObject(uuid=UUID(int=n + 1), properties={}, vector=[0.5] * 4 if n % 2 else None) for n in range(6)]
    made.data.insert_many(rows)
    found = look()
    assert found.source.dimension == 4
    assert any(
        text.startswith(f"3 of 6 records have no vector (first (default)/{UUID(int=1)}") for text in found.warnings
    )


INSIDE = [
    Property(name="color", data_type=DataType.TEXT),
    Property(name="seen", data_type=DataType.DATE_ARRAY),
    Property(
        name="sizes",
        data_type=DataType.OBJECT_ARRAY,
        nested_properties=[Property(name="cm", data_type=DataType.NUMBER)],
    ),
]
RICH = [
    Property(name="title", data_type=DataType.TEXT),
    Property(name="where", data_type=DataType.GEO_COORDINATES),
    Property(name="call", data_type=DataType.PHONE_NUMBER),
    Property(name="made", data_type=DataType.DATE),
    Property(name="batch", data_type=DataType.UUID),
    Property(name="attrs", data_type=DataType.OBJECT, nested_properties=INSIDE),
]


def test_a_target_of_native_properties_that_was_made_beforehand_holds_all_that_the_source_holds(
    lossy: WeaviateClient, world: World, weaviate: Weaviate
) -> None:
    for name in ("Lossy", "Beforehand"):
        lossy.collections.delete(name)
        lossy.collections.create(name, properties=RICH, vector_config=Configure.Vectors.self_provided())
    moment = datetime(2024, 5, 6, 7, 8, 9, 120000, UTC)
    rich = {
        "where": GeoCoordinate(latitude=52.52, longitude=13.405),
        "call": PhoneNumber(number="0171 1234567", default_country="DE"),
        "made": moment,
        "batch": UUID(int=99),
        "attrs": {"color": "red", "seen": [moment], "sizes": [{"cm": 1.5}, {}]},
    }
    rows = [
        DataObject({"title": f"t{n}"} | (rich if n % 2 else {}), UUID(int=n + 1), vector=[0.5, n, 1.0])
        for n in range(60)
    ]
    assert not lossy.collections.use("Lossy").data.insert_many(rows).has_errors
    world.connections |= {side: weaviate_connection(weaviate) for side in ("source", "target")}
    world.spec_dict["source"]["collection"] = "Lossy"
    world.spec_dict["target"] |= {"collection": "Beforehand", "adopt": True}
    world.spec_dict |= {"fields": {}, "approval": {"four_eyes": False, "terminal": True}}
    ran = on(world, "run", answers="approve\nyes\n")
    assert ran.code == 0, ran.text
    assert held(weaviate, "Beforehand") == held(weaviate, "Lossy")
    lossy.collections.delete("Beforehand")


def test_a_source_without_an_index_is_moved_and_only_its_latency_is_not_measured(
    lossy: WeaviateClient, look: Look, world: World, weaviate: Weaviate
) -> None:
    rest(weaviate, "POST", "/schema", {
        "class": "Lossy", "vectorizer": "none", "vectorIndexConfig": {"skip": True},
    })  # fmt: skip
    rows = [DataObject(uuid=UUID(int=n + 1), properties={}, vector=[1.0, n, 3.0]) for n in range(20)]
    lossy.collections.use("Lossy").data.insert_many(rows)
    assert look().rows == 20
    with world.session() as session:
        outcome = pipeline.run(session, approve)
        [latency] = verdicts_of(outcome.evidence, "latency")
        assert (
            "p95_ms" in latency["figures"]["target"]
            and "without an index" in latency["figures"]["source"]["not_measured"]
        )
    world.spec_dict |= {"migration": "back"}
    world.connections |= {"source": world.connections["target"], "target": world.connections["source"]}
    world.spec_dict["source"]["collection"], world.spec_dict["target"]["collection"] = "docs_moved", "Lossy"
    world.spec_dict["target"]["adopt"] = True
    with pytest.raises(PreflightFailed, match="target weaviate Lossy keeps its vectors without an index"):
        look()


def test_a_source_without_any_vector_is_refused(lossy: WeaviateClient, look: Look) -> None:
    made = lossy.collections.create("Lossy", vector_config=Configure.Vectors.self_provided())
    made.data.insert({}, uuid=UUID(int=1))
    with pytest.raises(PreflightFailed, match="source weaviate Lossy has no vector in any record"):
        look()
