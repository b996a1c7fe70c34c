"""Probes: what only writing tells is known before the work begins, and nobody who may only read is asked to write in vain."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from pipeline.commanding import on
from pipeline.worlds import World, weaviate_connection
from stores.loose_keys import LooseKeys
from stores.weaviate.tools import open_store, rest
from vectorferry.core.errors import GateError, PreflightFailed
from vectorferry.core.model import RESERVED_NAMESPACE, CollectionDefinition, FieldType, KeyRange, Metric, WriteResult
from vectorferry.engine.cutover.switch import prove_way_back
from vectorferry.engine.plan.begin import begin
from vectorferry.engine.plan.preflight import preflight
from vectorferry.engine.plan.source_sample import first_ids
from vectorferry.engine.probe.trial import refusal
from vectorferry.local.servers.weaviate import Weaviate
from vectorferry.stores.delegating import DelegatingStore


@pytest.fixture
def reader(filled: World, database: str) -> Iterator[World]:
    """The source's connection is that of a role that may only read."""
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("CREATE ROLE probe_reader LOGIN PASSWORD 'reader'")
        tables = sql.SQL(", ").join(map(sql.Identifier, ("docs", "vectorferry_collections")))
        db.execute(sql.SQL("GRANT SELECT ON {} TO probe_reader").format(tables))
        filled.connections["source"] = replace(filled.connections["source"], login="probe_reader", password="reader")
        yield filled
        db.execute("DROP OWNED BY probe_reader")
        db.execute("DROP ROLE probe_reader")


def test_without_writers_a_source_that_may_only_be_read_is_cut_over(reader: World) -> None:
    reader.spec_dict["approval"] = {"four_eyes": False, "terminal": True}
    ran = on(reader, "run", answers="approve\nyes\n")
    assert ran.code == 0, ran.text


def test_with_routers_plan_names_the_connection_and_the_right_that_is_missing(reader: World) -> None:
    reader.spec_dict["writers"] = {"expected": 1}
    with reader.session() as session:
        with pytest.raises(
            PreflightFailed, match=r"right to write is missing .*permission denied.*connection 'source'"
        ):
            preflight(session)
        with pytest.raises(GateError, match=r"no way back: .*connection 'source'"):
            prove_way_back(session)


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_a_collection_that_was_made_elsewhere_is_probed_where_it_keeps_records(weaviate: Weaviate, tenant: str) -> None:
    """Under a UUID in the default or an existing namespace, for it has no place for ours."""
    made = {"class": "Probed", "vectorizer": "none", "multiTenancyConfig": {"enabled": bool(tenant)}}
    rest(weaviate, "POST", "/schema", made)
    if tenant:
        rest(weaviate, "POST", "/schema/Probed/tenants", [{"name": tenant}])
    one = {"class": "Probed", "vector": [1.0, 2.0], "properties": {}} | ({"tenant": tenant} if tenant else {})
    rest(weaviate, "POST", "/objects", one)
    store = open_store(weaviate, "Probed")
    try:
        assert refusal(store, store.describe(), search=True) == ""
        assert dict(store.describe().namespaces) == {tenant: 1}
        if tenant:
            assert [each["name"] for each in rest(weaviate, "GET", "/schema/Probed/tenants")] == [tenant]
    finally:
        store.drop()
        store.close()


def test_a_probe_leaves_nothing_behind(filled: World) -> None:
    with filled.session() as session:
        before = session.source.describe()
        assert refusal(session.source, before, search=True) == ""
        assert session.source.describe() == before
        assert session.source.count(RESERVED_NAMESPACE) == 0


def test_a_probe_in_tenants_of_ours_leaves_no_record_and_no_property(weaviate: Weaviate) -> None:
    store = open_store(weaviate, "ProbedOwn")
    store.create(CollectionDefinition(4, Metric.COSINE, {"kind": FieldType.STRING}))
    try:
        before = rest(weaviate, "GET", "/schema/ProbedOwn")
        assert refusal(store, store.describe(), search=True) == ""
        assert not store.describe().namespaces
        assert rest(weaviate, "GET", "/schema/ProbedOwn") == before
    finally:
        store.drop()
        store.close()


def test_both_sides_are_asked_twice_by_plan(filled: World) -> None:
    """Each answer that was wrong is named, of the source without a record being written to it."""

    class Counting(DelegatingStore):
        def count(self, namespace: str | None = None) -> int:
            return self.whole.count(namespace) + (namespace in ("wave", RESERVED_NAMESPACE))

        def upsert(self, batch: pa.RecordBatch) -> WriteResult:
            assert self.name.endswith("docs_moved"), "nothing is written to a source that no router writes to"
            return self.whole.upsert(batch)

    with filled.session() as session:
        begin(session, preflight(session))
        lying = replace(session, source=Counting(session.source), target=Counting(session.target))
        with pytest.raises(PreflightFailed) as refused:
            preflight(lying)
        assert session.target.count() == 0
    rows = 3
    source, target = refused.value.problems
    assert source == f"source pgvector docs: it counts {rows + 1} and lists {rows} of namespace 'wave'"
    assert target.startswith(
        "target pgvector docs_moved: it counts 2 and lists 1 of namespace 'vectorferry-probe'; after"
    )


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_doubled_key_of_either_side_is_told_by_plan(filled: World, side: str) -> None:
    with filled.session() as session:
        begin(session, preflight(session))
        stores = {"source": LooseKeys(session.source), "target": LooseKeys(session.target)}
        if side == "target":
            stores[side].upsert(next(iter(session.source.scan(KeyRange("wave")))))
        namespace, id_ = "wave", first_ids(session.source, "wave")[0]
        stores[side].plant(namespace, id_)
        with pytest.raises(PreflightFailed) as refused:
            preflight(replace(session, source=stores["source"], target=stores["target"]))
    told = f"{side} {stores[side].name}: 2 records have the key {id_!r} of namespace 'wave'"
    assert told in refused.value.problems


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"collection": "schema.table"}, "looks like a schema and a table"),
        ({"index": {"efConstruction": 64}}, "did you mean 'ef_construction'"),
        ({"index": {"m": 1}}, "whole number from 2 to 100"),
    ],
)
def test_what_create_would_refuse_is_known_by_plan(filled: World, target: dict[str, object], words: str) -> None:
    filled.spec_dict["target"] |= target
    ran = on(filled, "plan")
    assert ran.code == 1
    assert "cannot be made" in ran.text
    assert words in ran.text


def test_staging_that_lets_nobody_in_is_refused_by_plan(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    filled.spec_dict["staging"] = {"url": "s3://no-such-bucket/x"}
    ran = on(filled, "plan")
    assert ran.code == 1
    assert "staging s3://no-such-bucket" in ran.text
    assert "`staging.connection`" in ran.text


def test_plan_leaves_no_folder_in_staging(filled: World) -> None:
    assert on(filled, "plan").code == 0
    assert not (filled.folder / "staging").exists()


def test_a_target_without_a_place_for_ids_and_namespaces_is_refused_once(filled: World, weaviate: Weaviate) -> None:
    rest(weaviate, "POST", "/schema", {"class": "Plain", "vectorizer": "none"})
    filled.connections["target"] = weaviate_connection(weaviate)
    filled.spec_dict["target"]["collection"] = "Plain"
    try:
        with filled.session() as session, pytest.raises(PreflightFailed) as refusal:
            preflight(session)
    finally:
        rest(weaviate, "DELETE", "/schema/Plain")
    first, second = refusal.value.problems
    assert "has no tenants, and so no place for the namespace" in first
    assert "keeps UUIDs in lowercase as ids and nothing else, and the source has" in second


def test_a_table_that_people_have_is_refused_as_what_it_is_by_plan_run_and_compare(
    filled: World, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(
            "CREATE TABLE public.langchain_pg_embedding (id text PRIMARY KEY, embedding vector(8), cmetadata jsonb)"
        )
        try:
            filled.spec_dict["source"]["collection"] = "langchain_pg_embedding"
            for command in ("plan", "run", "compare"):
                ran = on(filled, command)
                assert ran.code == 1
                assert "(it has id text, embedding vector(8), cmetadata jsonb)" in ran.text
                assert "say `table: {}` beside `collection` to use it as it is" in ran.text
        finally:
            db.execute("DROP TABLE public.langchain_pg_embedding")


def test_queries_that_cannot_be_asked_are_refused_by_plan_and_those_left_out_are_told(filled: World) -> None:
    file = filled.folder / "asked.parquet"
    filled.spec_dict["checks"]["recall"]["queries"] = str(file)
    vectors = np.full((3, 384), 0.1, np.float32)
    pq.write_table(pa.table({"namespace": ["wave", "asyncoi", "__default__"], "vector": vectors.tolist()}), file)
    ran = on(filled, "plan")
    assert ran.code == 1
    assert f"{file}, row 1: the source has no namespace 'asyncoi' (did you mean 'asyncio'?)" in ran.text
    pq.write_table(pa.table({"namespace": ["wave", "email", "__default__"], "vector": vectors.tolist()}), file)
    filled.spec_dict["namespaces"] = {"exclude": ["email"]}
    ran = on(filled, "plan")
    assert ran.code == 0, ran.text
    assert "1 queries are not asked, for `namespaces` leaves out where they ask ('email')" in ran.text
