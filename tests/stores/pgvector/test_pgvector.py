"""The pgvector store keeps the contract on a real PostgreSQL, with and without its HNSW index."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from vectorferry.core.errors import DatabaseMissing, NotFound, OutcomeUnknown, RecordError, Refused, Unavailable
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import CollectionDefinition, FieldType, KeyRange, Metric
from vectorferry.local.servers.ports import LOOPBACK, free_port
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.batching import payload_bytes
from vectorferry.stores.bulk_reads import ids_after
from vectorferry.stores.caller import ONCE, Caller, RetryPolicy
from vectorferry.stores.pgvector import store as pgvector_store
from vectorferry.stores.pgvector.store import PgvectorStore
from vectorferry.stores.registry import open_store
from vectorferry.testing import MakeStore, StoreContract, temporary_stores
from vectorferry.testing.assertions import assert_holds, put_all
from vectorferry.testing.fixtures import StoreFixtures
from vectorferry.testing.promises.collection import CollectionContract
from vectorferry.testing.promises.named_vector import NamedVectorContract
from vectorferry.testing.promises.round_trip import RoundTripContract
from vectorferry.testing.promises.search import SearchContract
from vectorferry.testing.samples import exact_scores, new_name, random_vectors, records

# The promises that another index or another version of the extension can break.
OF_VECTORS = (CollectionContract, RoundTripContract, NamedVectorContract, SearchContract)


def connection_of(url: str) -> Connection:
    parts = urlsplit(url)
    return Connection(
        "pg", "postgres", parts.hostname or "", parts.port, parts.username or "", parts.password or "", parts.path[1:]
    )


@pytest.fixture(scope="module")
def connection(postgres: Postgres) -> Iterator[Connection]:
    name = "contract"
    yield connection_of(postgres.create_database(name))
    postgres.drop_database(name)


class PgvectorStores(StoreFixtures):
    index: Mapping[str, Any]

    @pytest.fixture(scope="class")
    @classmethod
    def make_store(cls, connection: Connection) -> Iterator[MakeStore]:
        def opener(name: str, fields: Mapping[str, FieldType]) -> VectorStore:
            return open_store(connection, name, StoreOptions(fields=fields, index=cls.index))

        with temporary_stores(opener) as make:
            yield make

    @pytest.fixture
    def wrong_key_store(self, connection: Connection) -> VectorStore:
        return open_store(replace(connection, password="wrong"), new_name())

    @pytest.fixture
    def misnamed_store(self, connection: Connection) -> VectorStore:
        return open_store(connection, "schema.table")

    @pytest.fixture
    def unreachable_store(self, connection: Connection) -> VectorStore:
        away = replace(connection, host=LOOPBACK, port=free_port(0))
        return open_store(away, new_name(), caller=Caller(policy=RetryPolicy(attempts=2)))


class TestPgvectorExact(PgvectorStores, *OF_VECTORS):
    """Without the index: only what has to do with vectors is another."""

    index = MappingProxyType({"type": "none"})


class TestPgvectorHnsw(PgvectorStores, StoreContract):
    """With the index asked for as few as six candidates."""

    index = MappingProxyType({"type": "hnsw", "m": 8})

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def use_the_index(cls) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pgvector_store, "EXACT_ROWS", 5)
            yield


@pytest.fixture
def store(connection: Connection) -> Iterator[VectorStore]:
    store = open_store(connection, new_name("Own"), caller=Caller(policy=ONCE))
    yield store
    store.drop()
    store.close()


def test_names_and_settings_that_cannot_be_are_refused(connection: Connection):
    for name, definition in (
        ("x" * 64, CollectionDefinition(3, Metric.DOT)),
        ("vectorferry_collections", CollectionDefinition(3, Metric.DOT)),
        ("ok", CollectionDefinition(4001, Metric.DOT, index={"type": "hnsw"})),
        ("ok", CollectionDefinition(3, Metric.DOT, index={"type": "ivf"})),
        ("ok", CollectionDefinition(3, Metric.DOT, index={"efConstruction": 3})),
        ("ok", CollectionDefinition(3, Metric.DOT, index={"m": 1})),
    ):
        store = open_store(connection, name, caller=Caller(policy=ONCE))
        with pytest.raises(Refused):
            store.create(definition)
        with pytest.raises(NotFound):
            store.describe()
        store.close()


@pytest.mark.parametrize("name", ["with space", 'quo"te', "per%cent", "{brace}", "SELECT", "ünï"])
def test_a_collection_may_have_any_name(connection: Connection, name: str):
    store = open_store(connection, name)
    store.create(CollectionDefinition(8, Metric.COSINE, {"odd'\"%{} \0key": FieldType.STRING}))
    batch = records("n", ["a", "b"], metadata=[{"odd'\"%{} \0key": "\0"}, {"odd'\"%{} \0key": "\\u0000"}])
    put_all(store, batch)
    assert_holds(store, batch)
    assert store.matching("n", parse_filter({"odd'\"%{} \0key": "\0"}), 5) == {"a"}
    store.drop()
    store.close()


def test_vectors_of_many_dimensions_are_kept(store: VectorStore):
    store.create(CollectionDefinition(16_000, Metric.EUCLIDEAN))
    assert store.describe().index == {"type": "none"}
    batch = records("n", ["a", "b"], random_vectors(2, 16_000))
    put_all(store, batch)
    assert_holds(store, batch)
    assert store.search("n", random_vectors(2, 16_000), 1).ids == (("a",), ("b",))


def test_a_small_namespace_in_a_large_index_returns_k(store: VectorStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pgvector_store, "EXACT_ROWS", 5)
    store.create(CollectionDefinition(8, Metric.COSINE))
    vectors = random_vectors(3000)
    put_all(store, records("large", [f"l{row}" for row in range(2980)], vectors[:2980]))
    put_all(store, records("small", [f"s{row}" for row in range(20)], vectors[2980:]))
    queries = random_vectors(4, seed=8)
    found = store.search("small", queries, 15, effort=10)
    for row, query in enumerate(queries):
        best = np.argsort(-exact_scores(Metric.COSINE, query, vectors[2980:]))[:15]
        assert list(found.ids[row]) == [f"s{place}" for place in best]


def test_nul_in_a_key_is_refused_row_by_row_and_never_found(store: VectorStore):
    store.create(CollectionDefinition(8, Metric.COSINE))
    result = store.upsert(records("n", ["a\0", "b"]))
    assert [(item.row, item.id) for item in result.rejected] == [(0, "a\0")]
    assert "U+0000" in result.rejected[0].reason
    assert store.upsert(records("n\0", ["a"])).acknowledged == 0
    assert len(store.fetch("n", ["a\0", "a"])) == len(store.fetch("n\0", ["b"])) == 0
    assert store.count("n\0") == 0 and list(store.list_ids(KeyRange("n\0"))) == []
    store.delete("n", ["b\0"])
    store.delete("n\0", ["b"])
    assert store.count() == 1


def test_a_failed_batch_leaves_nothing(store: VectorStore, connection: Connection):
    store.create(CollectionDefinition(8, Metric.COSINE))
    with psycopg.connect(url_of(connection), autocommit=True) as direct:
        direct.execute(f"ALTER TABLE \"{store.name.split()[1]}\" ADD CHECK (id <> 'c')")
    with pytest.raises(Refused, match="check constraint"):
        store.upsert(records("n", ["a", "b", "c"]))
    assert store.count() == 0


def test_a_lost_connection_is_unavailable_and_then_replaced(store: VectorStore, connection: Connection):
    store.create(CollectionDefinition(8, Metric.COSINE))
    kill_sessions(connection)
    with pytest.raises(Unavailable):
        store.upsert(records("n", ["a"]))
    put_all(store, records("n", ["a"]))
    assert store.count() == 1


def test_a_connection_lost_during_commit_is_an_unknown_outcome(store: VectorStore, connection: Connection):
    store.create(CollectionDefinition(8, Metric.COSINE))
    with psycopg.connect(url_of(connection), autocommit=True) as direct:
        table = f'"{store.name.split()[1]}"'
        direct.execute(
            "CREATE OR REPLACE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        direct.execute(
            f"CREATE CONSTRAINT TRIGGER die AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION die()"
        )
    with pytest.raises(OutcomeUnknown):
        store.upsert(records("n", ["a"]))
    assert isinstance(store, PgvectorStore) and store._call.unanswered_at is not None


def test_a_statement_that_takes_longer_than_the_deadline_is_unavailable(connection: Connection):
    store = open_store(connection, new_name("Slow"), StoreOptions(deadline=0.3), caller=Caller(policy=ONCE))
    store.create(CollectionDefinition(8, Metric.COSINE))
    with psycopg.connect(url_of(connection)) as direct:
        direct.execute(f'LOCK TABLE "{store.name.split()[1]}"')
        with pytest.raises(Unavailable, match="timeout"):
            store.upsert(records("n", ["a"]))
    assert store.upsert(records("n", ["a"])).acknowledged == 1
    store.drop()
    store.close()


def test_a_missing_database_is_told_from_a_missing_collection(connection: Connection):
    with pytest.raises(DatabaseMissing, match="does not exist"):
        open_store(replace(connection, schema="nowhere"), "x").describe()


def url_of(connection: Connection) -> str:
    return (
        f"postgresql://{connection.login}:{connection.password}@{connection.host}:{connection.port}/{connection.schema}"
    )


def kill_sessions(connection: Connection) -> None:
    with psycopg.connect(url_of(connection), autocommit=True) as direct:
        direct.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vectorferry'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_schema_called_like_the_user_hides_nothing(store: VectorStore, connection: Connection):
    store.create(CollectionDefinition(8, Metric.COSINE))
    with psycopg.connect(url_of(connection), autocommit=True) as session:
        session.execute(f'CREATE SCHEMA IF NOT EXISTS "{connection.login}"')
    later = open_store(connection, store.describe().name)
    assert later.describe().dimension == 8
    later.close()
    with psycopg.connect(url_of(connection), autocommit=True) as session:
        session.execute(f'DROP SCHEMA "{connection.login}" CASCADE')


def test_a_change_token_sees_what_others_do_in_transactions(store: VectorStore, connection: Connection):
    store.create(CollectionDefinition(8, Metric.COSINE))
    put_all(store, records("n", ["a", "b"]))
    table, before = f'"{store.name.split()[1]}"', store.change_token("n")
    with psycopg.connect(url_of(connection)) as other:
        other.execute(f"UPDATE {table} SET metadata = '{{\"k\":1}}' WHERE id = 'a'")
        assert store.change_token("n") == before, "nothing of it can be read yet"
        other.rollback()
        assert store.change_token("n") == before
        other.execute("SAVEPOINT s")
        other.execute(f"UPDATE {table} SET metadata = '{{\"k\":1}}' WHERE id = 'a'")
        other.execute("RELEASE s")
        other.execute(f"UPDATE {table} SET metadata = '{{}}' WHERE id = 'a'")
    assert store.change_token("n") != before, "what it was before comes under a new number"


def test_a_change_token_survives_vacuum_but_not_another_file(store: VectorStore, connection: Connection):
    store.create(CollectionDefinition(8, Metric.COSINE))
    put_all(store, records("n", ["a", "b", "c"]))
    store.delete("n", ["b"])
    table, before = f'"{store.name.split()[1]}"', store.change_token("n")
    with psycopg.connect(url_of(connection), autocommit=True) as other:
        other.execute(f"VACUUM (FREEZE) {table}")
        assert store.change_token("n") == before
        other.execute(f"CREATE TEMPORARY TABLE kept AS SELECT * FROM {table}")
        other.execute(f"TRUNCATE {table}")
        empty = store.change_token("n")
        columns = "namespace, id, vector, sparse, metadata"
        other.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM kept")
    assert len({before, empty, store.change_token("n")}) == 3


@pytest.mark.parametrize(("kind", "dimension"), [("none", 384), ("hnsw", 384), ("hnsw", 768), ("none", 3072)])
def test_a_footprint_is_about_what_is_taken(connection: Connection, kind: str, dimension: int):
    store = open_store(connection, new_name("Size"), StoreOptions(index={"type": kind}))
    definition = CollectionDefinition(dimension, Metric.COSINE)
    store.create(definition)
    texts = [{"text": f"{row} " + "word " * (row % 60)} for row in range(400)]
    batch = records("n", [f"record {row}" for row in range(400)], random_vectors(400, dimension), texts)
    put_all(store, batch)
    projected = store.footprint(definition, float(payload_bytes(batch).mean())).disk
    taken = int(store.capacity().note.split()[0].replace(",", "")) / 400
    assert projected is not None and 0.75 < projected / taken < 1.25, (projected, taken)
    store.drop()
    store.close()


def test_a_database_that_takes_no_writes_says_so(database: str):
    connection = connection_of(database)
    with psycopg.connect(database, autocommit=True) as direct:
        direct.execute(f'ALTER DATABASE "{connection.schema}" SET default_transaction_read_only = on')
    store = open_store(connection, "any")
    found = store.capacity()
    store.close()
    assert found.read_only and found.rows == 0 and found.disk is not None


def test_metadata_that_others_wrote_is_carried_exactly_or_refused_by_name(
    connection: Connection, postgres: Postgres
) -> None:
    with closing(open_store(connection, new_name())) as store, psycopg.connect(postgres.url("contract")) as raw:
        store.create(CollectionDefinition(2, Metric.COSINE))
        table = store.name.removeprefix("pgvector ")
        put_all(store, records("n", ["a"], np.ones((1, 2), np.float32)))

        def write(column: str, value: str | bytes) -> None:
            raw.execute(f"UPDATE {table} SET {column} = %s".encode(), [value])
            raw.commit()

        write("metadata", '{"z": 1.0, "a": [ ]}')
        assert store.fetch("n", ["a"]).column("metadata").to_pylist() == ['{"a":[],"z":1}']
        for text in ('{"a":1e400}', '{"a":0.10000000000000000555}', '{"a":1,"a":2}', '{"a":123456789012345678901}'):
            write("metadata", text)
            with pytest.raises(RecordError, match=f"pgvector {table}, namespace n, id a: the stored metadata cannot"):
                list(store.scan(KeyRange("n")))
            with pytest.raises(RecordError, match="cannot be carried"):
                store.update("n", "a", metadata='{"b":1}')
        write("metadata", "{}")
        write("sparse", b"12345")
        with pytest.raises(RecordError, match="the sparse vector has 5 bytes"):
            store.fetch("n", ["a"])
        store.drop()


def test_the_empty_id_which_others_wrote_is_on_the_first_page(connection: Connection, postgres: Postgres) -> None:
    with closing(open_store(connection, new_name())) as store, psycopg.connect(postgres.url("contract")) as raw:
        store.create(CollectionDefinition(8, Metric.COSINE))
        put_all(store, records("n", ["a", "b"]))
        raw.execute(f"UPDATE {store.name.removeprefix('pgvector ')} SET id = '' WHERE id = 'b'".encode())
        raw.commit()
        assert ids_of_pages(ids_after(store, "n")) == ["", "a"]
        assert ids_of_pages(ids_after(store, "n", after="")) == ["a"]
        assert [id_ for page in store.list_ids(KeyRange("n")) for id_ in page] == ["", "a"]
        store.drop()


def ids_of_pages(pages: Iterator[Sequence[str]]) -> list[str]:
    return [id_ for page in pages for id_ in page]
