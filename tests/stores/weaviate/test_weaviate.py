"""The Weaviate store keeps the contract on a real server, in each layout."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stores.weaviate.tools import add, change, connection_to, foreign, named_vector, open_store, rest, vendor
from vectorferry.core.errors import (
    AlreadyExists,
    ConnectionMissing,
    FilterError,
    NotFound,
    RecordError,
    Refused,
    Unavailable,
    Unsupported,
)
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import CollectionDefinition, FieldType, KeyOrder, KeyRange, Metric
from vectorferry.core.names import encode_tenant, record_uuid
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.local.servers.ports import free_port
from vectorferry.local.servers.supervisor import Supervisor
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.local.servers.weaviate import weaviate as local_weaviate
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import ONCE, Caller, RetryPolicy
from vectorferry.stores.row_limits import patch_of
from vectorferry.stores.weaviate import client
from vectorferry.stores.weaviate.capacity import vector_memory
from vectorferry.stores.weaviate.filters import index_terms
from vectorferry.stores.weaviate.store import WeaviateStore
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.assertions import assert_equal_rows, assert_holds, put, put_all
from vectorferry.testing.samples import DIMENSION, ids_of, random_vectors, records

FIELDS = {"title": FieldType.STRING, "year": FieldType.NUMBER, "tags": FieldType.STRINGS, "good": FieldType.BOOLEAN}
COSINE = CollectionDefinition(DIMENSION, Metric.COSINE)


class WeaviateContract(StoreContract):
    OPTIONS: Mapping[str, Any]

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, weaviate: Weaviate) -> Iterator[MakeStore]:
        with temporary_stores(lambda name, fields: open_store(weaviate, name, fields=fields, **cls.OPTIONS)) as make:
            yield make

    @pytest.fixture
    def wrong_key_store(self, weaviate: Weaviate) -> VectorStore:
        return WeaviateStore.open(connection_to(weaviate, password="wrong"), "Contract", StoreOptions())

    @pytest.fixture
    def misnamed_store(self, weaviate: Weaviate) -> VectorStore:
        return open_store(weaviate, "no-name")

    @pytest.fixture
    def unreachable_store(self, weaviate: Weaviate) -> VectorStore:
        nowhere = connection_to(weaviate, port=1, extra={"grpc_port": 1})
        return WeaviateStore.open(nowhere, "Contract", StoreOptions(), Caller(policy=RetryPolicy(attempts=2)))

    def test_search_takes_an_effort(self, store: VectorStore, crowd: Any) -> None:
        with pytest.raises(Unsupported, match="ef is a setting of the collection"):
            store.search("n", random_vectors(3), 5, effort=200)


class TestTenants(WeaviateContract):
    OPTIONS: Mapping[str, Any] = {}


class TestProperty(WeaviateContract):
    OPTIONS: Mapping[str, Any] = {"namespaces": "property", "index": {"shards": 2}}


class TestEnvelope(WeaviateContract):
    OPTIONS: Mapping[str, Any] = {"index": {"layout": "envelope"}}


ENVELOPE = {"index": {"layout": "envelope"}}
enveloped = pytest.mark.parametrize("store", [ENVELOPE], indirect=True)


@pytest.fixture
def store(weaviate: Weaviate, request: pytest.FixtureRequest) -> Iterator[WeaviateStore]:
    """A fresh collection with declared fields; parametrize indirectly with other options."""
    made = open_store(weaviate, "Fresh", **({"fields": FIELDS} | getattr(request, "param", {})))
    made.drop()
    made.create(COSINE)
    yield made
    made.drop()
    made.close()


def metadata_of(store: VectorStore, namespace: str, id_: str) -> dict[str, Any]:
    return parse_json(store.fetch(namespace, [id_]).column("metadata")[0].as_py())


# --- What we create


@enveloped
def test_the_schema_of_the_envelope_is_as_documented(store: WeaviateStore, weaviate: Weaviate) -> None:
    schema = rest(weaviate, "GET", "/schema/Fresh")
    properties = {item["name"]: item for item in schema["properties"]}
    assert set(properties) == {"vf_id", "vf_namespace", "vf_metadata", "vf_keys", *FIELDS}
    assert not properties["vf_metadata"]["indexFilterable"] and not properties["vf_metadata"]["indexSearchable"]
    assert {properties[name]["tokenization"] for name in ("vf_id", "vf_namespace", "vf_keys", "title", "tags")} == {
        "field"
    }
    assert {name: properties[name]["dataType"] for name in FIELDS} == {
        "title": ["text"], "year": ["number"], "tags": ["text[]"], "good": ["boolean"],
    }  # fmt: skip
    assert schema["multiTenancyConfig"]["enabled"] and schema["multiTenancyConfig"]["autoTenantCreation"]
    config = schema["vectorConfig"]["default"]
    assert config["vectorIndexType"] == "hnsw" and config["vectorizer"] == {"none": {}}
    assert not any(config["vectorIndexConfig"][name]["enabled"] for name in ("pq", "bq", "sq", "rq"))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"type": "hsnw"}, "'hsnw' is unknown; known are hnsw, flat, hfresh"),
        ({"efConstuction": 64}, "did you mean 'efConstruction'"),
        ({"quantizer": "rq9"}, "quantizer 'rq9' is unknown"),
        ({"type": "hfresh", "quantizer": "sq"}, "hfresh chooses its own quantizer"),
        ({"shards": 2}, "each tenant is a shard"),
    ],
)
def test_wrong_index_settings_are_refused(weaviate: Weaviate, index: dict[str, Any], message: str) -> None:
    store = open_store(weaviate, "Wrong", index=index)
    with pytest.raises(Refused, match=message):
        store.create(COSINE)
    store.close()


@pytest.mark.parametrize(
    ("index", "seen"),
    [
        ({"ef": 77, "efConstruction": 99, "maxConnections": 8}, {"type": "hnsw", "ef": 77, "maxConnections": 8}),
        ({"type": "flat"}, {"type": "flat"}),
        ({"type": "hfresh"}, {"type": "hfresh"}),
    ],
)
def test_index_settings_are_taken(weaviate: Weaviate, index: dict[str, Any], seen: dict[str, Any]) -> None:
    store = open_store(weaviate, "Tuned", index=index)
    store.create(COSINE)
    found = store.describe().index
    assert {key: found[key] for key in seen} == seen
    batch = records("n", ["a", "b"])
    put_all(store, batch)
    assert_holds(store, batch)
    store.drop()
    store.close()


@pytest.mark.parametrize("quantizer", ["none", "rq", "rq1", "bq", "sq", "pq"])
def test_vectors_are_kept_whatever_the_quantizer(weaviate: Weaviate, quantizer: str) -> None:
    store = open_store(weaviate, "Quantized", index={"quantizer": quantizer})
    store.create(COSINE)
    batch = records("n", [f"i{row}" for row in range(50)], random_vectors(50) * 7)
    put_all(store, batch)
    assert_holds(store, batch)
    assert store.describe().index["quantizer"] == quantizer
    store.drop()
    store.close()


@pytest.mark.parametrize("name", ["docs", "Do-cs", "1Docs", "Docs!", "D" * 256, "Döcs"])
def test_names_that_the_server_forbids_are_refused(weaviate: Weaviate, name: str) -> None:
    store = open_store(weaviate, name)
    with pytest.raises(Refused, match="is no name of a collection"):
        store.create(COSINE)
    store.close()


def test_a_connection_needs_a_host() -> None:
    with pytest.raises(ConnectionMissing, match="names no host"):
        WeaviateStore.open(Connection("w", "weaviate"), "Docs", StoreOptions())


def test_a_field_that_the_collection_lacks_is_refused_on_write(store: WeaviateStore, weaviate: Weaviate) -> None:
    other = open_store(weaviate, "Fresh", fields={"year": FieldType.STRING, "colour": FieldType.STRING})
    with pytest.raises(Refused, match="'year' as string, 'colour' as string"):
        other.upsert(records("n", ["a"]))
    other.close()


# --- Ids, namespaces, counts


def test_uuids_do_not_collide(store: WeaviateStore) -> None:
    first, second = records("ab", ["c"], random_vectors(1, seed=1)), records("a", ["bc"], random_vectors(1, seed=2))
    for batch in (first, second):
        put_all(store, batch)
    assert_holds(store, first)
    assert_holds(store, second)
    assert store.describe().namespaces == {"ab": 1, "a": 1}


@pytest.mark.parametrize(
    "store", [{}, {"namespaces": "property"}, ENVELOPE, ENVELOPE | {"namespaces": "property"}], indirect=True
)
def test_names_that_tenants_forbid_come_back(store: WeaviateStore) -> None:
    names = [
        "",
        " ",
        " x",
        "x ",
        "x",
        "vf_",
        "vfh_",
        "ä" * 100,
        "a" * 64,
        "a" * 65,
        "with.dots/and?more",
        "__default__",
    ]
    for number, name in enumerate(names):
        put_all(store, records(name, [f"i{row}" for row in range(number + 1)]))
    assert store.describe().namespaces == {name: number + 1 for number, name in enumerate(names)}
    for number, name in enumerate(names):
        assert store.count(name) == number + 1
        assert len([id_ for page in store.list_ids(KeyRange(name)) for id_ in page]) == number + 1


def test_counts_are_exact_where_shard_counts_lag(store: WeaviateStore) -> None:
    for start in range(0, 3000, 1000):
        put_all(store, records("n", [f"i{start + row}" for row in range(1000)], random_vectors(1000)))
        assert store.count("n") == store.count() == start + 1000


# --- Metadata


def test_texts_that_look_like_other_types_stay_texts(store: WeaviateStore) -> None:
    odd = ["2024-01-01T00:00:00Z", "6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10", "1", "true", "null", "[1]", "52.1,4.3"]
    rows = [{"title": text, "tags": [text, text], "free": text} for text in odd]
    batch = records("n", odd, random_vectors(len(odd)), rows)
    put_all(store, batch)
    assert_holds(store, batch)
    for text in odd:
        assert store.matching("n", parse_filter({"title": text}), 10) == {text}
        assert store.matching("n", parse_filter({"tags": text}), 10) == {text}


def test_numbers_keep_their_digits(store: WeaviateStore) -> None:
    values = [1, 1.5, -0.1, 0, 2**53 - 1, 2**53 + 1, 2**60 + 1, 1e300, 5e-324]
    batch = records("n", [str(value) for value in values], random_vectors(9), [{"year": value} for value in values])
    put_all(store, batch)
    assert_holds(store, batch)
    for value in values:
        assert store.matching("n", parse_filter({"year": value}), 10) == {str(value)}


@enveloped
def test_a_changed_typed_property_shows(store: WeaviateStore, weaviate: Weaviate) -> None:
    metadata = {"title": "a", "year": 2, "tags": ["x"], "good": True, "free": 1}
    put_all(store, records("n", ["a"], metadata=[metadata]))
    uuid = str(record_uuid("n", "a"))
    change(weaviate, "Fresh", uuid, "n", year=3)
    assert metadata_of(store, "n", "a") == metadata | {"year": {"year": 3, "vf_metadata": 2}}
    change(weaviate, "Fresh", uuid, "n", year=2, tags=["x", "y"], title=None)
    tags = {"tags": ["x", "y"], "vf_metadata": ["x"]}
    assert metadata_of(store, "n", "a") == {"year": 2, "tags": tags, "good": True, "free": 1}


@enveloped
def test_a_changed_id_or_namespace_shows(store: WeaviateStore, weaviate: Weaviate) -> None:
    put_all(store, records("n", ["a", "b", "c"]))
    change(weaviate, "Fresh", str(record_uuid("n", "a")), "n", vf_id="z")
    change(weaviate, "Fresh", str(record_uuid("n", "b")), "n", vf_namespace="m")
    assert ids_of(store.fetch("n", ["a", "b", "c", "z"])) == ["c"]
    [found] = store.scan(KeyRange("n"))
    keys = zip(found.column("namespace").to_pylist(), found.column("id").to_pylist(), strict=True)
    assert set(keys) == {("n", "z"), ("m", "b"), ("n", "c")}


def test_index_terms_tell_what_typed_properties_cannot() -> None:
    metadata = {"title": " a", "year": "1999", "tags": ["x", "y"], "good": True, "free": {"a": 1}, "none": None}
    assert index_terms(metadata, FIELDS) == [
        '"title"', '"title":', '"title":" a"', '"year"', '"year":', '"year":"1999"', '"tags"', '"good"', '"free"',
    ]  # fmt: skip


def test_outer_spaces_count_in_filters(store: WeaviateStore) -> None:
    titles = ["a", " a", "a ", "a\n", "", " ", "\u00a0a", "A"]
    rows = [{"title": title, "tags": [title, "same"]} for title in titles]
    put_all(store, records("n", [str(row) for row in range(len(rows))], random_vectors(len(rows)), rows))
    for row, title in enumerate(titles):
        for key in ("title", "tags"):
            assert store.matching("n", parse_filter({key: title}), 10) == {str(row)}
        assert len(store.matching("n", parse_filter({"title": {"$ne": title}}), 10)) == len(titles) - 1


@enveloped
@pytest.mark.parametrize("raw", [{"title": {"$gt": 1}}, {"tags": {"$lte": 1}}, {"free": {"$exists": True}}], ids=str)
def test_filters_that_would_be_inexact_are_refused(store: WeaviateStore, raw: dict[str, Any]) -> None:
    [(key, condition)] = raw.items()
    with pytest.raises(FilterError) as caught:
        store.matching("n", parse_filter(raw), 10)
    assert repr(key) in str(caught.value) and next(iter(condition)) in str(caught.value)


def test_more_than_one_answer_of_matches(store: WeaviateStore) -> None:
    ids = [f"i{row}" for row in range(10_400)]
    put_all(store, records("n", ids, random_vectors(len(ids)), [{"year": 1}] * len(ids)))
    assert store.matching("n", parse_filter({"year": 1}), 20_000) == set(ids)
    assert len(store.matching("n", parse_filter({"year": 1}), 10_100)) == 10_100


@pytest.mark.parametrize("store", [{}, {"namespaces": "property"}], indirect=True)
def test_answers_larger_than_a_message_are_asked_for_in_parts(
    store: WeaviateStore, weaviate: Weaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = records("n", [f"i{row}" for row in range(300)], random_vectors(300), [{"text": "x" * 2000}] * 300)
    put_all(store, batch)
    monkeypatch.setattr(client, "MESSAGE_BYTES", 100_000)
    small = open_store(weaviate, "Fresh")
    assert sorted(ids_of(list(small.scan(KeyRange("n"))))) == sorted(ids_of(batch))
    assert_equal_rows(small.fetch("n", ids_of(batch)), batch)
    small.close()


# --- Aliases


def test_a_collection_is_read_through_its_alias_but_not_dropped(store: WeaviateStore, weaviate: Weaviate) -> None:
    put_all(store, records("n", ["a"]))
    store.point_alias("FreshAlias")
    assert store.alias_target("FreshAlias") == "Fresh"
    alias = open_store(weaviate, "FreshAlias")
    assert ids_of(alias.fetch("n", ["a"])) == ["a"]
    with pytest.raises(Refused, match="another name of Fresh"):
        alias.drop()
    with pytest.raises(AlreadyExists):
        alias.create(COSINE)
    alias.close()
    rest(weaviate, "DELETE", "/aliases/FreshAlias")


def test_an_alias_that_can_never_be_is_refused_and_nothing_is_set(store: WeaviateStore, weaviate: Weaviate) -> None:
    with foreign(weaviate, "Taken", {}):
        for alias in ("Taken", "taken"):
            with pytest.raises(Refused, match="'Taken' is the name of a collection"):
                store.refuse_alias(alias)
        for alias in ("Fresh", "fresh"):
            with pytest.raises(Refused, match="name of the collection itself"):
                store.refuse_alias(alias)
        for alias in ("has space", "a/b", "../schema", "Ü", "", "A" * 256):
            with pytest.raises(Refused, match="is no name of an alias"):
                store.refuse_alias(alias)
            assert not alias or store.alias_target(alias) is None
        with closing(open_store(weaviate, "NotThereYet")) as other:
            other.refuse_alias("FreshAlias")
        with vendor(weaviate) as client:
            client.alias.create(alias_name="FreshAlias", target_collection="Taken")
            store.refuse_alias("FreshAlias")
            store.point_alias("FreshAlias")
            assert client.alias.get(alias_name="FreshAlias").collection == "Fresh"  # type: ignore[union-attr]
            client.alias.delete(alias_name="FreshAlias")


def test_an_alias_that_vanishes_before_it_is_pointed_is_an_error(
    store: WeaviateStore, weaviate: Weaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "alias_target", lambda alias: "Another")
    with pytest.raises(NotFound, match="'FreshAlias' was there a moment ago and is gone"):
        store.point_alias("FreshAlias")
    assert "FreshAlias" not in {item["alias"] for item in rest(weaviate, "GET", "/aliases")["aliases"]}


# --- Collections that were made elsewhere

UUIDS = [str(record_uuid("foreign", str(number))) for number in range(8)]


def vector(number: int) -> list[float]:
    return [float(value) for value in np.eye(DIMENSION, dtype=np.float32)[number]]


def test_a_foreign_collection_is_a_source(weaviate: Weaviate) -> None:
    kinds = {
        "text": "text", "n": "number", "i": "int", "b": "boolean", "date": "date", "uuid": "uuid", "texts": "text[]",
        "numbers": "number[]", "ints": "int[]", "bools": "boolean[]", "geo": "geoCoordinates",
    }  # fmt: skip
    values = {
        "text": "a", "n": 1.5, "i": 7, "b": True, "date": "2024-01-01T00:00:00Z", "uuid": UUIDS[0], "texts": ["x", ""],
        "numbers": [1, 2.5], "ints": [1, -2], "bools": [True, False], "geo": {"latitude": 1.5, "longitude": 2.5},
    }  # fmt: skip
    with foreign(weaviate, "Foreign", kinds) as name:
        rows = [
            {"id": uuid, "properties": values if row else {}, "vectors": {"own": vector(row)}}
            for row, uuid in enumerate(UUIDS)
        ]
        add(weaviate, name, rows)
        store = open_store(weaviate, name)
        info = store.describe()
        assert (info.dimension, dict(info.namespaces)) == (DIMENSION, {"": 8})
        assert store.capabilities.key_order is KeyOrder.ID
        found = list(store.scan(KeyRange("")))
        assert ids_of(found) == sorted(UUIDS)
        assert metadata_of(store, "", UUIDS[1]) == values
        assert metadata_of(store, "", UUIDS[0]) == {}
        assert found[0].column("vector")[0].as_py() == vector(UUIDS.index(min(UUIDS)))
        assert [span.rows for span in store.split("", 2)] == [2, 2, 2, 2]
        halves = [ids_of(list(store.scan(span))) for span in store.split("", 4)]
        assert halves == [sorted(UUIDS)[:4], sorted(UUIDS)[4:]]
        assert store.search("", np.array([vector(3)], np.float32), 1).ids == ((UUIDS[3],),)
        for raw in (
            {"i": 7},
            {"i": {"$gt": 6.5}},
            {"n": {"$lt": 2}},
            {"text": "a"},
            {"texts": "x"},
            {"b": {"$ne": False}},
        ):
            expected = set(UUIDS) if "$ne" in str(raw) else set(UUIDS[1:])
            assert store.matching("", parse_filter(raw), 10) == expected
        store.close()


def test_a_foreign_collection_is_a_target(weaviate: Weaviate) -> None:
    kinds = {"text": "text", "i": "int", "texts": "text[]", "numbers": "number[]"}
    tenants = {"multiTenancyConfig": {"enabled": True}}
    with foreign(weaviate, "ForeignTarget", kinds, **tenants) as name:
        store = open_store(weaviate, name)
        metadata: list[dict[str, Any]] = [
            {"text": "a", "i": 1, "texts": ["x"], "numbers": [1, 2.5]},
            {"texts": []},
            {"i": 1.5},
            {"unknown": 1},
            {},
        ]
        batch = records("tenant", [*UUIDS[:4], "no uuid"], random_vectors(5), metadata)
        refused = {item.row: item.reason for item in put(store, batch).rejected}
        assert sorted(refused) == [2, 3, 4]
        assert "'i'" in refused[2] and "no property 'unknown'" in refused[3] and "not a UUID" in refused[4]
        assert_equal_rows(store.fetch("tenant", UUIDS), batch.slice(0, 2))
        assert store.describe().namespaces == {"tenant": 2}
        assert put(store, records("", UUIDS[:1])).rejected[0].reason.endswith("no place for the namespace ''")
        store.delete("tenant", [UUIDS[0], "no uuid"])
        assert store.count("tenant") == 1
        store.close()


FOREIGN_KINDS = {
    "text": "text", "n": "number", "i": "int", "b": "boolean", "date": "date", "uuid": "uuid", "texts": "text[]",
    "numbers": "number[]", "ints": "int[]", "bools": "boolean[]", "dates": "date[]", "uuids": "uuid[]", "geo": "geoCoordinates",
}  # fmt: skip
DATE = "2024-01-31T23:59:59.125Z"
TAKEN: list[dict[str, Any]] = [
    {}, {"text": "é\0$"}, {"n": 1}, {"n": -1.5e300}, {"i": -(2**52)}, {"b": False}, {"date": DATE}, {"uuid": UUIDS[0]},
    {"texts": ["", "a"]}, {"texts": []}, {"numbers": [1, -2.5]}, {"ints": [1, -2]}, {"bools": [True, False]}, {"dates": [DATE]},
    {"uuids": UUIDS[:2]}, {"geo": {"latitude": 1, "longitude": 2.5}},
]  # fmt: skip
REJECTED: list[dict[str, Any]] = [
    {"unknown": "a"}, {"$text": "a"}, {"text": 1}, {"text": True}, {"text": None}, {"text": ["a"]}, {"text": {"a": 1}}, {"n": "1"},
    {"n": True}, {"i": 1.5}, {"i": "1"}, {"i": (1 << 60) + 1}, {"b": 1}, {"b": "true"}, {"date": "yesterday"}, {"date": 5},
    {"date": "2024-02-30T00:00:00Z"}, {"uuid": "a"}, {"uuid": UUIDS[0].upper()}, {"texts": "a"}, {"texts": ["a", 1]}, {"numbers": ["1"]},
    {"numbers": [True]}, {"ints": [1.5]}, {"bools": [1]}, {"dates": ["a"]}, {"uuids": ["a"]}, {"geo": {"latitude": 91, "longitude": 2}},
]  # fmt: skip


def test_what_a_foreign_collection_rejects_is_known_before(weaviate: Weaviate) -> None:
    with foreign(weaviate, "ForeignRejections", FOREIGN_KINDS) as name:
        store = open_store(weaviate, name)
        metadata = [*TAKEN, *REJECTED]
        uuids = [str(record_uuid("", str(number))) for number in range(len(metadata))]
        odd = [*uuids, "a", uuids[0].upper(), uuids[0].replace("-", "")]
        batch = records("", odd, np.ones((len(odd), DIMENSION), np.float32), [*metadata, {}, {}, {}])
        said = store.rejections(batch)
        known = store.usage.requests
        assert [item.id for item in said] == odd[len(TAKEN) :]
        assert store.rejections(batch) == said and store.usage.requests == known
        assert list(put(store, batch).rejected) == list(said)
        assert_equal_rows(store.fetch("", odd), batch.slice(0, len(TAKEN)))
        assert len(store.rejections(records("tenant", uuids[:1]))) == 1
        for row, each in enumerate(metadata):
            patch = patch_of("", uuids[0], None, canonical_json(each))
            rejected = store.rejections(patch, partial=True)
            assert bool(rejected) is (row >= len(TAKEN))
            if rejected:
                with pytest.raises(Refused):
                    store.update("", uuids[0], metadata=canonical_json(each))
            else:
                store.update("", uuids[0], metadata=canonical_json(each))
        store.close()


def test_the_server_merges_what_is_updated_in_a_foreign_collection(weaviate: Weaviate) -> None:
    kinds = {"text": "text", "i": "int", "texts": "text[]", **{f"n{number}": "number" for number in range(4)}}
    with foreign(weaviate, "ForeignUpdates", kinds) as name:
        store, id_ = open_store(weaviate, name), UUIDS[0]
        put_all(store, records("", [id_], metadata=[{"text": "a", "i": 1, "texts": ["x"]}]))

        def bump(number: int) -> None:
            for value in range(5):
                store.update("", id_, metadata=f'{{"n{number}":{value}}}')

        with ThreadPoolExecutor(5) as pool:
            done = [pool.submit(bump, number) for number in range(4)]
            done.append(pool.submit(store.update, "", id_, vector=random_vectors(1, seed=3)[0]))
            assert [each.result() for each in done] == [None] * 5
        store.update("", id_, metadata='{"i":2,"texts":[]}')
        merged = {"text": "a", "i": 2, "texts": [], **{f"n{number}": 4 for number in range(4)}}
        assert_holds(store, records("", [id_], random_vectors(1, seed=3), [merged]))
        for metadata in ('{"unknown":1}', '{"i":1.5}', '{"texts":"x"}', '{"text":null}'):
            with pytest.raises(Refused):
                store.update("", id_, metadata=metadata)
        store.update("", UUIDS[1], metadata='{"i":2}')
        assert store.count("") == 1
        store.close()


def test_a_foreign_collection_may_have_one_vector_without_a_name(weaviate: Weaviate) -> None:
    settings = {"vectorizer": "none", "vectorIndexType": "flat", "vectorIndexConfig": {"distance": "l2-squared"}}
    with foreign(weaviate, "Unnamed", {"text": "text"}, **settings) as name:
        store = open_store(weaviate, name)
        batch = records("", UUIDS, random_vectors(8), [{"text": str(row)} for row in range(8)])
        put_all(store, batch)
        assert_equal_rows(store.fetch("", UUIDS), batch)
        assert store.describe().metric is Metric.EUCLIDEAN
        query = random_vectors(8)[2:3]
        assert store.search("", query, 1).ids == ((UUIDS[2],),)
        store.close()


def test_foreign_vectors_of_a_wrong_dimension_are_refused_by_row(weaviate: Weaviate) -> None:
    with foreign(weaviate, "Dimensions", {}) as name:
        store = open_store(weaviate, name)
        put_all(store, records("", UUIDS[:1]))
        result = put(store, records("", UUIDS[1:3], random_vectors(2, DIMENSION + 1)))
        assert [item.id for item in result.rejected] == UUIDS[1:3]
        assert all("wrong size" in item.reason for item in result.rejected)
        store.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vectorConfig": {"a": named_vector(), "b": named_vector("hamming")}}, "hamming"),
        ({"vectorConfig": {"a": named_vector("manhattan")}}, "manhattan"),
    ],
)
def test_what_would_be_lost_is_refused(weaviate: Weaviate, settings: dict[str, Any], message: str) -> None:
    with foreign(weaviate, "Lossy", {}, **settings) as name:
        store = open_store(weaviate, name)
        with pytest.raises(Unsupported, match=message):
            store.describe()
        store.close()


def test_ranges_of_many_shards_are_in_order(weaviate: Weaviate) -> None:
    with foreign(weaviate, "Sharded", {}, shardingConfig={"desiredCount": 3}) as name:
        store = open_store(weaviate, name)
        ids = [str(record_uuid("", str(number))) for number in range(2500)]
        put_all(store, records("", ids, random_vectors(len(ids))))
        assert ids_of(list(store.scan(KeyRange("")))) == sorted(ids)
        span = KeyRange("", sorted(ids)[10], sorted(ids)[2000])
        assert [id_ for page in store.list_ids(span) for id_ in page] == sorted(ids)[10:2000]
        store.close()


# --- How full it is


@pytest.mark.parametrize("store", [{}, {"namespaces": "property"}], indirect=True)
def test_a_shard_that_takes_no_writes_is_told(store: WeaviateStore, weaviate: Weaviate) -> None:
    put_all(store, records("n", ["a"]))
    assert not store.capacity().read_only
    [shard] = rest(weaviate, "GET", "/schema/Fresh/shards")
    rest(weaviate, "PUT", f"/schema/Fresh/shards/{shard['name']}", {"status": "READONLY"})
    found = store.capacity()
    assert found.read_only and found.rows == 1 and found.note == "1 of 1 shards read-only"
    rest(weaviate, "PUT", f"/schema/Fresh/shards/{shard['name']}", {"status": "READY"})
    assert not store.capacity().read_only


def test_memory_comes_from_the_servers_own_metrics(weaviate: Weaviate, tmp_path: Path) -> None:
    if not weaviate.command:
        pytest.skip("a server that was given: its metrics may be off")
    port = free_port(0)
    other = local_weaviate(tmp_path / "metered")
    metered = {"PROMETHEUS_MONITORING_ENABLED": "true", "PROMETHEUS_MONITORING_PORT": str(port), "GOMEMLIMIT": "3GiB"}
    [service] = other.services()
    url = f"http://127.0.0.1:{port}/metrics"
    with Supervisor(tmp_path) as supervisor:
        supervisor.start([replace(service, env={**service.env, **metered})])
        connection = connection_to(other)
        told = WeaviateStore.open(
            replace(connection, extra={**connection.extra, "metrics_url": url}), "Any", StoreOptions()
        )
        found = told.capacity()
        told.close()
    assert found.memory is not None and 10 << 20 < found.memory < 1 << 30
    assert found.memory_limit == 3 << 30


def test_metrics_that_cannot_be_had(weaviate: Weaviate) -> None:
    for url, kind, message in (
        (f"{weaviate.url}/v1/.well-known/ready", Refused, "not the metrics of a Weaviate server"),
        (f"{weaviate.url}/nothing", Unavailable, "metrics cannot be read at .*: 404"),
        ("http://127.0.0.1:1/metrics", Unavailable, "metrics cannot be read at .*refused"),
    ):
        connection = connection_to(weaviate)
        named = replace(connection, extra={**connection.extra, "metrics_url": url})
        store = WeaviateStore.open(named, "Any", StoreOptions(), Caller(policy=ONCE))
        with pytest.raises(kind, match=message):
            store.capacity()
        store.close()


@pytest.mark.parametrize(
    ("index", "bytes_a_vector"),
    [
        ({}, 2 * 4 * 384),
        ({"type": "flat"}, 0),
        ({"quantizer": "rq"}, 2 * (384 + 320)),
        ({"quantizer": "bq", "maxConnections": 64}, 2 * (48 + 640)),
        ({"quantizer": "pq"}, None),
        ({"type": "hfresh"}, None),
    ],
)
def test_memory_by_the_published_rule(index: Mapping[str, Any], bytes_a_vector: float | None) -> None:
    assert vector_memory(384, index) == bytes_a_vector


@enveloped
def test_metadata_that_others_wrote_is_carried_exactly_or_refused_by_name(
    weaviate: Weaviate, store: WeaviateStore
) -> None:
    put_all(store, records("n", ["a"]))
    key = record_uuid("n", "a")
    change(weaviate, "Fresh", str(key), tenant=encode_tenant("n"), vf_metadata='{"z": 1.0, "other": [ ]}')
    assert store.fetch("n", ["a"]).column("metadata").to_pylist() == ['{"other":[],"z":1}']
    for text in ('{"other":1e400}', '{"other":1,"other":2}', "no JSON"):
        change(weaviate, "Fresh", str(key), tenant=encode_tenant("n"), vf_metadata=text)
        with pytest.raises(RecordError, match="Fresh, namespace n, id a: the stored metadata cannot be carried"):
            list(store.scan(KeyRange("n")))
