"""What PostgreSQL must have is told with the way out; old versions are judged by their numbers, and one for real in test_old_server."""

import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from vectorferry.core.errors import NotFound, Refused
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.pgvector import store as pgvector
from vectorferry.stores.pgvector.requirements import Server, unmakeable, unusable
from vectorferry.stores.pgvector.statements import tuning
from vectorferry.stores.pgvector.store import PgvectorStore
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import random_vectors, records

DATABASE = "requirements"
GOOD = Server(160004, "public", True, "0.8.1", "public", True, "0.8.1", False)
COSINE = CollectionDefinition(8, Metric.COSINE)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (GOOD, ""),
        (replace(GOOD, version="0.5.0"), ""),
        (replace(GOOD, version="0.4.4"), "pgvector is 0.4.4; 0.5 or later is needed"),
        (replace(GOOD, version=None, place=None, found=False), ""),
        (replace(GOOD, version=None, place=None, found=False, available="0.4.0"), "0.5 or later is needed"),
        (replace(GOOD, version=None, place=None, found=False, available=None), "no extension vector: install pgvector"),
        (replace(GOOD, postgres=130011), "PostgreSQL 13; 14 or later is needed"),
        (replace(GOOD, place="tools", found=False), '"extension_schema": "tools"'),
    ],
)
def test_an_old_or_hidden_extension_is_told(server: Server, words: str) -> None:
    told = list(unusable(server))
    assert len(told) == bool(words)
    assert words in "".join(told)


def test_half_vectors_need_their_version() -> None:
    old = replace(GOOD, version="0.6.2")
    assert not list(unmakeable(old, "docs", 2000, "hnsw", 2000))
    assert not list(unmakeable(old, "docs", 3072, "none", 2000))
    assert not list(unmakeable(GOOD, "docs", 3072, "hnsw", 2000))
    assert "indexes at most 2000 dimensions" in "".join(unmakeable(old, "docs", 3072, "hnsw", 2000))


def test_a_search_asks_no_extension_to_iterate_that_cannot() -> None:
    assert list(tuning(100, None, iterates=False)) == ["hnsw.ef_search = 100"]
    assert list(tuning(10, None, iterates=False)) == ["hnsw.ef_search = 40"]
    assert list(tuning(10, 5000, iterates=True))[::2] == ["hnsw.iterative_scan = strict_order", "hnsw.ef_search = 1000"]


@pytest.fixture(scope="module")
def connection(postgres: Postgres) -> Iterator[Connection]:
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {DATABASE}")
        url = urlsplit(postgres.url(DATABASE))
        yield Connection(
            "pg", "postgres", url.hostname or "", url.port, url.username or "", url.password or "", DATABASE
        )
        db.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def store(connection: Connection) -> Iterator[PgvectorStore]:
    made = PgvectorStore.open(connection, "required", StoreOptions())
    yield made
    made.drop()
    made.close()


def test_a_taken_name_is_told_and_refused(store: PgvectorStore, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url(DATABASE), autocommit=True) as db:
        db.execute("CREATE TABLE required (x int)")
        [told] = store.obstacles(COSINE)
        assert "taken in the schema public" in told
        with pytest.raises(Refused, match="taken in the schema public"):
            store.create(COSINE)
        with pytest.raises(NotFound):
            store.describe()
        db.execute("DROP TABLE required")
    assert not store.obstacles(COSINE)


@pytest.mark.parametrize(
    ("made", "collection", "words"),
    [
        ("TABLE required (content text, embedding vector(8))", "required", "Vectorferry (it has content text, embedding vector(8))"),
        ("VIEW required AS SELECT 1 AS one", "required", "of the schema public was not made by Vectorferry (it has one integer)"),
        ("TABLE ai.required (id int)", "required", 'set "schema": "ai" in the extra'),
        ("TABLE ai.required (id int)", "ai.required", 'set "schema": "ai" in the extra of the connection, and name the table only'),
        ("TABLE other (id int)", "required", "no such collection"),
    ],
)  # fmt: skip
def test_a_table_of_others_is_told_from_one_that_is_not_there(
    connection: Connection, postgres: Postgres, made: str, collection: str, words: str
) -> None:
    store = PgvectorStore.open(connection, collection, StoreOptions())
    with psycopg.connect(postgres.url(DATABASE), autocommit=True) as db:
        db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        db.execute("CREATE SCHEMA ai")
        db.execute(f"CREATE {made}".encode())
        try:
            with pytest.raises(NotFound, match=re.escape(words)):
                store.describe()
            for read in (lambda: store.fetch("n", ["a"]), store.count, lambda: store.delete("n", ["a"])):
                with pytest.raises(NotFound):
                    read()
        finally:
            store.close()
            db.execute(f"DROP {' '.join(made.split()[:2])} CASCADE".encode())
            db.execute("DROP SCHEMA ai CASCADE")


def test_a_missing_right_is_told(connection: Connection, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url(DATABASE), autocommit=True) as db:
        db.execute("CREATE ROLE required_reader LOGIN PASSWORD 'reader'")
        reader = replace(connection, login="required_reader", password="reader")
        store = PgvectorStore.open(reader, "required", StoreOptions())
        assert any("GRANT CREATE ON SCHEMA public" in each for each in store.obstacles(COSINE))
        store.close()
        db.execute("DROP ROLE required_reader")


def test_an_extension_in_another_schema_is_found_by_the_connection(connection: Connection, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url(DATABASE), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS elsewhere")
        db.execute("CREATE DATABASE elsewhere")
    with psycopg.connect(postgres.url("elsewhere"), autocommit=True) as db:
        db.execute("CREATE SCHEMA tools")
        db.execute("CREATE EXTENSION vector SCHEMA tools")
    away = replace(connection, schema="elsewhere")
    store = PgvectorStore.open(away, "required", StoreOptions())
    [told] = store.obstacles()
    assert '"extension_schema": "tools"' in told
    store.close()
    store = PgvectorStore.open(replace(away, extra={"extension_schema": "tools"}), "required", StoreOptions())
    assert not store.obstacles(COSINE)
    store.create(COSINE)
    put_all(store, records("n", ["a", "b"]))
    assert store.count() == 2
    store.close()


@pytest.mark.parametrize("metric", list(Metric))
def test_beyond_2000_dimensions_the_index_is_over_half_precision_and_scores_are_exact(
    store: PgvectorStore, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(CollectionDefinition(2001, metric))
    vectors = random_vectors(60, 2001)
    put_all(store, records("n", [f"i{n}" for n in range(60)], vectors))
    exact = store.search("n", vectors[:5], 3)
    monkeypatch.setattr(pgvector, "EXACT_ROWS", 10)
    found = store.search("n", vectors[:5], 3)
    assert [ids[0] for ids in found.ids] == [ids[0] for ids in exact.ids]
    np.testing.assert_allclose([line[0] for line in found.scores], [line[0] for line in exact.scores], rtol=1e-6)


def test_a_component_that_half_precision_cannot_hold_rejects_its_row_only(store: PgvectorStore) -> None:
    store.create(CollectionDefinition(2001, Metric.EUCLIDEAN))
    vectors = random_vectors(3, 2001)
    vectors[1, 7] = -70_000.0
    result = store.upsert(records("n", ["a", "b", "c"], vectors))
    assert [(each.id, "beyond ±65504" in each.reason) for each in result.rejected] == [("b", True)]
    assert result.acknowledged == 2
