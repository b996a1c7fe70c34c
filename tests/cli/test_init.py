"""`vectorferry init`: what it writes passes `validate` and `plan` as it is, or says what a person has to decide."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commanding import Ran, vectorferry
from pipeline.worlds import World, weaviate_connection
from stores.weaviate.tools import rest
from vectorferry.core.model import CollectionDefinition, CollectionInfo, FieldType, Metric
from vectorferry.core.records import canonical_json, make_batch
from vectorferry.engine.plan.field_types import KeySample, KeySeen, held_by, is_key
from vectorferry.engine.plan.proposal import LEAVE_SPARSE, Obstacle, Place, Proposal
from vectorferry.engine.plan.spec_text import spec_text
from vectorferry.local.servers.qdrant import Qdrant
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.spec.connections import Connection
from vectorferry.spec.loader import load_spec, parse_spec
from vectorferry.stores.base import Capabilities


def run(world: World, *arguments: str) -> Ran:
    environment = world.environment()
    return vectorferry(
        *arguments, environment={**environment, "AIRFLOW_CONN_VECTORFERRY_JOURNAL": environment["AIRFLOW_CONN_JOURNAL"]}
    )


def proposed(world: World, *arguments: str) -> tuple[Path, Ran]:
    file = world.folder / "proposed" / "spec.yaml"
    return file, run(world, "init", *arguments, "--output", str(file))


@pytest.fixture
def on_weaviate(world: World, weaviate: Weaviate) -> World:
    """The same with a Weaviate as target."""
    world.connections["target"] = weaviate_connection(weaviate)
    for each in rest(weaviate, "GET", "/schema")["classes"]:
        rest(weaviate, "DELETE", f"/schema/{each['class']}")
    return world


def test_what_it_writes_passes_validate_and_plan_as_it_is(on_weaviate: World) -> None:
    file, ran = proposed(on_weaviate, "--source", "source/docs", "--target", "target")
    assert ran.code == 0, ran.text
    assert f"Next: `vectorferry plan {file}`" in ran.text
    spec, text = load_spec(file), file.read_text(encoding="utf-8")
    assert (spec.target.collection, spec.writers) == ("Docs", "none")
    assert (spec.fields["kind"], spec.fields["public"]) == (FieldType.STRING, FieldType.BOOLEAN)
    assert "# alias: DocsLive" in text and "# 26 records, vectors of 384 dimensions" in text
    assert "#   os/path  " in text and "TO DECIDE" not in text
    assert run(on_weaviate, "validate", str(file)).code == 0
    planned = run(on_weaviate, "plan", str(file))
    assert planned.code == 0, planned.text


@pytest.mark.parametrize("kind", ["lancedb", "qdrant"])
def test_the_spec_to_and_from_a_database_of_each_type_can_be_planned(
    world: World, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "qdrant":
        server: Qdrant = request.getfixturevalue("qdrant")
        extra = {"grpc_port": server.grpc_port, "https": False}
        there = Connection("target", kind, server.host, server.port, password=server.api_key, extra=extra)
    else:
        there = Connection("target", kind, extra={"uri": str(tmp_path / "tables")})
    world.connections["target"] = there
    file, ran = proposed(world, "--source", "source/docs", "--target", "target")
    assert ran.code == 0, ran.text
    planned = run(world, "plan", str(file))
    assert planned.code == 0, planned.text
    world.connections |= {"source": there, "target": world.connections["source"]}
    with world.source() as store:
        store.create(CollectionDefinition(3, Metric.COSINE))
        store.upsert(make_batch("", ["a", "b"], np.eye(2, 3, dtype=np.float32), ['{"kind":"x"}', '{"lines":2}']))
    listed = run(world, "init", "--source", "source")
    assert listed.code == 0 and "docs" in listed.text
    file.unlink()
    _, ran = proposed(world, "--source", "source/docs", "--target", "target")
    assert ran.code == 0, ran.text
    planned = run(world, "plan", str(file))
    assert planned.code == 0, planned.text
    with world.source() as store:
        store.drop()


def test_a_copy_beside_the_source_has_a_free_name_and_the_index_of_the_source(on_weaviate: World) -> None:
    _, made = proposed(on_weaviate, "--source", "source/docs", "--target", "source")
    assert made.code == 0, made.text
    copied, again = proposed(on_weaviate, "--source", "source/docs", "--target", "source")
    assert again.code == 2, "it is there"
    assert "--force" in again.err
    ran = run(on_weaviate, "init", "--source", "source/docs", "--target", "source", "--output", str(copied), "--force")
    assert ran.code == 0
    spec = load_spec(copied)
    assert spec.target.collection == "Docs"  # PostgreSQL tells upper from lower case
    assert spec.target.index["type"] == "hnsw"
    assert "share what it may send" in copied.read_text(encoding="utf-8")
    planned = run(on_weaviate, "plan", str(copied))
    assert planned.code == 0, planned.text


def test_without_a_file_it_prints_the_spec_and_nothing_else(on_weaviate: World) -> None:
    ran = run(on_weaviate, "init", "--source", "source/docs", "--target", "target/Elsewhere")
    assert ran.code == 0
    assert parse_spec(ran.out, "printed").target.collection == "Elsewhere"
    assert not list(on_weaviate.folder.glob("**/*.yaml"))
    told = run(on_weaviate, "init", "--source", "source/docs", "--target", "target/Elsewhere", "--json").json()
    assert isinstance(told, dict)
    assert told["rows"] == 26 and told["to_decide"] == [] and parse_spec(told["spec"], "told")


def test_what_will_not_fit_is_a_decision_of_a_person_and_one_line_away(on_weaviate: World) -> None:
    sparse = [{"indices": [1], "values": [0.5]}, None]
    rows = make_batch("", ["a", "b"], np.ones((2, 384), np.float32), ["{}", "{}"], sparse)
    with on_weaviate.source() as store:
        assert not store.upsert(rows).rejected
    file, ran = proposed(on_weaviate, "--source", "source/docs", "--target", "target")
    assert ran.code == 0
    assert "to decide: weaviate Docs rejects (default)/a: sparse vectors are not supported (1 of" in ran.text
    assert f"({LEAVE_SPARSE})" in ran.text
    assert run(on_weaviate, "plan", str(file)).code == 1
    file.write_text(file.read_text(encoding="utf-8").replace("# sparse: leave", "sparse: leave"), encoding="utf-8")
    planned = run(on_weaviate, "plan", str(file))
    assert planned.code == 0, planned.text


def test_odd_keys_and_mixed_values_are_told_and_the_spec_still_passes(on_weaviate: World) -> None:
    odd: list[dict[str, Any]] = [
        {"size": 1, "a: b": "x", "yes": True, "ünï\ncode": "y", "mixed list": [1, "a"], "none": None},
        {"size": "large", "a: b": None, "yes": False, "ünï\ncode": "z", "big": 2**63, "none": None},
    ]
    rows = make_batch("", ["a", "b"], np.ones((2, 4), np.float32), [canonical_json(each) for each in odd])
    with on_weaviate.source() as store:
        store.drop()
        store.create(CollectionDefinition(4, Metric.COSINE))
        assert not store.upsert(rows).rejected
    file, ran = proposed(on_weaviate, "--source", "source/docs", "--target", "target")
    assert ran.code == 0, ran.text
    text = file.read_text(encoding="utf-8")
    assert {"a: b", "yes", "ünï\ncode"} <= set(load_spec(file).fields)
    assert "# size: of several types, and a field has one: integer 1, string 1; in 100% of them, 2 different" in text
    assert "null 1, string 1; in 100% of them, 2 different; a null counts as missing where one filters" in text
    assert "# none: never has a value: null 2" in text
    planned = run(on_weaviate, "plan", str(file))
    assert planned.code == 0, planned.text


def test_a_connection_alone_is_listed(on_weaviate: World, weaviate: Weaviate) -> None:
    rest(
        weaviate, "POST", "/schema", {"class": "Listed", "vectorizer": "none", "multiTenancyConfig": {"enabled": True}}
    )
    ran = run(on_weaviate, "init", "--source", "source")
    assert ran.code == 0
    assert "docs" in ran.text and "vector vector(384)" in ran.text
    listed = run(on_weaviate, "init", "--source", "target", "--json").json()
    assert listed == {"Listed": "one vector without a name, tenants"}


def test_a_collection_that_is_not_there_is_refused_with_the_nearest_one(on_weaviate: World) -> None:
    ran = run(on_weaviate, "init", "--source", "source/dosc", "--target", "target")
    assert ran.code == 1
    assert "did you mean 'docs'?" in ran.text
    assert run(on_weaviate, "init", "--source", "source/docs").code == 2
    assert run(on_weaviate, "init", "--source", "nowhere/docs", "--target", "target").code == 2


@pytest.mark.parametrize("target", ["source", "target"])
def test_each_of_several_vectors_is_told_and_the_spec_passes(
    on_weaviate: World, weaviate: Weaviate, target: str
) -> None:
    config = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
    many = {**config, "vectorIndexConfig": {"multivector": {"enabled": True}}}
    body = {"class": "Several", "vectorConfig": {"title": config, "body": config, "words": many}}
    rest(weaviate, "POST", "/schema", {**body, "properties": [{"name": "page", "dataType": ["int"]}]})
    for n in range(30):
        vectors = {"title": [1.0, n / 30, 0.0], "body": [0.5, n / 30, 1.0, 2.0], "words": [[1.0, n / 30]] * 2}
        made = {
            "class": "Several",
            "id": f"00000000-0000-0000-0000-{n:012}",
            "properties": {"page": n},
            "vectors": vectors,
        }
        rest(weaviate, "POST", "/objects", made)
    file, ran = proposed(on_weaviate, "--source", "target/Several", "--target", target)
    assert ran.code == 0, ran.text
    text = file.read_text(encoding="utf-8")
    for line in (
        "vector body: dense, 4 dimensions",
        "vector title: dense, 3 dimensions",
        "vector words: multi, 2 dimensions",
    ):
        assert f"#   {line}, compared by cosine" in text
    assert "TO DECIDE" not in text, text
    assert ("index" in text) == (target == "target"), "an index of the other product is no index here"
    planned: Any = run(on_weaviate, "plan", str(file), "--json").json()
    assert planned["profile"]["rows"] == 30, "a page of one id is no sample"


def test_vectors_that_are_sparse_only_are_proposed_too(on_weaviate: World) -> None:
    with on_weaviate.source() as store:
        store.drop()
        store.create(CollectionDefinition(None, Metric.DOT))
        sparse = [{"indices": [n, n + 1], "values": [0.5, 1.0]} for n in range(30)]
        rows = make_batch("", [f"id{n}" for n in range(30)], None, ['{"page":1}'] * 30, sparse)
        assert not store.upsert(rows).rejected
    file, ran = proposed(on_weaviate, "--source", "source/docs", "--target", "source")
    assert ran.code == 0, ran.text
    assert "# 30 records, no dense vector without a name, sparse vectors." in file.read_text(encoding="utf-8")
    planned = run(on_weaviate, "plan", str(file))
    assert planned.code == 0, planned.text


@pytest.mark.parametrize("wakes", [False, True])
def test_a_tenant_that_sleeps_is_told_and_not_woken(on_weaviate: World, weaviate: Weaviate, wakes: bool) -> None:
    tenancy = {"enabled": True, "autoTenantCreation": True, "autoTenantActivation": wakes}
    rest(weaviate, "POST", "/schema", {"class": "Sleepy", "vectorizer": "none", "multiTenancyConfig": tenancy})
    for tenant in ("acme", "initech"):
        rest(weaviate, "POST", "/objects", {"class": "Sleepy", "tenant": tenant, "vector": [0.5, 1.0]})
    rest(weaviate, "PUT", "/schema/Sleepy/tenants", [{"name": "initech", "activityStatus": "INACTIVE"}])
    file, ran = proposed(on_weaviate, "--source", "target/Sleepy", "--target", "source")
    assert ran.code == 0, ran.text
    assert "to decide: 1 namespaces sleep in the source and were not looked at (initech)" in ran.text
    states = {each["name"]: each["activityStatus"] for each in rest(weaviate, "GET", "/schema/Sleepy/tenants")}
    assert states == {"acme": "HOT", "initech": "COLD"}
    text = file.read_text(encoding="utf-8")
    left = text.replace('namespaces: {include: ["*"]}\n# namespaces: {exclude', "namespaces: {exclude")
    file.write_text(left, encoding="utf-8")
    assert load_spec(file).namespaces.exclude == ["initech"]
    planned = run(on_weaviate, "plan", str(file))
    assert planned.code == 0, planned.text


TABLES = """
    CREATE SCHEMA shop; CREATE TABLE shop.things (id bigint PRIMARY KEY, title text, price numeric, embedding vector(3));
    INSERT INTO shop.things SELECT n, 'thing ' || n, n / 4.0, ARRAY[n, 1, 0]::vector FROM generate_series(1, 30) n;
    CREATE TABLE langchain_pg_collection (uuid uuid PRIMARY KEY, name varchar NOT NULL UNIQUE, cmetadata json);
    CREATE TABLE langchain_pg_embedding (id varchar PRIMARY KEY, collection_id uuid REFERENCES langchain_pg_collection,
        embedding vector, document varchar, cmetadata jsonb);
    INSERT INTO langchain_pg_collection VALUES (gen_random_uuid(), 'articles'), (gen_random_uuid(), 'tickets');
    INSERT INTO langchain_pg_embedding SELECT name || n, uuid, ARRAY[n, 1, 0]::vector, 'text ' || n, '{"page": 1}'
        FROM langchain_pg_collection, generate_series(1, 30) n"""


@pytest.mark.parametrize(
    ("name", "namespaces", "fields"),
    [
        ("shop.things", {""}, {"title": "string", "price": "number"}),
        ("langchain_pg_embedding", {"articles", "tickets"}, {"document": "string", "page": "integer"}),
    ],
)
def test_a_table_that_others_made_is_proposed_as_it_is(
    on_weaviate: World, database: str, name: str, namespaces: set[str], fields: dict[str, str]
) -> None:
    with psycopg.connect(database, autocommit=True, options="-c search_path=public") as raw:
        raw.execute(TABLES)
    listed = run(on_weaviate, "init", "--source", "source", "--json").json()
    assert isinstance(listed, dict) and {"docs", "langchain_pg_embedding", "shop.things"} <= set(listed)
    for target in ("source", "target"):
        file, ran = proposed(on_weaviate, "--source", f"source/{name}", "--target", target, "--force")
        assert ran.code == 0, ran.text
        spec = load_spec(file)
        assert spec.source.table is not None and spec.source.collection == name.rpartition(".")[2]
        if target == "source":
            assert {key: str(spec.fields[key]) for key in fields} == fields
        planned = run(on_weaviate, "plan", str(file), "--json")
        assert planned.code == 0, planned.text
        found: Any = planned.json()
        assert set(found["namespaces"]) == namespaces


def test_a_target_that_is_not_empty_is_a_decision(on_weaviate: World) -> None:
    other = dataclasses.replace(on_weaviate.connections["source"], name="other")
    on_weaviate.connections["other"] = other
    _, ran = proposed(on_weaviate, "--source", "source/docs", "--target", "other/docs")
    assert "target.adopt: true" in ran.text and "is not empty (26 rows)" in ran.text


UUID, DATE = "123e4567-e89b-12d3-a456-426614174000", "2024-05-06T07:08:09+02:00"
LONG = "one two three four five six seven"


def keys_of(metadata: list[dict[str, Any]]) -> tuple[KeySeen, ...]:
    sample = KeySample()
    sample.see(map(canonical_json, metadata))
    return sample.keys(integers=True)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([1, 2, -(2**63)], "integer"),
        ([1, 2**63], "number"),
        ([1, 2.5], "number"),
        (["a", "b"], "string"),
        ([LONG, LONG, "a"], "text"),
        ([LONG, "a", "b"], "string"),
        ([DATE, DATE], "date"),
        ([DATE, "2024-02-30T00:00:00Z"], "string"),
        ([UUID, UUID], "uuid"),
        ([UUID, UUID.upper()], "string"),
        ([True, False, None], "boolean"),
        ([["a"], []], "strings"),
        ([[DATE], [DATE, DATE]], "dates"),
        ([[UUID]], "uuids"),
        ([[1], [2.5]], "numbers"),
        ([[1], [2]], "integers"),
        ([[LONG]], "texts"),
        ([[True]], "booleans"),
        ([{"latitude": 1.0, "longitude": 2.0}], "geo"),
        ([{"a": 1}, {}], "object"),
        ([1, "a"], None),
        ([True, 1], None),
        ([[1, "a"]], None),
        ([["a"], "a"], None),
        (["x" * 300], None),
        ([None], None),
    ],
)
def test_the_type_of_a_field_holds_all_values(values: list[Any], fits: str | None) -> None:
    [seen] = keys_of([{"key": value} for value in values])
    assert seen.fits == (None if fits is None else FieldType(fits))
    assert bool(seen.why) == (fits is None)


def test_a_field_that_the_target_has_not_is_a_wider_one_or_none() -> None:
    metadata = [{"when": DATE, "where": {"latitude": 1.0, "longitude": 2.0}}]
    when, where = (held_by(each, {FieldType.STRING}) for each in keys_of(metadata))
    assert (when.fits, where.fits) == (FieldType.STRING, None)
    assert where.why == "the target has no field of the type geo"


@pytest.mark.parametrize("target", ["source", "target"])
def test_every_type_that_is_proposed_can_be_planned(on_weaviate: World, target: str) -> None:
    rich = {"n": 2**60, "r": 0.5, "b": True, "s": "a", "t": LONG, "d": DATE, "u": UUID, "o": {"a": 1}}
    rich |= {"g": {"latitude": 1.0, "longitude": 2.0}, "ns": [1], "rs": [0.5], "bs": [True], "ss": ["a"], "ts": [LONG]}
    rich |= {"ds": [DATE], "us": [UUID]}
    vectors = np.random.default_rng(0).normal(size=(30, 384)).astype(np.float32)
    with on_weaviate.source() as store:
        rows = make_batch("rich", [f"id{n}" for n in range(30)], vectors, [canonical_json(rich)] * 30)
        assert not store.upsert(rows).rejected
    file, ran = proposed(on_weaviate, "--source", "source/docs", "--target", target)
    assert ran.code == 0, ran.text
    fields = load_spec(file).fields
    assert {"n", "r", "b", "s", "d", "u", "ss"} <= set(fields)
    planned = run(on_weaviate, "plan", str(file), "--save")
    assert planned.code == 0, planned.text


ABLE = Capabilities(product="any")
PRINTED = st.text(max_size=20)
KEYS = st.builds(
    KeySeen,
    PRINTED,
    st.just(1.0),
    st.just(1),
    st.dictionaries(st.sampled_from(["string", "null"]), st.integers(1, 9), min_size=1),
    st.sampled_from([*FieldType, None]),
    PRINTED,
)


@given(
    st.lists(KEYS, unique_by=lambda each: each.key),
    st.dictionaries(PRINTED, st.integers(0, 10**9), max_size=30),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30),
    st.lists(PRINTED),
)
def test_whatever_the_data_calls_itself_the_file_says_what_was_found(
    keys: list[KeySeen], namespaces: dict[str, int], name: str, notes: list[str]
) -> None:
    keys = [dataclasses.replace(each, fits=each.fits if is_key(each.key) else None) for each in keys]
    info = CollectionInfo(name, 4, Metric.DOT, namespaces, notes=tuple(notes))
    here, there = Place(Connection("one", "memory"), name), Place(Connection("two", "memory"), name)
    against = tuple(Obstacle(note, LEAVE_SPARSE) for note in notes)
    found = Proposal(here, there, info, tuple(keys), 10, None, {}, f"{name}Live", ABLE, ABLE, against, tuple(notes))
    text = spec_text(found)
    spec = parse_spec(text, "made.yaml")
    assert (spec.source.collection, spec.target.collection) == (name, name)
    assert dict(spec.fields) == {each.key: each.fits for each in keys if each.fits}
    assert yaml.safe_load(text)["source"] == {"connection": "one", "collection": name}
