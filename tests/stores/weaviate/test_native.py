"""The native layout: each key is a property of its own kind, and what no property holds exactly is in the overflow, found by filters."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaviate.classes.query import Filter, MetadataQuery

from stores.weaviate.tools import change, open_store, rest, vendor
from vectorferry.core.errors import FilterError, RecordError, Refused
from vectorferry.core.filters import matches, parse_filter
from vectorferry.core.model import CollectionDefinition, FieldOptions, FieldType, KeyRange, Metric
from vectorferry.core.names import encode_tenant, record_uuid
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.weaviate.properties import MOST_PROPERTIES, OVERFLOW
from vectorferry.stores.weaviate.store import WeaviateStore
from vectorferry.testing.assertions import assert_holds, put, put_all
from vectorferry.testing.samples import DIMENSION, QUICK, TEXT, ids_of, new_name, random_vectors, records

FIELDS = {
    "brand": FieldType.STRING,
    "body": FieldType.TEXT,
    "price": FieldType.NUMBER,
    "stock": FieldType.INTEGER,
    "sold": FieldType.BOOLEAN,
    "made": FieldType.DATE,
    "key": FieldType.UUID,
    "place": FieldType.GEO,
    "more": FieldType.OBJECT,
    "tags": FieldType.STRINGS,
    "notes": FieldType.TEXTS,
    "sizes": FieldType.NUMBERS,
    "counts": FieldType.INTEGERS,
    "flags": FieldType.BOOLEANS,
    "days": FieldType.DATES,
    "keys": FieldType.UUIDS,
    "id": FieldType.STRING,
    "with space": FieldType.STRING,
}
UUID = "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10"
FITTING: Mapping[str, Any] = {
    "brand": "Acme",
    "body": "The quick brown fox",
    "price": 1.5,
    "stock": 7,
    "sold": True,
    "made": "2024-01-02T03:04:05.67Z",
    "key": UUID,
    "place": {"latitude": 52.5, "longitude": 13.25},
    "tags": ["a", "b"],
    "notes": ["one two", "three"],
    "sizes": [1, 2.5],
    "counts": [1 << 62, -1],
    "flags": [True, False],
    "days": ["2024-01-02T00:00:00Z", "2024-01-02T00:00:00+01:00"],
    "keys": [UUID],
    "id": "own",
    "with space": "x",
}
NAMES = {key: key for key in FIELDS} | {"id": "vf_f_id", "with space": "vf_f_with_20space"}


Opener = Callable[..., WeaviateStore]


@pytest.fixture
def opened(weaviate: Weaviate) -> Iterator[Opener]:
    """Opens the collection with options; dropped at the end, and all that was opened closed."""
    with contextlib.ExitStack() as cleanup:

        def opener(**options: Any) -> WeaviateStore:
            made = open_store(weaviate, "Native", **options)
            cleanup.callback(made.close)
            return made

        cleanup.callback(opener().drop)
        yield opener


@pytest.fixture
def fresh(opened: Opener) -> Opener:
    """Makes the collection with options."""

    def maker(**options: Any) -> WeaviateStore:
        made = opened(**options)
        made.create(CollectionDefinition(DIMENSION, Metric.COSINE))
        return made

    return maker


@pytest.fixture(params=["tenants", "property"])
def store(fresh: Opener, request: pytest.FixtureRequest) -> WeaviateStore:
    return fresh(fields=FIELDS, namespaces=request.param)


def properties(weaviate: Weaviate, name: str = "Native") -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in rest(weaviate, "GET", f"/schema/{name}")["properties"]}


def metadata_of(store: WeaviateStore, id_: str, namespace: str = "n") -> dict[str, Any]:
    return parse_json(store.fetch(namespace, [id_]).column("metadata")[0].as_py())


def stored(weaviate: Weaviate, store: WeaviateStore, id_: str, namespace: str = "n") -> dict[str, Any]:
    """An object's properties as REST tells them."""
    tenant = f"?tenant={encode_tenant(namespace)}" if store.describe().index.get("shards") is None else ""
    found = rest(weaviate, "GET", f"/objects/Native/{record_uuid(namespace, id_)}{tenant}")["properties"]
    return {name: value for name, value in found.items() if value is not None}


def rows_of(rows: Sequence[Mapping[str, Any]], namespace: str = "n") -> Any:
    return records(namespace, [str(row) for row in range(len(rows))], random_vectors(len(rows)), rows)


# --- How it looks


def test_each_field_is_a_property_of_its_own_type(store: WeaviateStore, weaviate: Weaviate) -> None:
    found = properties(weaviate)
    ours = {"source_id"} if store.describe().index.get("shards") is None else {"source_id", "namespace"}
    assert found.keys() == ours | {NAMES[key] for key in FIELDS if key != "more"}
    assert {key: found[NAMES[key]]["dataType"][0] for key in FIELDS if key != "more"} == {
        "brand": "text", "body": "text", "price": "number", "stock": "int", "sold": "boolean", "made": "date",
        "key": "uuid", "place": "geoCoordinates", "tags": "text[]", "notes": "text[]", "sizes": "number[]", "counts": "int[]",
        "flags": "boolean[]", "days": "date[]", "keys": "uuid[]", "id": "text", "with space": "text",
    }  # fmt: skip
    assert {name for name, item in found.items() if item["indexSearchable"]} == {"body", "notes"}
    assert {name for name, item in found.items() if item["indexRangeFilters"]} == {"price", "stock", "made"}
    assert {item.get("tokenization") for name, item in found.items() if name in ("body", "notes")} == {"word"}
    assert {item.get("tokenization") for name, item in found.items() if name in ("brand", "source_id")} == {"field"}
    assert json.loads(found["vf_f_id"]["description"]) == {"field": "id"}
    assert store.describe().fields == {key: kind for key, kind in FIELDS.items() if key != "more"}


def test_a_record_whose_values_fit_has_nothing_of_ours_but_its_id(store: WeaviateStore, weaviate: Weaviate) -> None:
    batch = rows_of([FITTING])
    put_all(store, batch)
    assert_holds(store, batch)
    terms = {OVERFLOW}  # of the date with an offset, which no index tells from the same moment
    held = stored(weaviate, store, "0")
    assert held.keys() - {"namespace"} == {"source_id", *(NAMES[key] for key in FITTING)} | terms
    assert held["place"] == {"latitude": 52.5, "longitude": 13.25} and held["stock"] == 7
    plain = rows_of([{key: value for key, value in FITTING.items() if key != "days"}], "m")
    put_all(store, plain)
    assert OVERFLOW not in stored(weaviate, store, "0", "m")


def test_no_overflow_is_made_where_none_is_needed(fresh: Opener, weaviate: Weaviate) -> None:
    store = fresh(fields=FIELDS)
    batch = rows_of([{key: value for key, value in FITTING.items() if key != "days"}, {"brand": "Acme", "new": 1}])
    put_all(store, batch)
    assert_holds(store, batch)
    assert OVERFLOW not in properties(weaviate) and "vf_namespace" not in properties(weaviate)


def test_ids_and_namespaces_are_in_properties_of_any_name(fresh: Opener, weaviate: Weaviate) -> None:
    index = {"id_property": "sku", "namespace_property": "shop"}
    store = fresh(namespaces="property", index=index)
    batch = rows_of([{"sku": 1, "shop": 2, "source_id": 3}], "berlin")
    put_all(store, batch)
    assert_holds(store, batch)
    held = stored(weaviate, store, "0", "berlin")
    assert held == {"sku": "0", "shop": "berlin", "vf_f_sku": 1, "vf_f_shop": 2, "source_id": 3}
    told = store.describe()
    assert {key: told.index[key] for key in index} == index and told.namespaces == {"berlin": 1}


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"layout": "flat"}, "layout 'flat' is unknown; known are native and envelope"),
        ({"id_property": "Sku"}, "'id_property' is 'Sku', which is no name of a property"),
        ({"id_property": "id"}, "'id_property' is 'id', which is no name"),
        ({"id_property": "nameSpace"}, "the properties of ids and of namespaces are both 'nameSpace'"),
        ({"layout": "envelope", "id_property": "sku"}, "'id_property' is of the layout native"),
    ],
)
def test_wrong_settings_of_the_layout_are_refused(opened: Opener, index: dict[str, Any], said: str) -> None:
    store = opened(index=index)
    with pytest.raises(Refused, match=said):
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE))


def test_the_envelope_refuses_types_that_it_has_not(opened: Opener) -> None:
    store = opened(fields={"made": FieldType.DATE}, index={"layout": "envelope"})
    with pytest.raises(Refused, match="'made' is declared as date; in the layout envelope it can be string, number"):
        store.create(CollectionDefinition(DIMENSION, Metric.COSINE))


def test_options_of_fields_are_made_and_told(fresh: Opener, weaviate: Weaviate) -> None:
    fields = {"a": FieldType.TEXT, "b": FieldType.STRING, "c": FieldType.NUMBER, "d": FieldType.TEXTS}
    options = {
        "a": FieldOptions(tokenization="trigram", searchable=False),
        "b": FieldOptions(searchable=True),
        "c": FieldOptions(filterable=False),
    }
    store = fresh(fields=fields, field_options=options)
    told, found = store.describe(), properties(weaviate)
    assert (told.fields, told.field_options) == (fields, options)
    assert found["a"]["tokenization"] == "trigram" and not found["a"]["indexSearchable"]
    assert found["b"]["indexSearchable"] and not found["c"]["indexFilterable"]
    put_all(store, rows_of([{"c": 1}]))
    with pytest.raises(FilterError, match="'c' is not filterable"):
        store.matching("n", parse_filter({"c": 1}), 10)


# --- What fits no property


ODD: Sequence[Mapping[str, Any]] = (
    {"brand": " a"}, {"brand": ""}, {"brand": 7}, {"brand": None}, {"brand": ["Acme"]}, {"brand": {"a": 1}},
    {"body": ""}, {"body": 1}, {"body": " outer "},
    {"price": (1 << 53) + 1}, {"price": 1 << 60}, {"price": 1e300}, {"price": "1.5"}, {"price": True}, {"price": -(1 << 63)},
    {"stock": 1 << 60}, {"stock": (1 << 63) - 1}, {"stock": "7"}, {"stock": [7]},
    {"sold": "true"}, {"sold": 1},
    {"made": "2024-01-02T03:04:05+01:00"}, {"made": "2024-01-02T03:04:05.000Z"}, {"made": "2024-01-02"}, {"made": 5},
    {"made": "0001-01-01T00:00:00Z"}, {"made": "9999-12-31T23:59:59.999999999Z"}, {"made": "1600-02-30T00:00:00Z"},
    {"key": UUID.upper()}, {"key": "x"}, {"place": {"latitude": 52.1, "longitude": 13.1}}, {"place": {"latitude": 1}},
    {"place": {"latitude": 91, "longitude": 0}}, {"place": "here"}, {"more": {"a": {"b": [1, None]}}}, {"more": {}}, {"more": 1},
    {"tags": []}, {"tags": [""]}, {"tags": [" a", "b"]}, {"tags": ["a", 1]}, {"tags": "a"},
    {"sizes": []}, {"sizes": [(1 << 53) + 1]}, {"sizes": ["1"]}, {"sizes": 1}, {"counts": [1.5]}, {"counts": [1 << 63]},
    {"flags": [1]}, {"days": ["2024-01-02"]}, {"keys": [UUID.upper()]}, {"undeclared": [1, "a"]}, {"undeclared": {"b": 1}},
    {"": "empty key"}, {"vf_overflow": "x", "vf_namespace": "y", "source_id": "z", "namespace": "n"}, {"Brand": 1, "bRand": 2},
)  # fmt: skip


def test_everything_comes_back_as_it_was(store: WeaviateStore) -> None:
    batch = rows_of(ODD)
    put_all(store, batch)
    assert_holds(store, batch)
    [scanned] = store.scan(KeyRange("n"))
    texts = dict(zip(scanned.column("id").to_pylist(), scanned.column("metadata").to_pylist(), strict=True))
    assert texts == {str(row): canonical_json(metadata) for row, metadata in enumerate(ODD)}


WANTED: Sequence[Any] = (
    "Acme", "", " a", "a", "b", 7, 1.5, True, False, (1 << 53) + 1, 1 << 60, "true", "7", UUID, UUID.upper(), "2024-01-02T03:04:05.67Z",
    "2024-01-02T02:04:05Z", "2024-01-02T03:04:05+01:00", "0001-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-02T00:00:00+01:00",
    "2024-01-01T23:00:00Z", 1, 2.5, -1, 1 << 62, 1e300, "z",
)  # fmt: skip
EQUATED = [key for key, kind in FIELDS.items() if kind.item not in (FieldType.TEXT, FieldType.GEO)]


def test_filters_find_what_properties_and_overflow_hold(store: WeaviateStore) -> None:
    rows = [*ODD, FITTING, {}]
    put_all(store, rows_of(rows))
    for key in [*EQUATED, "undeclared", "vf_overflow", "never seen"]:
        raw: list[dict[str, Any]] = [{key: {"$exists": True}}, {key: {"$exists": False}}]
        if key != "vf_overflow":  # of text, since nobody declared it
            raw += [{key: {operator: wanted}} for wanted in WANTED for operator in ("$eq", "$ne")]
            raw += [{key: {"$in": list(WANTED[:6])}}, {key: {"$nin": list(WANTED[6:])}}]
        for each in raw:
            where = parse_filter(each)
            expected = {str(row) for row, metadata in enumerate(rows) if matches(where, metadata)}
            assert store.matching("n", where, 1000) == expected, each


@pytest.mark.parametrize("key", ["price", "stock"])
def test_ranges_find_numbers_that_the_property_does_not_hold(store: WeaviateStore, key: str) -> None:
    numbers = [
        -(1 << 63),
        -5,
        0,
        7,
        1 << 52,
        1 << 60,
        (1 << 63) - 1,
        *([1.5, 1e300, (1 << 64) - 1] if key == "price" else []),
    ]
    rows: list[dict[str, Any]] = [
        *({key: number} for number in numbers),
        {key: "7"},
        {key: [7]},
        {key: True},
        {key: None},
        {},
    ]
    put_all(store, rows_of(rows))
    for bound in (-1e19, -5, -4.5, 0, 1.5, 7, 7.5, 1 << 59, 1 << 61, 1e20):
        for operator in ("$gt", "$gte", "$lt", "$lte"):
            where = parse_filter({key: {operator: bound}})
            expected = {str(row) for row, metadata in enumerate(rows) if matches(where, metadata)}
            assert store.matching("n", where, 1000) == expected, (operator, bound)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"body": "a"}, "on 'body': the property 'body' holds text for keyword search; only a string filters exactly"),
        ({"notes": {"$in": ["a"]}}, "on 'notes': the property 'notes' holds text"),
        ({"brand": {"$gt": 1}}, "on 'brand': it is a property of the type text, ranges need a number"),
        ({"made": {"$gt": 1}}, "on 'made': it is a property of the type date"),
        ({"sizes": {"$gt": 1}}, r"on 'sizes': it is a property of the type number\[\]"),
        ({"place": {"$exists": True}}, "on 'place': Weaviate does not tell which objects have"),
        ({"undeclared": {"$gt": 1}}, "on 'undeclared': it has no property"),
    ],
)
def test_what_no_index_tells_is_refused_by_name(store: WeaviateStore, raw: Mapping[str, Any], said: str) -> None:
    with pytest.raises(FilterError, match=said):
        store.matching("n", parse_filter(raw), 10)


def test_a_number_that_is_no_integer_is_refused_under_a_field_of_integers(store: WeaviateStore) -> None:
    rows = [{"stock": 1.5}, {"stock": 1 << 63}, {"stock": 3}]
    said = [item.reason for item in store.rejections(rows_of(rows))]
    assert said == [
        f"the field 'stock' is of integers, and {number} is none of 64 bits: declare it as number"
        for number in (1.5, 1 << 63)
    ]
    assert [item.reason for item in put(store, rows_of(rows)).rejected] == said
    assert ids_of(store.fetch("n", ["0", "1", "2"])) == ["2"]
    missing = WeaviateStore(store._link, "NotThere", StoreOptions(FIELDS), store._call)
    assert [item.reason for item in missing.rejections(rows_of(rows))] == said


# --- Keys that nobody declared


def test_keys_that_nobody_declared_become_properties(store: WeaviateStore, weaviate: Weaviate) -> None:
    rows = [
        {"title": "a rare zebra", "n": 1, "yes": True, "list": ["two words"], "numbers": [1, 2], "bools": [True]},
        {"title": 5, "n": 2, "object": {"a": 1}, "mixed": [1, "a"], "null": None, "empty": []},
        {"title": "more"},
    ]
    batch = rows_of(rows)
    put_all(store, batch)
    assert_holds(store, batch)
    found = properties(weaviate)
    kinds = {key: found[key]["dataType"][0] for key in ("title", "n", "yes", "list", "numbers", "bools")}
    assert kinds == {
        "title": "text", "n": "number", "yes": "boolean", "list": "text[]", "numbers": "number[]", "bools": "boolean[]",
    }  # fmt: skip
    assert not found.keys() & {"object", "mixed", "null", "empty"}
    with vendor(weaviate) as client:
        objects = client.collections.use("Native")
        objects = objects.with_tenant("n") if "namespace" not in found else objects
        assert [item.properties["source_id"] for item in objects.query.bm25("ZEBRA").objects] == ["0"]
        by_number = objects.query.fetch_objects(filters=Filter.by_property("n").greater_than(1))
        assert [item.properties["source_id"] for item in by_number.objects] == ["1"]
    assert store.matching("n", parse_filter({"n": {"$gte": 2}}), 10) == {"1"}


def test_keys_that_differ_by_case_get_names_that_do_not(store: WeaviateStore) -> None:
    batch = rows_of([{"userId": 1, "userid": 2, "USERID": 3, "UserId": "four"}, {"userId": 5}])
    put_all(store, batch)
    assert_holds(store, batch)
    assert store.matching("n", parse_filter({"userId": 5}), 10) == {"1"}
    assert store.matching("n", parse_filter({"USERID": 3}), 10) == {"0"}


def test_many_loaders_at_once_agree_on_the_properties(opened: Opener, store: WeaviateStore) -> None:
    others = [opened(fields=FIELDS) for _ in range(6)]
    batches = [
        records(
            f"n{number}",
            ["a"],
            random_vectors(1),
            [{f"k{key}": number if key % 2 else str(number) for key in range(8)}],
        )
        for number in range(len(others))
    ]
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(put_all, others, batches))
    for reader in (store, *others):
        for batch in batches:
            assert_holds(reader, batch)
        for number in range(len(others)):
            assert reader.matching(f"n{number}", parse_filter({"k1": number}), 10) == {"a"}


def test_too_many_keys_go_to_the_overflow(fresh: Opener, weaviate: Weaviate) -> None:
    store = fresh()
    batch = rows_of([{f"k{number:04}": number for number in range(MOST_PROPERTIES + 20)}])
    put_all(store, batch)
    assert_holds(store, batch)
    assert len(properties(weaviate)) == MOST_PROPERTIES + 2  # the id and the overflow
    last = f"k{MOST_PROPERTIES + 19:04}"
    assert store.matching("n", parse_filter({last: MOST_PROPERTIES + 19}), 10) == {"0"}
    assert store.matching("n", parse_filter({last: {"$exists": False}}), 10) == set()


def test_any_metadata_comes_back(fresh: Opener) -> None:
    store = fresh(fields=FIELDS)
    # Few keys, of which several are one property to a server that does not tell cases apart.
    keys = st.sampled_from([*FIELDS, "a", "A", "b.c", "", "vf_overflow", "source_id", "ä"])
    scalars = (
        TEXT | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
    )
    values = (
        scalars | st.none() | st.lists(scalars | st.none(), max_size=3) | st.sampled_from([*FITTING.values(), *WANTED])
    )
    nested = values | st.dictionaries(TEXT, values, max_size=2)

    @settings(QUICK, max_examples=150)
    @given(st.lists(st.dictionaries(keys, nested, max_size=4), min_size=1, max_size=4))
    def holds(rows: list[dict[str, Any]]) -> None:
        plain = [{key: value for key, value in row.items() if key != "stock"} for row in rows]
        batch = records(new_name(), [str(row) for row in range(len(plain))], random_vectors(len(plain)), plain)
        put_all(store, batch)
        assert_holds(store, batch)

    holds()


# --- Others


def test_a_property_that_others_added_is_part_of_the_record(
    opened: Opener, store: WeaviateStore, weaviate: Weaviate
) -> None:
    put_all(store, rows_of([{"brand": "Acme"}]))
    assert metadata_of(store, "0") == {"brand": "Acme"}
    for name, kind in (("theirs", "int"), ("file", "blob"), ("phone", "phoneNumber")):
        rest(weaviate, "POST", "/schema/Native/properties", {"name": name, "dataType": [kind]})
    tenant = "n" if store.describe().index.get("shards") is None else ""
    change(weaviate, "Native", str(record_uuid("n", "0")), tenant, theirs=5, file="aGVsbG8=")
    found = {"brand": "Acme", "theirs": 5, "file": "aGVsbG8="}
    [scanned] = store.scan(KeyRange("n"))
    assert scanned.column("metadata").to_pylist() == [canonical_json(found)]
    again = opened()
    assert metadata_of(again, "0") == found
    batch = records("n", ["0"], metadata=[found | {"theirs": 6}])
    put_all(again, batch)
    assert_holds(again, batch)


def test_what_the_server_withholds_is_read_too_once_others_added_it(store: WeaviateStore, weaviate: Weaviate) -> None:
    put_all(store, rows_of([{"brand": "Acme"}]))
    assert len(list(store.scan(KeyRange("n")))) == 1
    rest(weaviate, "POST", "/schema/Native/properties", {"name": "file", "dataType": ["blob"]})
    tenant = "" if "namespace" in properties(weaviate) else "n"
    change(weaviate, "Native", str(record_uuid("n", "0")), tenant, file="aGVsbG8=")
    [scanned] = store.scan(KeyRange("n"))
    assert scanned.column("metadata").to_pylist() == ['{"brand":"Acme","file":"aGVsbG8="}']


def test_references_that_others_added_are_told_and_refused(
    store: WeaviateStore, opened: Opener, weaviate: Weaviate
) -> None:
    put_all(store, rows_of([{}, {}]))
    rest(weaviate, "POST", "/schema/Native/properties", {"name": "like", "dataType": ["Native"]})
    tenant = "?tenant=n" if store.describe().index.get("shards") is None else ""
    beacon = {"beacon": f"weaviate://localhost/Native/{record_uuid('n', '1')}"}
    rest(weaviate, "POST", f"/objects/Native/{record_uuid('n', '0')}/references/like{tenant}", beacon)
    later = opened()
    with pytest.raises(
        RecordError, match=r"id 0: the property 'like' \(Native\) was added to the collection by others"
    ):
        list(later.scan(KeyRange("n")))
    [told] = later.inventory(["n"], most=10).unread
    assert told.startswith("1 objects have a value in the property 'like' (Native)")


def test_a_changed_property_or_id_shows(store: WeaviateStore, weaviate: Weaviate) -> None:
    put_all(store, rows_of([{"price": (1 << 53) + 1, "brand": "a"}, {"brand": "b"}]))
    tenant = "n" if store.describe().index.get("shards") is None else ""
    change(weaviate, "Native", str(record_uuid("n", "0")), tenant, price=3, brand="c")
    assert metadata_of(store, "0") == {"brand": "c", "price": {"price": 3, OVERFLOW: (1 << 53) + 1}}
    change(weaviate, "Native", str(record_uuid("n", "1")), tenant, source_id="z")
    assert ids_of(store.fetch("n", ["1", "z"])) == []
    assert {id_ for page in store.list_ids(KeyRange("n")) for id_ in page} == {"0", "z"}


def test_an_object_that_others_made_has_its_uuid_for_an_id(fresh: Opener, weaviate: Weaviate) -> None:
    store = fresh(fields=FIELDS)
    with vendor(weaviate) as client:
        client.collections.use("Native").with_tenant("n").data.insert(
            {"brand": "Acme", "price": 2.0}, uuid=UUID, vector={"default": [1.0] * DIMENSION}
        )
    [scanned] = store.scan(KeyRange("n"))
    assert scanned.column("id").to_pylist() == [UUID]
    assert scanned.column("metadata").to_pylist() == ['{"brand":"Acme","price":2}']


def test_the_vendors_client_finds_what_was_moved(store: WeaviateStore, weaviate: Weaviate) -> None:
    vectors = np.eye(DIMENSION, dtype=np.float32)[:3]
    rows = [
        FITTING,
        FITTING | {"brand": "Other", "stock": 8, "body": "A lazy dog"},
        {"brand": "Acme", "body": "fox and dog"},
    ]
    put_all(store, records("n", ["a", "b", "c"], vectors, rows))
    with vendor(weaviate) as client:
        objects = client.collections.use("Native")
        objects = objects if store.describe().index.get("shards") else objects.with_tenant("n")
        near = objects.query.near_vector(vectors[1].tolist(), limit=1, return_metadata=MetadataQuery(distance=True))
        assert [item.properties["source_id"] for item in near.objects] == ["b"]
        where = Filter.by_property("brand").equal("Acme") & Filter.by_property("stock").greater_than(6)
        assert [item.properties["source_id"] for item in objects.query.fetch_objects(filters=where).objects] == ["a"]
        words = objects.query.bm25("lazy", query_properties=["body"]).objects
        assert [item.properties["source_id"] for item in words] == ["b"]
        hybrid = objects.query.hybrid("lazy dog", vector=vectors[1].tolist(), limit=1).objects
        assert [item.properties["source_id"] for item in hybrid] == ["b"]
