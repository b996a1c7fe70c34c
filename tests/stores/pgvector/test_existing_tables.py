"""Tables as people have them: keys of every kind, every type of column, and what stands in the way, told by name."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.pgvector.test_pgvector import connection_of
from stores.pgvector.test_tables import table
from vectorferry.core.errors import FilterError, RecordError, Refused
from vectorferry.core.filters import matches, parse_filter
from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder, KeyRange, Metric, Side
from vectorferry.core.records import canonical_json, make_batch, parse_json
from vectorferry.local.servers.postgres import Postgres
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.pgvector.column_types import nul_in, whole_double_in
from vectorferry.stores.pgvector.quoting import quoted
from vectorferry.stores.registry import open_store
from vectorferry.stores.row_limits import without
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import QUICK, new_name, random_vectors, records

Open = Callable[..., VectorStore]
Db = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    yield postgres.create_database("existing")
    postgres.drop_database("existing")


@pytest.fixture(scope="module")
def connection(url: str) -> Connection:
    return connection_of(url)


@pytest.fixture
def db(url: str) -> Iterator[Db]:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE EXTENSION IF NOT EXISTS vector; DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app")
        yield session


@pytest.fixture
def opened(connection: Connection, db: Db) -> Iterator[Open]:
    """Opens a table of the schema app, closed at the end."""
    with ExitStack() as stack:

        def opener(
            name: str = "docs",
            *,
            side: Side = "target",
            written: bool = True,
            at: Connection = connection,
            **parts: Any,
        ) -> VectorStore:
            options = StoreOptions(
                table=table(**{"schema": "app", "metric": "cosine", **parts}), side=side, written=written
            )
            store = open_store(at, name, options)
            stack.callback(store.close)
            return store

        yield opener


def vector_text(number: int, dimension: int = 4) -> str:
    return "[" + ",".join(map(str, np.random.default_rng(number).integers(-8, 8, dimension))) + "]"


def listed(store: VectorStore, span: KeyRange) -> list[str]:
    return list(chain.from_iterable(store.list_ids(span)))


TEXTS = ["a", "B", "b", "Z", "ä", "z", "a b", "'", '"', "%s", "é", "日本", "A", "a-b", "ab"]
NUMBERS = [0, -1, 1, 9, 10, -10, 1 << 62, -(1 << 63), (1 << 63) - 1, 100]
KEYS: Mapping[str, tuple[str, list[Any], KeyOrder]] = {
    "text": ("id text PRIMARY KEY", TEXTS, KeyOrder.ID),
    "varchar in bytes": ('id varchar(20) COLLATE "C" PRIMARY KEY', TEXTS, KeyOrder.ID),
    "text by locale": ('id text COLLATE "C.utf8" PRIMARY KEY', TEXTS, KeyOrder.ID),
    "uuid": (
        "id uuid PRIMARY KEY",
        [f"{n:08x}-0000-4000-8000-{n * 7 % 5:012x}" for n in (5, 1, 255, 16, 9)],
        KeyOrder.ID,
    ),
    "bigint": ("id bigint PRIMARY KEY", NUMBERS, KeyOrder.NUMBER),
    "smallint": ("id smallint PRIMARY KEY", [3, -3, 30, 300], KeyOrder.NUMBER),
    "domain": ("id app.code PRIMARY KEY", ["b", "a", "C"], KeyOrder.ID),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_read_in_order_and_in_ranges(opened: Open, db: Db, kind: str) -> None:
    column, values, order = KEYS[kind]
    db.execute("CREATE DOMAIN app.code AS text")
    db.execute(f"CREATE TABLE app.docs ({column}, embedding vector(4) NOT NULL)")
    for number, value in enumerate(values):
        db.execute("INSERT INTO app.docs VALUES (%s, %s)", [value, vector_text(number)])
    store = opened()
    assert store.capabilities.key_order is order
    assert store.capabilities.lists_ranges is (kind != "text by locale")
    check_order(store, "", [str(value) for value in values], order)


def check_order(store: VectorStore, namespace: str, ids: list[str], order: KeyOrder) -> None:
    """Listing, ranges, splits and fetches agree with the order of keys."""
    expected = sorted(ids, key=lambda id_: key_of(order, namespace, id_).encode())
    keys = [key_of(order, namespace, id_) for id_ in expected]
    assert listed(store, KeyRange(namespace)) == expected
    for start in range(len(keys)):
        assert listed(store, KeyRange(namespace, keys[start])) == expected[start:]
        assert listed(store, KeyRange(namespace, None, keys[start])) == expected[:start]
        assert listed(store, KeyRange(namespace, keys[start] + "\0")) == expected[start + 1 :]
        assert listed(store, KeyRange(namespace, None, keys[start] + "\0")) == expected[: start + 1]
    between = keys[1] + "\x05"
    assert listed(store, KeyRange(namespace, between)) == [
        i for i, key in zip(expected, keys, strict=True) if key > between
    ]
    spans = store.split(namespace, 2)
    assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]
    scanned = [batch.column("id").to_pylist() for span in spans for batch in store.scan(span, batch_rows=2)]
    assert list(chain.from_iterable(scanned)) == expected
    asked = ["no such id", *reversed(expected), "[1,2]", "01", expected[0]]
    assert store.fetch(namespace, asked).column("id").to_pylist() == expected[::-1]


def test_several_columns_make_one_id(opened: Open, db: Db) -> None:
    db.execute("""CREATE TABLE app.docs (shop text COLLATE "C", number int, code uuid, embedding vector(4),
        PRIMARY KEY (shop, number, code))""")
    keys = [(shop, number) for shop in ("a", "a b", "\x01", "é", "") for number in (-5, 3, 20)]
    for row, (shop, number) in enumerate(keys):
        db.execute("INSERT INTO app.docs VALUES (%s, %s, %s, %s)", [shop, number, f"{row:032x}", vector_text(row)])
    code = "00000000-0000-0000-0000-0000000000{:02x}"
    ids = [canonical_json({"v": [*key, code.format(row)]})[5:-1] for row, key in enumerate(keys)]
    store = opened()
    check_order(store, "", ids, KeyOrder.PARTS)
    found = store.search("", random_vectors(1, 4), 3)
    assert set(found.ids[0]) <= set(ids)
    put_all(store, records("", ['["new",7,"6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10"]', ids[0]], random_vectors(2, 4)))
    assert store.count() == len(ids) + 1
    store.delete("", ids[:3])
    assert store.count() == len(ids) - 2
    told = [
        each.reason
        for each in store.rejections(records("", ["x", '["a","b","c"]', '["a", 1,"b"]'], random_vectors(3, 4)))
    ]
    assert told == [
        "the id is no JSON array of 3 values without spaces",
        "the id's value for 'number' is no number",
        told[0],
    ]


@pytest.mark.parametrize("key", ["tenant, id", "id"])
def test_namespaces_in_a_column(opened: Open, db: Db, key: str) -> None:
    db.execute(f"CREATE TABLE app.docs (id int, tenant int NOT NULL, embedding vector(4), PRIMARY KEY ({key}))")
    store = opened(namespace="tenant")
    assert not store.capabilities.default_namespace
    batch = records("7", ["1", "2"], random_vectors(2, 4))
    put_all(store, batch)
    result = store.upsert(records("8", ["2", "3"], random_vectors(2, 4)))
    assert [each.id for each in result.rejected] == ([] if key == "tenant, id" else ["2"])
    assert dict(store.describe().namespaces) == {"7": 2, "8": 2 if key == "tenant, id" else 1}
    assert store.fetch("7", ["1", "2"]).equals(batch)
    store.delete("8", ["1", "2"])
    assert store.count("7") == 2
    told = store.rejections(records("acme", ["1"], random_vectors(1, 4)))
    assert "'acme' is no whole number" in told[0].reason
    assert store.count("acme") == 0 and len(store.fetch("acme", ["1"])) == 0
    assert [each.id for each in store.rejections(two_namespaces())] == ([] if key == "tenant, id" else ["5"])


def two_namespaces() -> Any:
    return make_batch(["1", "2"], ["5", "5"], random_vectors(2, 4), ["{}", "{}"])


def test_null_is_the_default_namespace(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id text PRIMARY KEY, tenant text, embedding vector(4))")
    store = opened(namespace="tenant")
    put_all(store, records("", ["a"], random_vectors(1, 4)))
    put_all(store, records("t", ["b"], random_vectors(1, 4)))
    assert db.execute("SELECT id, tenant FROM app.docs ORDER BY id").fetchall() == [("a", None), ("b", "t")]
    assert listed(store, KeyRange("")) == ["a"]
    db.execute("INSERT INTO app.docs VALUES ('c', '', NULL)")
    with pytest.raises(Refused, match="tenant is '' in some rows and may be NULL in others"):
        store.describe()


def test_a_constant_namespace(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id text PRIMARY KEY, embedding vector(4))")
    store = opened(namespace={"constant": "all"})
    put_all(store, records("all", ["a"], random_vectors(1, 4)))
    assert dict(store.describe().namespaces) == {"all": 1}
    assert "one namespace, 'all'" in store.rejections(records("", ["a"], random_vectors(1, 4)))[0].reason


# Types of columns

TYPES: Mapping[str, tuple[list[Any], list[Any]]] = {
    "text": (["", "a", "é%s"], [1, True, None, ["a"], "nul\0"]),
    "varchar(3)": (["", "abc"], ["abcd", 1]),
    "char(3)": (["abc", "a  "], ["a", "abcd"]),
    "citext_": ([], []),
    "app.state": (["new", "o'ld"], ["none", 1]),
    "boolean": ([True, False], [1, "true", None]),
    "smallint": ([0, 32767, -32768], [32768, 1.5, True, "1"]),
    "integer": ([0, 2147483647], [2147483648, 0.5]),
    "bigint": ([(1 << 63) - 1, -(1 << 63), 1 << 60], [1 << 63, 1e17]),
    "real": ([0.1, 1e-30, 16777216, "NaN"], [16777217, 1e300, 0.123456789, "x"]),
    "double precision": (
        [0.1, 4.359215722796014e16, 1e300, 1e17, 5e-324, "Infinity", 1 << 52],
        [(1 << 60) + 1, "1", 1 << 60],
    ),
    "numeric": (
        [0, 0.1, 1 << 63, "0.12345678901234567890", "123456789012345678901234567890", "NaN"],
        [1e17, 1e300, 5e-324, "1.5", "x", "01"],
    ),
    "numeric(6,2)": ([1.25, -9999.99, 3], [1.255, 10000, "1.25", "NaN ", "Infinity"]),
    "date": (["2024-02-29", "infinity"], ["2023-02-29", "2024-2-29", "2024-01-01T00:00:00Z", 1]),
    "time": (["00:00:00", "23:59:59.5"], ["24:00:01", "1:00:00", "12:00:00.50"]),
    "timestamp": (["2024-02-29T12:00:00.123456", "-infinity"], ["2024-02-29T12:00:00Z", "2024-02-29 12:00:00"]),
    "timestamp(0)": (["2024-02-29T12:00:00"], ["2024-02-29T12:00:00.5"]),
    "timestamptz": (["2024-02-29T12:00:00Z", "2024-02-29T12:00:00.5Z"], ["2024-02-29T12:00:00+02:00", "2024-02-29", 5]),
    "uuid": (["6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10"], ["6D1C9F5E-0B5A-5A8E-9D0D-2F4F2C1B7A10", "x"]),
    "bytea": (["", "AP8="], ["AP8", "é", 1]),
    "jsonb": ([None, {"a": [1, None]}, "x", 1 << 60, 1e300, [], 0.1], [1e17, "nul\0", {"nul\0": 1}]),
    "json": ([None, {"a": [1, None]}, 1e17], ["nul\0"]),
    "text[]": ([[], ["a", "", 'b"\\,{}', None, "NULL"]], ["a", [1], [["a"]]]),
    "real[]": ([[0.1, None, "NaN", 1e-30], []], [[1e300]]),
    "double precision[]": ([[0.1, 4.359215722796014e16, 1]], [["x"]]),
    "integer[]": ([[1, None, -5]], [[1.5], ["1"]]),
    "timestamptz[]": ([[], ["2024-02-29T12:00:00Z", None]], [["2024-02-29T12:00:00+02:00"]]),
    "numeric[]": ([[1, 0.5, "0.12345678901234567890"]], [["x"], [1e300]]),
    "bytea[]": ([["AP8=", None]], [["AP8"]]),
    "app.state[]": ([["new", "o'ld"]], [["none"]]),
}


@pytest.mark.parametrize("rest", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in TYPES if TYPES[kind][0]])
def test_a_column_holds_a_value_or_leaves_it_to_the_metadata(opened: Open, db: Db, kind: str, rest: bool) -> None:
    kept, other = TYPES[kind]
    metadata = ", metadata jsonb NOT NULL" if rest else ""
    db.execute("CREATE TYPE app.state AS ENUM ('new', 'o''ld')")
    db.execute(f"CREATE TABLE app.docs (id text PRIMARY KEY, embedding vector(4), value {kind}{metadata})")
    values = [{"value": value} for value in [*kept, *other]] + [{}]
    batch = records("", [f"{number:02}" for number in range(len(values))], random_vectors(len(values), 4), values)
    store = opened()
    result = store.upsert(batch)
    rejected = {each.row: each.reason for each in result.rejected}
    there = store.fetch("", batch.column("id").to_pylist())
    expected = [row for row in range(len(batch)) if row not in rejected]
    assert there.to_pylist() == batch.take(expected).to_pylist()
    in_column = db.execute("SELECT count(value) FROM app.docs").fetchone()
    assert in_column == (len(kept),)
    if rest:
        bound = {
            row
            for row, each in enumerate(values)
            if "nul" in str(each) or (kind != "json" and each.get("value") == 1e17 and kind != "double precision")
        }
        assert set(rejected) == bound
    else:
        assert set(rejected) == set(range(len(kept), len(kept) + len(other)))
        assert all("metadata 'value'" in reason for reason in rejected.values())


def test_what_the_types_hold_filters_find(opened: Open, db: Db) -> None:
    columns = {f"c{number}": kind for number, kind in enumerate(kind for kind in TYPES if TYPES[kind][0])}
    db.execute("CREATE TYPE app.state AS ENUM ('new', 'o''ld')")
    text = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    db.execute(f"CREATE TABLE app.docs (id text PRIMARY KEY, embedding vector(4), {text}, metadata jsonb)")
    rows = {
        f"{name}-{number}": {name: value, "other": [value, "x"]}
        for name, kind in columns.items()
        for number, value in enumerate(chain(*TYPES[kind]))
        if not nul_in(value) and not whole_double_in(value)
    }
    store = opened()
    put_all(store, records("", list(rows), random_vectors(len(rows), 4), list(rows.values())))
    scalars = [
        v
        for kind in columns.values()
        for v in chain(*TYPES[kind])
        if isinstance(v, (str, int, float)) and not whole_double_in(v)
    ]
    scalars = [value for value in scalars if not nul_in(value)]
    names = [*columns, "other", "missing"]

    @QUICK
    @given(
        st.sampled_from(names),
        st.sampled_from(["$eq", "$ne", "$in", "$nin", "$exists", "$gt", "$lte"]),
        st.sampled_from(scalars),
    )
    def same(name: str, operator: str, value: Any) -> None:
        operand = True if operator == "$exists" else [value, "x"] if operator in ("$in", "$nin") else value
        try:
            where = parse_filter({name: {operator: operand}})
        except FilterError:
            return
        expected = {id_ for id_, metadata in rows.items() if matches(where, metadata)}
        assert store.matching("", where, 10_000) == expected
        assert set(store.search("", random_vectors(1, 4), len(rows), where=where).ids[0]) == expected

    same()


# Writing

KEPT = """CREATE TABLE app.docs (id bigint PRIMARY KEY, embedding vector(4), title text, note text DEFAULT 'fresh',
    twice text GENERATED ALWAYS AS (title || title) STORED, changed int NOT NULL DEFAULT 0)"""


def test_columns_that_are_not_named_are_left_alone(opened: Open, db: Db) -> None:
    db.execute(KEPT)
    db.execute(
        "INSERT INTO app.docs VALUES (1, '[1,2,3,4]', 'one', 'mine', DEFAULT, 5), (2, NULL, 'two', NULL, DEFAULT, 6)"
    )
    store = opened()
    put_all(store, records("", ["1", "2", "3"], random_vectors(3, 4), [{"title": f"new {n}"} for n in range(3)]))
    store.update("", "1", vector=random_vectors(1, 4, 9)[0], metadata='{"title":"newer"}')
    found = db.execute("SELECT id, title, note, twice, changed FROM app.docs ORDER BY id").fetchall()
    assert found == [
        (1, "newer", "mine", "newernewer", 5),
        (2, "new 1", None, "new 1new 1", 6),
        (3, "new 2", "fresh", "new 2new 2", 0),
    ]
    assert np.array_equal(store.fetch("", ["1"]).column("vector")[0].as_py(), random_vectors(1, 4, 9)[0])
    notes = " ".join(store.describe().notes)
    assert "column twice is computed" in notes and "column note has a default, and is left alone" in notes


def test_an_update_keeps_what_it_does_not_name(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), title text, year int, metadata jsonb)")
    store = opened()
    put_all(store, records("", ["1"], random_vectors(1, 4), [{"title": "t", "year": 7, "a": 1, "b": None}]))
    store.update("", "1", metadata='{"a":[2],"year":"late"}')
    assert parse_json(store.fetch("", ["1"]).column("metadata")[0].as_py()) == {
        "title": "t",
        "year": "late",
        "a": [2],
        "b": None,
    }
    store.update("", "1", metadata='{"year":8}')
    assert parse_json(store.fetch("", ["1"]).column("metadata")[0].as_py()) == {
        "title": "t",
        "year": 8,
        "a": [2],
        "b": None,
    }
    store.update("", "2", metadata='{"year":8}')
    assert store.count() == 1


def test_what_the_table_refuses_is_a_rejection_of_that_row(opened: Open, db: Db) -> None:
    db.execute(
        """CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), year int CHECK (year < 3000), code text UNIQUE)"""
    )
    store = opened()
    rows = [{"year": 1, "code": "a"}, {"year": 3000, "code": "b"}, {"year": 2, "code": "a"}, {"year": 3, "code": "c"}]
    result = store.upsert(records("", ["1", "2", "3", "4"], random_vectors(4, 4), rows))
    assert [(each.row, each.id) for each in result.rejected] == [(1, "2"), (2, "3")]
    assert "check constraint" in result.rejected[0].reason and "unique constraint" in result.rejected[1].reason
    assert result.acknowledged == 2 and store.count() == 2


def test_only_rows_within_the_condition_are_there(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), title text, deleted_at timestamptz)")
    db.execute(
        "INSERT INTO app.docs VALUES (1, '[1,1,1,1]', '100% a', NULL), (2, '[1,1,1,1]', 'b', now()), (3, '[1,1,1,2]', '5% c', NULL)"
    )
    store = opened(where="deleted_at IS NULL AND title LIKE '%\\%%'", columns=["title"])
    assert listed(store, KeyRange("")) == ["1", "3"] and store.count() == 2
    result = store.upsert(records("", ["1", "2", "3"], random_vectors(3, 4), [{"title": f"{n}%"} for n in range(3)]))
    assert [(each.id, "table.where" in each.reason) for each in result.rejected] == [("2", True)]
    assert db.execute("SELECT title FROM app.docs ORDER BY id").fetchall() == [("0%",), ("b",), ("2%",)]
    store.delete("", ["1", "2"])
    assert db.execute("SELECT id FROM app.docs ORDER BY id").fetchall() == [(2,), (3,)]


def test_an_update_out_of_the_condition_is_refused(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), state text)")
    store = opened(where="state <> 'gone'")
    put_all(store, records("", ["1"], random_vectors(1, 4), [{"state": "here"}]))
    with pytest.raises(Refused, match=r"would not fulfil `table\.where`"):
        store.update("", "1", metadata='{"state":"gone"}')
    assert store.fetch("", ["1"]).column("metadata").to_pylist() == ['{"state":"here"}']


def test_a_key_in_a_column_and_in_the_metadata_is_named(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), title text, metadata jsonb)")
    db.execute("""INSERT INTO app.docs VALUES (1, '[1,1,1,1]', 'a', '{"title": "b"}')""")
    with pytest.raises(RecordError, match=r"id 1: .*the key 'title' is there twice"):
        opened().fetch("", ["1"])
    named = opened(columns={"heading": "title"})
    assert named.fetch("", ["1"]).column("metadata")[0].as_py() == '{"heading":"a","title":"b"}'


@pytest.mark.parametrize("column", ["halfvec(4)", "vector", "halfvec"])
def test_other_columns_of_vectors(opened: Open, db: Db, column: str) -> None:
    db.execute(f"CREATE TABLE app.docs (id int PRIMARY KEY, embedding {column})")
    store = opened()
    exact = np.array([[1.5, -0.25, 1024, 0]], np.float32)
    put_all(store, records("", ["1"], exact))
    assert store.describe().dimension == 4
    assert np.array_equal(store.fetch("", ["1"]).column("vector").to_pylist(), exact)
    third = np.full((1, 4), 1 / 3, np.float32)
    half = column.startswith("halfvec")
    assert [each.reason for each in store.rejections(records("", ["2"], third))] == (
        [f"the column 'embedding' ({column}) would round the vector, which `table.rounding: allow` allows"]
        if half
        else []
    )
    rounding = opened(rounding="allow")
    put_all(rounding, records("", ["2"], third))
    able = rounding.capabilities.tolerances.get("", 0)
    assert able == (2**-11 if half else 0)
    assert np.abs(np.array(rounding.fetch("", ["2"]).column("vector").to_pylist()) - third).max() <= able / 3
    assert rounding.rejections(records("", ["3"], np.full((1, 4), 70_000, np.float32))) or not half
    assert len(store.search("", third, 5).ids[0]) == 2
    db.execute("INSERT INTO app.docs VALUES (5, '[1,2]')") if column == "vector" else None
    if column == "vector":
        info = opened().inventory([""], most=10)
        assert {floats: (held.records, held.first) for floats, held in info.lengths.items()} == {
            2: (1, ("(default)/5",)),
            4: (2, ("(default)/1", "(default)/2")),
        }
        with pytest.raises(RecordError, match="id 5: the vector has 2 dimensions, most have 4"):
            opened().fetch("", ["5"])


def test_sparse_vectors(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), terms sparsevec(1000))")
    store = opened()
    assert store.capabilities.sparse
    sparse = [
        {"indices": [0, 999], "values": [0.5, -1.25]},
        None,
        {"indices": [1000], "values": [1.0]},
        {"indices": [1], "values": [0.0]},
    ]
    result = store.upsert(records("", list("1234"), random_vectors(4, 4), sparse=sparse))
    assert [(each.id, each.reason) for each in result.rejected] == [
        ("3", "the sparse vector has an index beyond sparsevec(1000)"),
        ("4", "the sparse vector holds a zero, which sparsevec leaves out"),
    ]
    assert store.fetch("", ["1", "2"]).column("sparse").to_pylist() == sparse[:2]
    assert db.execute("SELECT terms::text FROM app.docs ORDER BY id").fetchall() == [
        ("{1:0.5,1000:-1.25}/1000",),
        (None,),
    ]


@pytest.mark.parametrize(
    ("operators", "metric"),
    [("vector_cosine_ops", Metric.COSINE), ("vector_ip_ops", Metric.DOT), ("vector_l2_ops", Metric.EUCLIDEAN)],
)
@pytest.mark.parametrize("method", ["hnsw", "ivfflat", "over half"])
def test_the_index_tells_the_metric(opened: Open, db: Db, method: str, operators: str, metric: Metric) -> None:
    db.execute('CREATE TABLE app.docs (id int PRIMARY KEY, "the ""vector""" vector(4))')
    what = f'"the ""vector""" {operators}'
    if method == "over half":
        what = f'("the ""vector"""::halfvec(4)) {operators.replace("vector", "halfvec")}'
    db.execute(
        "INSERT INTO app.docs SELECT n, ARRAY[n % 7, n % 11, n % 13, 1]::real[]::vector FROM generate_series(1, 11000) AS n"
    )
    db.execute(f"CREATE INDEX ON app.docs USING {'hnsw' if method == 'over half' else method} ({what})")
    store = opened(metric=None)
    assert store.describe().metric is metric
    query = np.array([[3, 4, 5, 1]], np.float32)
    found = store.search("", query, 5, effort=100)
    exact = opened(metric=None, where="id > 0 OR true")
    assert len(found.ids[0]) == 5
    assert found.scores[0][0] == pytest.approx(exact.search("", query, 5, effort=200).scores[0][0], rel=0.05)


# What stands in the way

WAYS: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "no key": ("(id int, embedding vector(4))", {}, "no primary key"),
    "key not unique": ("(id int NOT NULL, embedding vector(4))", {"key": "id"}, "nothing keeps \\(id\\) unique"),
    "key may be null": ("(id int UNIQUE, embedding vector(4))", {"key": "id"}, "'id' may be NULL"),
    "key of a date": ("(id date PRIMARY KEY, embedding vector(4))", {}, "'id' has the type date"),
    "unknown type": (
        "(id int PRIMARY KEY, embedding vector(4), words tsvector)",
        {"columns": ["words"]},
        "'words' has the type tsvector",
    ),
    "bits": (
        "(id int PRIMARY KEY, embedding vector(4), bits bit(8))",
        {"columns": ["bits"]},
        "'bits' has the type bit\\(8\\)",
    ),
    "bits as vector": (
        "(id int PRIMARY KEY, embedding bit(8))",
        {"vector": "embedding"},
        "'embedding' has the type bit\\(8\\)",
    ),
    "no such column": (
        "(id int PRIMARY KEY, embedding vector(4))",
        {"namespace": "tenant"},
        "no column 'tenant'; there are id, embedding",
    ),
    "not null": (
        "(id int PRIMARY KEY, embedding vector(4), owner text NOT NULL)",
        {"columns": []},
        "'owner' must not be NULL, and nothing fills",
    ),
    "identity": (
        "(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, embedding vector(4))",
        {},
        "'id' is generated always",
    ),
    "read only type": (
        "(id int PRIMARY KEY, embedding vector(4), span interval)",
        {"columns": ["span"]},
        "type interval can be read, and not",
    ),
    "no metric": ("(id int PRIMARY KEY, embedding vector(4))", {"metric": None}, "no index tells how the vectors"),
    "deferrable": (
        "(id int NOT NULL UNIQUE DEFERRABLE, embedding vector(4))",
        {"key": "id"},
        "nothing keeps \\(id\\) unique",
    ),
}


@pytest.mark.parametrize("what", WAYS)
def test_what_stands_in_the_way_is_told(opened: Open, db: Db, what: str) -> None:
    columns, parts, reason = WAYS[what]
    db.execute(f"CREATE TABLE app.docs {columns}")
    store = opened(**parts)
    assert len(store.obstacles()) == 1
    with pytest.raises(Refused, match=reason):
        store.describe()


def test_a_source_is_told_what_it_would_leave_behind(opened: Open, db: Db) -> None:
    db.execute(
        "CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), other vector(4), words tsvector, title text)"
    )
    with pytest.raises(Refused, match="'words' has the type tsvector"):
        opened(side="source", written=False).describe()
    assert opened(side="source", written=False, columns=["title"]).describe().named == {}
    notes = opened(side="source", written=False, columns=["title"]).describe().notes
    assert notes[-1] == "columns that `table.columns` leaves behind: other, words"


def test_rights_and_row_security_are_told(opened: Open, db: Db, connection: Connection) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), tenant text)")
    db.execute("DROP ROLE IF EXISTS reader")
    db.execute("CREATE ROLE reader LOGIN PASSWORD 'reads'; GRANT USAGE ON SCHEMA app TO reader")
    reader = Connection("pg", "postgres", connection.host, connection.port, "reader", "reads", connection.schema)
    try:
        assert (
            "the right to read id, embedding, tenant is missing"
            in opened(at=reader, side="source", written=False).obstacles()[0]
        )
        db.execute("GRANT SELECT ON app.docs TO reader")
        source = opened(at=reader, side="source", written=False)
        assert source.obstacles() == [] and source.describe().rows == 0
        assert "GRANT INSERT, UPDATE, DELETE ON app.docs" in opened(at=reader).obstacles()[0]
        db.execute("GRANT ALL ON app.docs TO reader; ALTER TABLE app.docs ENABLE ROW LEVEL SECURITY")
        with pytest.raises(Refused, match="row-level security is active for this login"):
            opened(at=reader, side="source", written=False).describe()
        assert opened().obstacles() == []
    finally:
        db.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_views_and_partitioned_tables(opened: Open, db: Db) -> None:
    db.execute("""CREATE TABLE app.docs (tenant text NOT NULL, id int, embedding vector(4), title text, PRIMARY KEY (tenant, id))
        PARTITION BY LIST (tenant); CREATE TABLE app.docs_a PARTITION OF app.docs FOR VALUES IN ('a');
        CREATE TABLE app.docs_b PARTITION OF app.docs DEFAULT;
        CREATE VIEW app.seen AS SELECT id, embedding, title, tenant FROM app.docs WHERE title IS NOT NULL""")
    store = opened(namespace="tenant")
    before = store.change_token("a")
    put_all(store, records("a", ["1", "2"], random_vectors(2, 4), [{"title": "x"}, {}]))
    put_all(store, records("b", ["2"], random_vectors(1, 4), [{"title": "y"}]))
    assert store.change_token("a") not in (before, None)
    assert store.change_token("a") == store.change_token("a")
    assert dict(store.describe().namespaces) == {"a": 2, "b": 1}
    with pytest.raises(Refused, match="a view has no primary key"):
        opened("seen", side="source", written=False, namespace="tenant").describe()
    view = opened("seen", side="source", written=False, namespace="tenant", key="id")
    assert dict(view.describe().namespaces) == {"a": 1, "b": 1}
    assert view.change_token("a") is None
    assert view.fetch("a", ["1", "2"]).to_pylist() == store.fetch("a", ["1"]).to_pylist()
    assert "app.seen is no table" in opened("seen", key="id").obstacles()[0]


@pytest.mark.parametrize("kind", ["int", "text"])
def test_a_view_in_which_several_rows_have_one_key_says_so_and_reads_none_of_them(
    opened: Open, db: Db, kind: str
) -> None:
    """Numbers are read in pages by the key, text by another order in ids that are listed first."""
    db.execute(f"""CREATE TABLE app.docs (id {kind}, part int, embedding vector(4), tenant text, PRIMARY KEY (id, part));
        CREATE VIEW app.seen AS SELECT * FROM app.docs;
        INSERT INTO app.docs SELECT n, 0, ARRAY[n, 1, 2, 3]::real[]::vector, 'a' FROM generate_series(1, 9) AS n""")
    parts: dict[str, Any] = {"key": "id", "namespace": "tenant", "columns": []}
    view = opened("seen", side="source", written=False, **parts)
    assert not view.capabilities.unique_keys and not view.inventory(["a"], most=0).unread
    db.execute("INSERT INTO app.docs VALUES (4, 1, '[1,2,3,4]', 'a'), (5, 1, '[1,2,3,4]', 'b')")
    (told,) = view.inventory(["a", "b"], most=0).unread
    assert told.startswith("1 keys stand for several rows each (a/'4' has 2): name columns") and "`table.key`" in told
    assert not view.inventory(["b"], most=0).unread
    assert dict(view.describe().namespaces) == {"a": 10, "b": 1}
    for rows in (1, 2, 3, 4, 5, 100):
        with pytest.raises(RecordError, match="several rows have the key '4'"):
            list(view.scan(KeyRange("a"), batch_rows=rows))
    with pytest.raises(RecordError, match="several rows have the key '4'"):
        view.fetch("a", ["1", "4"])
    assert view.fetch("a", ["3", "5"]).column("id").to_pylist() == ["3", "5"]
    assert [id_ for batch in view.scan(KeyRange("b")) for id_ in batch.column("id").to_pylist()] == ["5"]
    assert (
        not opened("seen", side="source", written=False, **{**parts, "key": ["id", "part"]})
        .inventory(["a"], most=0)
        .unread
    )


def test_a_token_changes_with_every_change(opened: Open, db: Db) -> None:
    db.execute(KEPT)
    store = opened()
    tokens = [store.change_token("")]
    for statement in (
        "INSERT INTO app.docs (id) VALUES (1)",
        "UPDATE app.docs SET title = 'x'",
        "UPDATE app.docs SET title = 'x'",
        "DELETE FROM app.docs",
        "INSERT INTO app.docs (id) VALUES (1)",
        "TRUNCATE app.docs",
    ):
        db.execute(statement)
        tokens.append(store.change_token(""))
        assert tokens[-1] == store.change_token("")
    assert all(one != next_one for one, next_one in itertools.pairwise(tokens))


# Tables of libraries

LANGCHAIN = """CREATE TABLE app.langchain_pg_collection (uuid uuid PRIMARY KEY, name varchar NOT NULL UNIQUE, cmetadata json);
    CREATE TABLE app.langchain_pg_embedding (id varchar PRIMARY KEY,
        collection_id uuid REFERENCES app.langchain_pg_collection ON DELETE CASCADE, embedding vector, document varchar, cmetadata jsonb);
    INSERT INTO app.langchain_pg_collection VALUES ('00000000-0000-4000-8000-000000000001', 'news'),
        ('00000000-0000-4000-8000-000000000002', 'mail 100%');
    INSERT INTO app.langchain_pg_embedding SELECT 'id-' || n, ('00000000-0000-4000-8000-00000000000' || (1 + n % 2))::uuid,
        ARRAY[n, 1, 2]::real[]::vector, 'words ' || n, jsonb_build_object('page', n) FROM generate_series(1, 7) AS n"""


def test_langchain_s_collections_are_namespaces(opened: Open, db: Db) -> None:
    db.execute(LANGCHAIN)
    store = opened("langchain_pg_embedding", metric=None)
    info = store.describe()
    assert (info.dimension, info.metric, dict(info.namespaces)) == (3, Metric.COSINE, {"news": 3, "mail 100%": 4})
    assert info.notes[1] == "it has the shape of LangChain's PGVector" and "by cosine" in info.notes[2]
    found = store.fetch("news", ["id-2", "id-1"])
    assert [(row["id"], row["metadata"]) for row in found.to_pylist()] == [("id-2", '{"document":"words 2","page":2}')]
    put_all(store, records("new one", ["x"], random_vectors(1, 3), [{"document": "d", "tag": ["a"]}]))
    row = db.execute("""SELECT e.document, e.cmetadata, c.name FROM app.langchain_pg_embedding AS e
        JOIN app.langchain_pg_collection AS c ON c.uuid = collection_id WHERE e.id = 'x'""").fetchone()
    assert row == ("d", {"tag": ["a"]}, "new one")
    assert store.search("new one", random_vectors(1, 3), 5).ids == (("x",),)
    assert [each.id for each in store.upsert(records("news", ["x"], random_vectors(1, 3))).rejected] == ["x"]
    assert store.change_token("news") is None
    store.delete("news", ["id-1", "id-2"])
    assert store.count() == 7 and store.count("news") == 2


def test_a_new_collection_of_langchain_s_is_made_once(opened: Open, db: Db) -> None:
    db.execute(LANGCHAIN)
    db.execute("ALTER TABLE app.langchain_pg_collection DROP CONSTRAINT langchain_pg_collection_name_key")
    store = opened("langchain_pg_embedding")
    store.describe()
    batches = [records("fresh", [f"f{number}"], random_vectors(1, 3)) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert not any(result.rejected for result in pool.map(store.upsert, batches))
    assert db.execute("SELECT count(*) FROM app.langchain_pg_collection WHERE name = 'fresh'").fetchone() == (1,)
    assert store.count("fresh") == 16


def test_other_libraries_tables(opened: Open, db: Db) -> None:
    db.execute("""CREATE TABLE app.data_llama (id bigserial PRIMARY KEY, text varchar NOT NULL, metadata_ json, node_id varchar,
            embedding vector(3), text_search_tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', text)) STORED);
        INSERT INTO app.data_llama (text, metadata_, node_id, embedding)
            VALUES ('t', '{"_node_type": "TextNode", "n": 1.0}', 'u', '[1,2,3]');
        CREATE TABLE app.documents (id bigserial PRIMARY KEY, content text, metadata jsonb, embedding vector(3));
        INSERT INTO app.documents (content, metadata, embedding) VALUES ('c', '{"a": 1}', '[1,2,3]');
        CREATE TABLE app.blog_embedding_store (embedding_uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), id int NOT NULL,
            chunk_seq int NOT NULL, chunk text NOT NULL, embedding vector(3) NOT NULL, UNIQUE (id, chunk_seq));
        INSERT INTO app.blog_embedding_store (id, chunk_seq, chunk, embedding) VALUES (7, 0, 'part', '[1,2,3]');
        CREATE TABLE app.vs (langchain_id uuid PRIMARY KEY, content text NOT NULL, embedding vector(3) NOT NULL, len int,
            langchain_metadata json);
        INSERT INTO app.vs VALUES ('00000000-0000-4000-8000-000000000001', 'w', '[1,2,3]', 4, '{"b": [1]}')""")
    expected = {
        "data_llama": '{"_node_type":"TextNode","n":1,"node_id":"u","text":"t"}',
        "documents": '{"a":1,"content":"c"}',
        "blog_embedding_store": '{"chunk":"part","chunk_seq":0,"id":7}',
        "vs": '{"b":[1],"content":"w","len":4}',
    }
    for name, metadata in expected.items():
        store = opened(name, side="source", metric=None)
        assert store.describe().metric is Metric.COSINE
        [batch] = store.scan(KeyRange(""))
        assert batch.column("metadata").to_pylist() == [metadata]
        assert not store.upsert(batch).rejected
        assert list(store.scan(KeyRange(""))) == [batch]
    chunks = opened("blog_embedding_store", side="source", metric=None, key=["id", "chunk_seq"], columns=["chunk"])
    assert listed(chunks, KeyRange("")) == ["[7,0]"]


def test_vectors_beside_the_first_have_names(opened: Open, db: Db) -> None:
    db.execute("""CREATE TABLE app.docs (id int PRIMARY KEY, embedding vector(4), "title vec" halfvec(3), words sparsevec(50),
        other sparsevec(9), body vector NOT NULL DEFAULT '[1,2]'); CREATE INDEX ON app.docs USING hnsw ("title vec" halfvec_l2_ops)""")
    store = opened()
    put_all(store, records("", [], random_vectors(0, 4)))
    db.execute("INSERT INTO app.docs VALUES (1, '[1,2,3,4]', '[1,0,0.5]', '{1:2,50:3}/50', NULL)")
    named = opened().describe().named
    assert {name: (spec.kind, spec.dimension, spec.metric) for name, spec in named.items()} == {
        "title vec": ("dense", 3, Metric.EUCLIDEAN),
        "words": ("sparse", None, Metric.DOT),
        "other": ("sparse", None, Metric.DOT),
        "body": ("dense", 2, Metric.COSINE),
    }
    [batch] = opened().scan(KeyRange(""))
    assert batch.column("vector:title vec").to_pylist() == [[1, 0, 0.5]]
    assert batch.column("sparse:words").to_pylist() == [{"indices": [0, 49], "values": [2, 3]}]
    assert not opened().upsert(batch).rejected
    assert list(opened().scan(KeyRange(""))) == [batch]
    told = [each.reason for each in opened().rejections(records("", ["2"], random_vectors(1, 4)))]
    assert told == ["the column 'body' must not be NULL, and the record has no vector for it"]
    assert opened().search("", np.array([[1, 0, 0]], np.float32), 3, vector="title vec").scores == ((-0.25,),)
    assert opened().search("", [{"indices": [49, 3], "values": [0.5, 9]}], 3, vector="words").scores == ((1.5,),)
    chosen = opened(vectors={"t": "title vec"}, columns=[]).describe()
    assert list(chosen.named) == ["t"]


def test_a_table_may_have_no_vector_without_a_name(opened: Open, db: Db) -> None:
    db.execute("CREATE TABLE app.docs (id int PRIMARY KEY, a vector(2), b vector(3))")
    store = opened()
    info = store.describe()
    assert (info.dimension, list(info.named)) == (None, ["a", "b"])
    assert opened(vector="a").describe().dimension == 2


# Any table at all

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda name: 0 < len(name.encode()) <= 60 and name not in ("id", "tenant", "embedding", "metadata")
)
KINDS = [kind for kind in TYPES if TYPES[kind][0]]
ANY_VALUE = st.sampled_from([value for kept, other in TYPES.values() for value in (*kept, *other)])


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Columns with their types, and metadata that mostly fits them."""
    columns = draw(st.dictionaries(NAMES, st.sampled_from(KINDS), max_size=5))
    of_column = {name: st.sampled_from(TYPES[kind][0]) | ANY_VALUE for name, kind in columns.items()}
    each = st.fixed_dictionaries({}, optional=of_column)
    others = st.dictionaries(NAMES, ANY_VALUE, max_size=2)
    return columns, draw(st.lists(st.builds(lambda a, b: b | a, each, others), min_size=1, max_size=6))


def test_no_record_changes_in_any_table_without_a_word(opened: Open, db: Db) -> None:
    db.execute("CREATE TYPE app.state AS ENUM ('new', 'o''ld')")

    @QUICK
    @given(
        tables(),
        st.sampled_from(["id text PRIMARY KEY", "id bigint PRIMARY KEY", "id uuid PRIMARY KEY"]),
        st.booleans(),
    )
    def moved(made: tuple[dict[str, str], list[dict[str, Any]]], key: str, rest: bool) -> None:
        columns, rows = made
        name = new_name("any %")
        declared = [
            key,
            "embedding halfvec(4)",
            *(f"{quoted(column).replace('%%', '%')} {kind}" for column, kind in columns.items()),
        ]
        declared += ["metadata jsonb"] if rest else []
        db.execute(f'CREATE TABLE app."{name}" ({", ".join(declared)})'.encode())
        ids = [str(UUID(int=row)) if "uuid" in key else str(row - 2) for row in range(len(rows))]
        store = opened(name)
        batch = records("", ids, np.round(random_vectors(len(rows), 4)), rows)
        result = store.upsert(batch)
        rejected = {each.row for each in result.rejected}
        assert {each.row for each in store.rejections(batch)} == rejected
        kept = without(batch, result.rejected)
        assert store.fetch("", ids).to_pylist() == kept.to_pylist()
        scanned = [row for part in store.scan(KeyRange("")) for row in part.to_pylist()]
        assert sorted(scanned, key=lambda row: row["id"]) == sorted(kept.to_pylist(), key=lambda row: row["id"])
        store.close()

    moved()
