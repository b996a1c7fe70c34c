"""Properties of every type come over as they are held, those too that the server withholds unless it is asked for them by name."""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from weaviate import WeaviateClient
from weaviate.classes.config import Configure, DataType, Property, ReferenceProperty
from weaviate.classes.data import DataObject, GeoCoordinate, PhoneNumber

from stores.weaviate.tools import open_store, rest, vendor
from stores.weaviate.witness import Held, held, read
from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.core.names import record_uuid
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.weaviate.store import WeaviateStore
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import records

VECTORS = Configure.Vectors
BLOB = base64.b64encode(b"\x89PNG" * 5).decode()
SOMEWHERE = UUID(int=77)
SUMMER = datetime(2024, 7, 2, 3, 4, 5, 123456, timezone(timedelta(hours=2)))
INNER = {"text": "x", "blob": BLOB, "dates": [SUMMER], "object": {"blob": BLOB, "number": 1.5}}
VALUES: dict[str, Any] = {
    "text": "é\u0000", "texts": ["", "a"], "int": 2**53 - 1, "ints": [1, -(2**40)], "number": 1.5e300, "numbers": [0.1, 2.0],
    "boolean": False, "booleans": [True, False], "date": SUMMER, "dates": [SUMMER, datetime(1, 1, 1, tzinfo=UTC)], "uuid": SOMEWHERE,
    "uuids": [SOMEWHERE, UUID(int=0)], "geo": GeoCoordinate(latitude=52.123456, longitude=-4.3),
    "phone": PhoneNumber(number="0171 1234567", default_country="DE"), "blob": BLOB, "hash": BLOB, "object": INNER,
    "objects": [INNER, {"text": "only"}],
}  # fmt: skip
TYPES = {
    "text": DataType.TEXT, "texts": DataType.TEXT_ARRAY, "int": DataType.INT, "ints": DataType.INT_ARRAY, "number": DataType.NUMBER,
    "numbers": DataType.NUMBER_ARRAY, "boolean": DataType.BOOL, "booleans": DataType.BOOL_ARRAY, "date": DataType.DATE,
    "dates": DataType.DATE_ARRAY, "uuid": DataType.UUID, "uuids": DataType.UUID_ARRAY, "geo": DataType.GEO_COORDINATES,
    "phone": DataType.PHONE_NUMBER, "blob": DataType.BLOB, "hash": DataType.BLOB_HASH,
}  # fmt: skip
DEEPEST = [Property(name="number", data_type=DataType.NUMBER), Property(name="blob", data_type=DataType.BLOB)]
NESTED = [
    Property(name="text", data_type=DataType.TEXT),
    Property(name="blob", data_type=DataType.BLOB),
    Property(name="dates", data_type=DataType.DATE_ARRAY),
    Property(name="object", data_type=DataType.OBJECT, nested_properties=DEEPEST),
]
PROPERTIES = [
    *(Property(name=name, data_type=kind) for name, kind in TYPES.items()),
    Property(name="object", data_type=DataType.OBJECT, nested_properties=NESTED),
    Property(name="objects", data_type=DataType.OBJECT_ARRAY, nested_properties=NESTED),
]


@pytest.fixture
def client(weaviate: Weaviate) -> Iterator[WeaviateClient]:
    with vendor(weaviate) as found:
        yield found
        found.collections.delete(["Everything", "Author"])


@pytest.fixture
def store(weaviate: Weaviate) -> Iterator[WeaviateStore]:
    found = open_store(weaviate, "Everything")
    yield found
    found.close()


def both_ways(store: WeaviateStore, namespace: str = "") -> dict[str, Held]:
    """What is read of a namespace, in order and by id alike."""
    scanned = list(store.scan(KeyRange(namespace), batch_rows=7))
    found = read(scanned)
    assert read([store.fetch(namespace, list(found))]) == found
    return found


def test_every_type_is_read_as_it_is_held(weaviate: Weaviate, client: WeaviateClient, store: WeaviateStore) -> None:
    made = client.collections.create("Everything", properties=PROPERTIES, vector_config=VECTORS.self_provided())
    empty = {name: [] for name in TYPES if name.endswith("s") and name != "hash"}
    rows = [VALUES, {}, empty, {"object": {}, "objects": [{}]}, {"object": {"dates": []}, "objects": []}]
    for number, values in enumerate(rows):
        made.data.insert(values, uuid=UUID(int=number), vector=[0.5, 1.0])
    found = both_ways(store)
    assert found == held(weaviate, "Everything")
    first = parse_json(found[str(UUID(int=0))].metadata)
    assert first.keys() == VALUES.keys()
    assert first["blob"] == first["object"]["blob"] == first["objects"][0]["object"]["blob"] == BLOB
    assert first["hash"] and first["hash"] != BLOB


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_references_are_read_as_beacons_even_where_they_lead_nowhere(
    weaviate: Weaviate, client: WeaviateClient, store: WeaviateStore, tenant: str
) -> None:
    author = client.collections.create("Author", vector_config=VECTORS.self_provided())
    there, gone = author.data.insert({}), author.data.insert({})
    references = [
        ReferenceProperty(name="by", target_collection="Author"),
        ReferenceProperty.MultiTarget(name="any", target_collections=["Author", "Everything"]),
    ]
    tenancy = Configure.multi_tenancy(auto_tenant_creation=True) if tenant else None
    made = client.collections.create(
        "Everything",
        properties=[Property(name="text", data_type=DataType.TEXT)],
        references=references,
        vector_config=VECTORS.self_provided(),
        multi_tenancy_config=tenancy,
    )
    put = made.with_tenant(tenant) if tenant else made
    rows = [
        DataObject(
            properties={"text": f"t{n}"},
            uuid=UUID(int=n * 1000),
            vector=[0.5, n],
            references={"by": [there, gone]} if n % 3 else {},
        )
        for n in range(250)
    ]
    assert not put.data.insert_many(rows).has_errors
    at = f"?tenant={tenant}" if tenant else ""
    for n in (2, 3):
        beacon = {"beacon": f"weaviate://localhost/Author/{there}"}
        rest(weaviate, "POST", f"/objects/Everything/{UUID(int=n * 1000)}/references/any{at}", beacon)
    author.data.delete_by_id(gone)
    found = both_ways(store, tenant)
    assert found == held(weaviate, "Everything", tenant)
    assert parse_json(found[str(UUID(int=2000))].metadata) == {
        "text": "t2",
        "by": [f"weaviate://localhost/Author/{there}", f"weaviate://localhost/Author/{gone}"],
        "any": [f"weaviate://localhost/Author/{there}"],
    }


def test_a_property_that_others_added_to_the_envelope_is_told_and_refused(weaviate: Weaviate) -> None:
    store = open_store(weaviate, "Everything", index={"layout": "envelope"})
    store.create(CollectionDefinition(8, Metric.COSINE))
    put_all(store, records("n", ["a", "b", "c"]))
    for name, kind in (("count", "int"), ("picture", "blob"), ("like", "Everything"), ("never", "date")):
        rest(weaviate, "POST", "/schema/Everything/properties", {"name": name, "dataType": [kind]})
    store.close()
    later = open_store(weaviate, "Everything")
    assert len(later.fetch("n", ["a"])) == 1
    assert later.inventory(["n"], most=10).unread == ()
    place = f"/objects/Everything/{record_uuid('n', 'a')}"
    rest(weaviate, "PATCH", place, {"class": "Everything", "tenant": "n", "properties": {"count": 3}})
    rest(weaviate, "PATCH", place, {"class": "Everything", "tenant": "n", "properties": {"picture": BLOB}})
    with pytest.raises(RecordError, match=r"Everything, namespace n, id a: the property '(count|picture)'"):
        list(later.scan(KeyRange("n")))
    with pytest.raises(RecordError, match="added to the collection by others"):
        later.fetch("n", ["a"])
    other = f"/objects/Everything/{record_uuid('n', 'b')}/references/like?tenant=n"
    rest(weaviate, "POST", other, {"beacon": f"weaviate://localhost/Everything/{record_uuid('n', 'c')}"})
    with pytest.raises(RecordError, match=r"id b: the property 'like' \(Everything\)"):
        later.fetch("n", ["b"])
    assert len(later.fetch("n", ["c"])) == 1
    told = later.inventory(["n"], most=10).unread
    assert [text.split(",")[0] for text in told] == [
        f"1 objects have a value in the property {name!r} ({kind})"
        for name, kind in (("count", "int"), ("like", "Everything"), ("picture", "blob"))
    ]
    later.drop()
    later.close()


PHONE = {
    "input": "0171 1234567", "defaultCountry": "DE", "countryCode": 49, "internationalFormatted": "+49 171 1234567",
    "national": 1711234567, "nationalFormatted": "0171 1234567", "valid": True,
}  # fmt: skip
BEACON = f"weaviate://localhost/Everything/{SOMEWHERE}"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("date", "2024-01-02T03:04:05.000Z", "'date' of the type date .* as in 2024-01-02T03:04:05.67Z"),
        ("date", "2024-01-02T03:04:05+00:00", "'date' of the type date"),
        ("dates", ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.120Z"], r"'dates' of the type date\[\]"),
        ("geo", {"latitude": 52.123456, "longitude": 1.0}, "'geo' of the type geoCoordinates .* a number of 32 bits"),
        ("geo", {"latitude": 91.0, "longitude": 1.0}, "'geo'"),
        ("phone", {"input": "0171 1234567", "defaultCountry": "DE"}, "'phone' of the type phoneNumber .* countryCode"),
        ("hash", BLOB, "'hash' of the type blobHash .* not the blob"),
        ("object", {"unknown": 1}, "no property 'object.unknown'"),
        ("object", {"object": {"number": "x"}}, "'object.object.number' of the type number"),
        ("objects", [{"text": "a"}, {"dates": "x"}], "'objects.dates' holds lists"),
        ("objects", {"text": "a"}, "'objects' holds lists"),
        ("like", [BEACON], "'like' refers to objects of Everything: they are not written"),
    ],
)
def test_a_value_that_would_come_back_as_another_is_refused_by_name(
    client: WeaviateClient, store: WeaviateStore, key: str, value: Any, words: str
) -> None:
    like = [ReferenceProperty(name="like", target_collection="Everything")]
    client.collections.create(
        "Everything", properties=PROPERTIES, references=like, vector_config=VECTORS.self_provided()
    )
    [rejection] = store.upsert(records("", [str(UUID(int=1))], metadata=[{key: value}])).rejected
    assert re.search(words, rejection.reason), rejection.reason


@pytest.mark.parametrize(
    "value",
    [
        {"date": "2024-01-02T03:04:05.12+02:00", "dates": ["2024-01-02T03:04:05Z"]},
        {"geo": {"latitude": 52.5, "longitude": -4.25}},
        {"phone": PHONE},
        {"object": {"blob": BLOB, "object": {"number": 1.5}}, "objects": [{}, {"text": "a", "dates": []}]},
        {"object": {"object": {}}, "objects": []},
    ],
)
def test_a_value_of_a_native_type_is_read_back_as_it_was_written(
    weaviate: Weaviate, client: WeaviateClient, store: WeaviateStore, value: Any
) -> None:
    client.collections.create("Everything", properties=PROPERTIES, vector_config=VECTORS.self_provided())
    ids = [str(UUID(int=n)) for n in (1, 2)]
    assert not store.upsert(records("", ids, metadata=[value, {}])).rejected
    store.update("", ids[1], metadata=canonical_json(value))
    found = both_ways(store)
    assert found == held(weaviate, "Everything")
    assert [parse_json(found[id_].metadata) for id_ in ids] == [value, value]
