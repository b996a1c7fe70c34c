"""Any collection that the vendor's client can make is read whole or refused by name, with the server's own listing as the witness."""

import base64
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from weaviate import WeaviateClient
from weaviate.classes.config import Configure, DataType, Property, ReferenceProperty
from weaviate.classes.data import DataObject, GeoCoordinate, PhoneNumber

from stores.weaviate.tools import open_store, vendor
from stores.weaviate.witness import Held, held, read
from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionDefinition, KeyRange
from vectorferry.core.records import parse_json
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.memory import MemoryStore
from vectorferry.stores.weaviate.store import WeaviateStore

EXAMPLES = int(os.environ.get("WEAVIATE_SCHEMAS", "40"))
"""How many collections are made; 40 take about a quarter of a minute."""

LIKED = UUID(int=7)
INDEXES = {
    "hnsw": Configure.VectorIndex.hnsw(),
    "rq": Configure.VectorIndex.hnsw(quantizer=Configure.VectorIndex.Quantizer.rq()),
    "flat": Configure.VectorIndex.flat(),
    "hfresh": Configure.VectorIndex.hfresh(),
}
INTS = st.integers(-(2**53) + 1, 2**53 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=8)
DATES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
BLOBS = st.binary(min_size=1, max_size=30).map(lambda raw: base64.b64encode(raw).decode())
PHONES = [PhoneNumber(number="0171 1234567", default_country="DE"), PhoneNumber(number="+49 171 1234567")]
SCALARS: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.TEXT: TEXTS,
    DataType.INT: INTS,
    DataType.NUMBER: NUMBERS,
    DataType.BOOL: st.booleans(),
    DataType.DATE: DATES,
    DataType.UUID: st.uuids(),
    DataType.BLOB: BLOBS,
    DataType.TEXT_ARRAY: st.lists(TEXTS, max_size=3),
    DataType.INT_ARRAY: st.lists(INTS, max_size=3),
    DataType.NUMBER_ARRAY: st.lists(NUMBERS, max_size=3),
    DataType.BOOL_ARRAY: st.lists(st.booleans(), max_size=3),
    DataType.DATE_ARRAY: st.lists(DATES, max_size=3),
    DataType.UUID_ARRAY: st.lists(st.uuids(), max_size=3),
}
TOP = SCALARS | {
    DataType.GEO_COORDINATES: st.builds(
        GeoCoordinate,
        latitude=st.floats(-90, 90, width=32, allow_subnormal=False),
        longitude=st.floats(-180, 180, width=32, allow_subnormal=False),
    ),
    DataType.PHONE_NUMBER: st.sampled_from(PHONES),
    DataType.BLOB_HASH: BLOBS,
}
KINDS = [*TOP, DataType.OBJECT, DataType.OBJECT_ARRAY]


@dataclass(frozen=True)
class Shape:
    """A property of a schema, with those inside of it."""

    name: str
    kind: DataType
    inside: tuple["Shape", ...] = ()

    def property(self) -> Property:
        inner = [each.property() for each in self.inside] or None
        return Property(name=self.name, data_type=self.kind, nested_properties=inner)

    def values(self) -> st.SearchStrategy[Any]:
        if not self.inside:
            return TOP[self.kind]
        objects = values_of(self.inside)
        return st.lists(objects, max_size=2) if self.kind is DataType.OBJECT_ARRAY else objects


def values_of(shapes: tuple[Shape, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Properties of an object: any of them may be missing."""
    return st.fixed_dictionaries({}, optional={each.name: each.values() for each in shapes})


@st.composite
def shapes(draw: st.DrawFn, depth: int = 0) -> tuple[Shape, ...]:
    allowed = KINDS if depth == 0 else [*SCALARS, *([DataType.OBJECT, DataType.OBJECT_ARRAY] if depth == 1 else [])]
    kinds = draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=8 if depth == 0 else 3))
    return tuple(
        Shape(f"p{number}", kind, draw(shapes(depth + 1)) if kind.value.startswith("object") else ())
        for number, kind in enumerate(kinds)
    )


@dataclass(frozen=True)
class Case:
    """A collection: its schema, and its objects as properties, length of the vector and whether it refers to another."""

    index: str
    vectors: str
    tenant: str
    nulls: bool
    shapes: tuple[Shape, ...]
    objects: tuple[tuple[dict[str, Any], int, bool], ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    made = draw(shapes())
    lengths = draw(st.sampled_from([[3], [0, 3], [0], [3, 5]]))
    one = st.tuples(values_of(made), st.sampled_from(lengths), st.booleans())
    return Case(
        draw(st.sampled_from([*INDEXES])),
        draw(st.sampled_from(["default", "default", "named", "several", "multi"])),
        draw(st.sampled_from(["", "acme"])),
        draw(st.booleans()),
        made,
        tuple(draw(st.lists(one, min_size=1, max_size=6))),
    )


@pytest.fixture(scope="module")
def client(weaviate: Weaviate) -> Iterator[WeaviateClient]:
    with vendor(weaviate) as found:
        found.collections.delete(["Any", "Twin", "Liked"])
        liked = found.collections.create("Liked", vector_config=Configure.Vectors.self_provided())
        liked.data.insert({}, uuid=LIKED)
        yield found
        found.collections.delete(["Any", "Twin", "Liked"])


def make(client: WeaviateClient, case: Case, name: str = "Any") -> None:
    """The collection, by the vendor's client."""
    vectors = Configure.Vectors.self_provided
    configs: dict[str, Any] = {
        "default": lambda: vectors(vector_index_config=INDEXES[case.index]),
        "named": lambda: [vectors(name="own", vector_index_config=INDEXES[case.index])],
        "several": lambda: [vectors(name="a"), vectors(name="b")],
        "multi": lambda: [Configure.MultiVectors.self_provided(name="m")],
    }
    client.collections.delete(name)
    made = client.collections.create(
        name,
        properties=[each.property() for each in case.shapes],
        references=[ReferenceProperty(name="like", target_collection="Liked")],
        vector_config=configs[case.vectors](),
        inverted_index_config=Configure.inverted_index(index_null_state=case.nulls),
        multi_tenancy_config=Configure.multi_tenancy(auto_tenant_creation=True) if case.tenant else None,
    )
    put = made.with_tenant(case.tenant) if case.tenant else made
    if not case.objects:
        if case.tenant:
            made.tenants.create([case.tenant])
        return
    # The server stores vectors of another length as well, and answers that it cannot index them.
    put.data.insert_many([_object(case, number) for number in range(len(case.objects))])
    assert put.aggregate.over_all(total_count=True).total_count == len(case.objects)


def _object(case: Case, number: int) -> DataObject[Any, Any]:
    properties, floats, refers = case.objects[number]
    raw = [0.5 + number] * floats
    vector: Any = {
        "default": raw or None,
        "named": {"own": raw} if floats else None,
        "several": {"a": [1.0, 2.0], "b": [3.0]},
        "multi": {"m": [[1.0, 2.0], [3.0, 4.0]]},
    }[case.vectors]
    likes = {"like": LIKED} if refers else {}
    return DataObject(properties=properties, uuid=UUID(int=number + 1), vector=vector, references=likes)


def moved(store: WeaviateStore, namespace: str) -> dict[str, Held]:
    """The records after a move to a store in memory, read by range; read by id they are the same."""
    info = store.describe()
    target = MemoryStore("any-schema", "c")
    target.drop()
    named = {name: replace(spec, dimension=spec.dimension or 1) for name, spec in info.named.items()}
    target.create(CollectionDefinition(info.dimension or 1, info.metric, named=named))
    for batch in store.scan(KeyRange(namespace), batch_rows=4):
        assert not target.upsert(batch).rejected
    found = read(list(target.scan(KeyRange(namespace))))
    assert read([store.fetch(namespace, list(found))]) == found
    return found


@seed(7)
@settings(
    max_examples=EXAMPLES,
    derandomize=False,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(case=cases())
def test_it_is_moved_whole_or_refused_by_name(weaviate: Weaviate, client: WeaviateClient, case: Case) -> None:
    make(client, case)
    lengths = {floats for _, floats, _ in case.objects if floats}
    with closing(open_store(weaviate, "Any")) as store:
        if len(lengths) > 1 and case.vectors not in ("several", "multi"):
            with pytest.raises(
                RecordError, match=r"Any, namespace .*, id .*: the vector has (3|5) dimensions, those .* (3|5)"
            ):
                moved(store, case.tenant)
            told = store.inventory([case.tenant], most=100).lengths
            assert {floats: found.records for floats, found in told.items()} == {
                length: sum(floats == length for _, floats, _ in case.objects)
                for length in sorted({floats for _, floats, _ in case.objects})
            }
        else:
            found = moved(store, case.tenant)
            assert found == held(weaviate, "Any", case.tenant)
            put_into_a_twin(weaviate, client, store, case, found)


def put_into_a_twin(
    server: Weaviate, client: WeaviateClient, store: WeaviateStore, case: Case, found: dict[str, Held]
) -> None:
    """What was read is written to a collection of the same schema, which holds the same then; what is no value of its own is refused."""
    make(client, replace(case, objects=()), "Twin")
    with closing(open_store(server, "Twin")) as twin:
        refused = {
            rejection.id: rejection.reason
            for b in store.scan(KeyRange(case.tenant))
            for rejection in twin.upsert(b).rejected
        }
    names = {each.name for each in case.shapes if each.kind is DataType.BLOB_HASH} | {"like"}
    expected = {id_ for id_, each in found.items() if names & parse_json(each.metadata).keys()}
    assert refused.keys() == expected
    assert all(any(repr(name) in reason for name in names) for reason in refused.values())
    assert held(server, "Twin", case.tenant) == {id_: each for id_, each in found.items() if id_ not in expected}
