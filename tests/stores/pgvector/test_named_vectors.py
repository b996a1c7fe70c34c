"""Named vectors in our tables: a column each, whatever they are called, searched by their own index or one by one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from pipeline.worlds import postgres_connection
from vectorferry.core.errors import RecordError, Refused, Unsupported
from vectorferry.core.model import CollectionDefinition, Held, Metric, VectorKind, VectorSpec
from vectorferry.core.records import make_batch
from vectorferry.core.similarity import multi_scores
from vectorferry.core.vector_columns import array_of, column_name
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.pgvector import store as pgvector_store
from vectorferry.stores.pgvector.sql import CATALOG
from vectorferry.stores.pgvector.store import PgvectorStore
from vectorferry.testing.assertions import assert_holds, put_all
from vectorferry.testing.samples import new_name, random_vectors, records

PLAIN = CollectionDefinition(8, Metric.COSINE)


@pytest.fixture
def database(journal_database: str) -> str:
    return journal_database


@pytest.fixture
def store(database: str) -> Iterator[PgvectorStore]:
    made = opened(database)
    yield made
    made.drop()
    made.close()


def opened(database: str) -> PgvectorStore:
    found = PgvectorStore.open(postgres_connection("here", database), new_name("Named"), StoreOptions())
    assert isinstance(found, PgvectorStore)
    return found


def spec(
    name: str, kind: VectorKind, dimension: int | None = 3, metric: Metric = Metric.COSINE, **index: Any
) -> VectorSpec:
    return VectorSpec(name, kind, dimension, metric, index)


def of(*specs: VectorSpec, dimension: int | None = 8) -> CollectionDefinition:
    return CollectionDefinition(dimension, Metric.COSINE, named={each.name: each for each in specs})


@pytest.mark.parametrize(
    "name", ["with space", 'quo"te', "per%cent", "{brace}", "SELECT", "ünï", "namespace", "a:b", "\\", "'"]
)
@pytest.mark.parametrize("kind", VectorKind)
def test_a_vector_may_have_any_name(store: PgvectorStore, name: str, kind: VectorKind) -> None:
    one = spec(name, kind)
    store.create(of(one))
    vector: Any = {
        VectorKind.DENSE: np.ones(3, np.float32),
        VectorKind.MULTI: random_vectors(2, 3),
        VectorKind.SPARSE: {"indices": [4_000_000_000, 1], "values": [0.5, 0.0]},
    }[kind]
    column = array_of(kind, [vector, None], 3)
    batch = make_batch("n", ["a", "b"], random_vectors(2), ["{}"] * 2, named={column_name(one): column})
    put_all(store, batch)
    assert_holds(store, batch)
    if kind is not VectorKind.SPARSE:
        assert store.search("n", np.array([vector]), 5, vector=name).ids == (("a",),)


@pytest.mark.parametrize("name", ["x" * 57, "nul\0"])
def test_a_name_that_no_column_can_have_is_refused(store: PgvectorStore, name: str) -> None:
    definition = of(spec(name, VectorKind.DENSE))
    assert "bytes and no U" in " ".join(store.obstacles(definition))
    with pytest.raises(Refused, match="bytes and no U"):
        store.create(definition)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (spec("a", VectorKind.DENSE, type="tree"), "'a': index type 'tree'"),
        (spec("a", VectorKind.DENSE, 4001, type="hnsw"), "'a': HNSW takes at most 4000"),
        (spec("a", VectorKind.MULTI, m=4), "'a' is multi, and there is no index"),
    ],
)
def test_an_index_that_cannot_be_is_refused_by_name(store: PgvectorStore, one: VectorSpec, message: str) -> None:
    assert message in " ".join(store.obstacles(of(one)))


@pytest.mark.parametrize("metric", Metric)
def test_each_dense_vector_is_searched_by_its_own_index(
    store: PgvectorStore, database: str, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = spec("image", VectorKind.DENSE, 16, metric, m=8)
    store.create(of(one, spec("plain", VectorKind.DENSE, 4, type="none")))
    with psycopg.connect(database) as raw:
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%hnsw%%' ORDER BY 1"
        indexes = [text for (text,) in raw.execute(query, [store.describe().name])]
    assert len(indexes) == 2 and sum('"vector:image"' in text and "m='8'" in text for text in indexes) == 1
    rows = 400
    vectors = random_vectors(rows, 16, seed=3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"r{row:03}" for row in range(rows)]
    column = array_of(VectorKind.DENSE, list(vectors), 16)
    put_all(store, make_batch("n", ids, random_vectors(rows), ["{}"] * rows, named={"vector:image": column}))
    exact = store.search("n", vectors[:5], 3, vector="image")
    assert [line[0] for line in exact.ids] == ids[:5]
    monkeypatch.setattr(pgvector_store, "EXACT_ROWS", 10)
    found = store.search("n", vectors[:5], 3, vector="image", effort=200)
    assert [line[0] for line in found.ids] == ids[:5]
    np.testing.assert_allclose([line[0] for line in found.scores], [line[0] for line in exact.scores], atol=1e-5)


@pytest.mark.parametrize("metric", Metric)
def test_multi_vectors_are_compared_by_maxsim(store: PgvectorStore, metric: Metric) -> None:
    store.create(of(spec("tokens", VectorKind.MULTI, 4, metric)))
    vectors: list[Any] = [random_vectors(1 + row % 4, 4, seed=row) for row in range(12)]
    vectors[4] = np.zeros((2, 4), np.float32)
    vectors[7] = None
    vectors[8] = np.empty((0, 4), np.float32)
    ids = [f"r{row:02}" for row in range(12)]
    column = array_of(VectorKind.MULTI, vectors, 4)
    batch = make_batch("n", ids, random_vectors(12), ["{}"] * 12, named={"multi:tokens": column})
    put_all(store, batch)
    assert_holds(store, batch)
    query = random_vectors(3, 4, seed=77)
    found = store.search("n", [query], 12, vector="tokens")
    there = [row for row in range(12) if row not in (7, 8)]
    scores = multi_scores(metric, query, [vectors[row] for row in there])
    order = np.argsort(-scores, kind="stable")
    assert found.ids[0] == tuple(ids[there[place]] for place in order)
    np.testing.assert_allclose(found.scores[0], scores[order], rtol=1e-5, atol=1e-6)


def test_sparse_vectors_are_kept_and_not_searched(store: PgvectorStore) -> None:
    store.create(of(spec("words", VectorKind.SPARSE, None)))
    for vector in ("words", ""):
        with pytest.raises(Unsupported, match="cannot be searched"):
            store.search("n", [{"indices": [1], "values": [1.0]}], 1, vector=vector)


def test_an_array_of_another_shape_is_an_error_with_its_place(store: PgvectorStore, database: str) -> None:
    store.create(of(spec("tokens", VectorKind.MULTI, 2)))
    put_all(store, records("n", ["a"]))
    name = store.describe().name
    with psycopg.connect(database, autocommit=True) as raw:
        raw.execute(f"""UPDATE "{name}" SET "multi:tokens" = ARRAY[ARRAY['[1,2]'::vector]]""")
    with pytest.raises(RecordError, match="id a: the vector 'tokens' is an array of another shape"):
        store.fetch("n", ["a"])


def test_a_component_beyond_half_precision_is_rejected_by_name(store: PgvectorStore) -> None:
    store.create(of(spec("wide", VectorKind.DENSE, 2001)))
    column = array_of(VectorKind.DENSE, [np.full(2001, 70_000.0, np.float32), np.ones(2001, np.float32)], 2001)
    batch = make_batch("n", ["a", "b"], random_vectors(2), ["{}"] * 2, named={"vector:wide": column})
    assert [(each.id, "'wide'" in each.reason) for each in store.rejections(batch)] == [("a", True)]


def test_a_catalog_of_an_earlier_release_is_read_and_widened_when_it_must_be(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as raw:
        raw.execute("CREATE EXTENSION IF NOT EXISTS vector")
        raw.execute("CREATE SCHEMA IF NOT EXISTS earlier")
        raw.execute(
            f"""CREATE TABLE earlier.{CATALOG} (name text COLLATE "C" PRIMARY KEY, dimension integer NOT NULL, metric text NOT NULL,
            fields json NOT NULL, index json NOT NULL)"""
        )
    connection = postgres_connection("here", database)
    inside = replace(connection, extra={"schema": "earlier"})
    plain, named = (PgvectorStore.open(inside, name, StoreOptions()) for name in ("plain", "named"))
    plain.create(PLAIN)
    assert plain.describe().named == {}
    assert columns(database) == ["name", "dimension", "metric", "fields", "index"]
    named.create(of(spec("image", VectorKind.DENSE), dimension=None))
    assert (named.describe().dimension, named.describe().named.keys()) == (None, {"image"})
    assert columns(database)[-1] == "named"
    assert plain.describe().dimension == 8
    for each in (plain, named):
        each.drop()
        each.close()


def columns(database: str) -> list[str]:
    query = """SELECT column_name FROM information_schema.columns
    WHERE table_schema = 'earlier' AND table_name = %s ORDER BY ordinal_position"""
    with psycopg.connect(database) as raw:
        return [name for (name,) in raw.execute(query, [CATALOG])]


def test_the_server_counts_each_vector_by_itself(store: PgvectorStore) -> None:
    store.create(of(spec("image", VectorKind.DENSE), spec("tokens", VectorKind.MULTI), dimension=None))
    one = random_vectors(1, 3)
    columns = {
        "vector:image": array_of(VectorKind.DENSE, [one[0], None, one[0]], 3),
        "multi:tokens": array_of(VectorKind.MULTI, [None, None, one], 3),
    }
    put_all(store, make_batch("n", ["a", "b", "c"], None, ["{}"] * 3, named=columns))
    found = store.inventory(["n", "nowhere"], most=1)
    assert found.held == {
        "n": Held(3, 0, {"multi:tokens": 1, "vector:image": 2}),
        "nowhere": Held(0, 0, {}),
    }
    assert not found.lengths
