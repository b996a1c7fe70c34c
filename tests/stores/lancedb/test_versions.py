"""Versions of LanceDB: a scan sees one of them whatever is written meanwhile, and what was compacted is read as before."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from stores.lancedb.tools import store_on, vendor
from vectorferry.core.filters import parse_filter
from vectorferry.core.model import CollectionDefinition, FieldType, KeyRange, Metric
from vectorferry.stores.base import VectorStore
from vectorferry.stores.lancedb import indexing, reader, search, turns, writer
from vectorferry.stores.lancedb import store as module
from vectorferry.stores.lancedb.turns import turns_at
from vectorferry.testing.assertions import assert_equal_rows, assert_holds, put_all
from vectorferry.testing.filter_samples import FILTER_ROWS, fill_filter_data
from vectorferry.testing.samples import DIMENSION, FIELDS, ids_of, random_vectors, records

ROWS = 300
OF_OTHERS = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSION))])


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    made = store_on(tmp_path, "docs", fields=FIELDS)
    made.create(CollectionDefinition(DIMENSION, Metric.COSINE, FIELDS))
    return made


def test_a_scan_sees_one_version_whatever_is_written_deleted_or_compacted(
    tmp_path: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_READ_ROWS", 50)
    monkeypatch.setattr(reader, "_WINDOW", 70)
    before = records("n", [f"{row:03}" for row in range(ROWS)], random_vectors(ROWS), [{"year": 1}] * ROWS)
    put_all(store, before)
    scan = store.scan(KeyRange("n"), batch_rows=20)
    found = [next(scan)]
    put_all(store, records("n", [f"{row:03}x" for row in range(0, ROWS, 2)]))
    put_all(store, records("n", [f"{row:03}" for row in range(100, 200)], random_vectors(100, seed=4)))
    store.delete("n", [f"{row:03}" for row in range(200, 250)])
    vendor(tmp_path).open_table("docs").optimize()
    found += scan
    assert ids_of(found) == ids_of(before)
    start = 0
    for batch in found:
        assert_equal_rows(batch, before.slice(start, len(batch)))
        start += len(batch)
    assert store.count("n") == ROWS + 150 - 50


def test_many_writes_are_compacted_and_every_version_of_today_stays(
    tmp_path: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_COMPACTED_AFTER", 8)
    other = store_on(tmp_path, "docs")
    requests = other.usage.requests
    for step in range(8):
        put_all(other, records("n", [f"{step}-{row}" for row in range(5)], random_vectors(5, seed=step)))
    table = vendor(tmp_path).open_table("docs")
    assert table.stats()["fragment_stats"]["num_fragments"] == 1
    assert other.usage.requests - requests > 8  # within the budget, as everything that is asked
    versions = [each["version"] for each in table.list_versions()]
    assert versions == list(range(1, table.version + 1))
    for step in range(8):
        assert_holds(store, records("n", [f"{step}-{row}" for row in range(5)], random_vectors(5, seed=step)))


@pytest.mark.parametrize("kind", ["IVF_HNSW_SQ", "IVF_PQ"])
def test_filters_and_scores_mean_the_same_with_every_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for part in (module, search):
        monkeypatch.setattr(part, "INDEXED_ROWS", 0)
    store = store_on(tmp_path, "docs", fields=FIELDS, index={"type": kind, "num_partitions": 1})
    store.create(CollectionDefinition(DIMENSION, Metric.COSINE, FIELDS))
    put_all(store, records("many", [f"{row:04}" for row in range(ROWS)], random_vectors(ROWS, seed=1)))
    data = fill_filter_data(store, FILTER_ROWS)
    assert store.pending_index() == 0
    table = vendor(tmp_path).open_table("docs")
    assert {each.columns[0] for each in table.list_indices()} == {"namespace", "id", "vector", *FIELDS}
    put_all(store, records("many", ["late"], random_vectors(1, seed=77)))
    for id_ in ("0000", "late"):
        store.update("many", id_, metadata='{"genre":"late","tags":["late"],"more":1}')
    for raw in ({"genre": "late"}, {"tags": "late"}, {"more": {"$gt": 0}}):
        assert store.matching("many", parse_filter(raw), 9) == {"0000", "late"}
    for raw in (
        {"genre": "drama"}, {"genre": {"$ne": "drama"}}, {"year": 1999}, {"year": {"$gt": 0}}, {"year": {"$nin": [1999, True]}},
        {"tags": "a"}, {"tags": {"$nin": ["a", "b"]}}, {"good": True}, {"good": {"$exists": False}}, {"genre": 1999}, {"tags": 1},
    ):  # fmt: skip
        where = parse_filter(raw)
        assert data.matching(where) == data.expected(where), raw
    found = store.search("many", random_vectors(1, seed=77), 5)
    assert found.ids[0][0] == "late" and found.scores[0][0] == pytest.approx(1.0)
    assert vendor(tmp_path).open_table("docs").index_stats("vector_idx").num_unindexed_rows == 2
    assert store.pending_index() == 0
    assert vendor(tmp_path).open_table("docs").index_stats("vector_idx").num_unindexed_rows == 0


def test_a_table_that_is_made_anew_is_read_and_written_by_its_own_columns(tmp_path: Path) -> None:
    store, other = store_on(tmp_path, "docs"), store_on(tmp_path, "docs")
    store.create(CollectionDefinition(DIMENSION, Metric.COSINE))
    batch = records("n", ["a"], metadata=[{"color": "red"}])
    put_all(store, batch)
    vendor(tmp_path).drop_table("docs")
    other.create(CollectionDefinition(DIMENSION, Metric.COSINE, {"color": FieldType.STRING}))
    put_all(store, batch)
    assert vendor(tmp_path).open_table("docs").to_arrow().column("color").to_pylist() == ["red"]
    vendor(tmp_path).drop_table("docs")
    store.create(CollectionDefinition(DIMENSION, Metric.COSINE, {"color": FieldType.TEXT, "more": FieldType.NUMBER}))
    put_all(store, batch)
    assert_holds(other, batch)


def test_a_field_of_any_name_has_a_column_and_is_filtered(tmp_path: Path) -> None:
    fields = {
        "a.b": FieldType.STRING,
        "Key": FieldType.NUMBER,
        "key": FieldType.NUMBER,
        "vector": FieldType.STRING,
        "`'\"": FieldType.STRING,
    }
    store = store_on(tmp_path, "docs", fields=fields)
    store.create(CollectionDefinition(DIMENSION, Metric.COSINE, fields))
    assert store.describe().fields == fields
    metadata = [{"a.b": "x'", "Key": 1, "vector": "v"}, {"key": 1, "`'\"": "y"}, {"Key": 2, "key": 1}]
    put_all(store, records("n", ["0", "1", "2"], metadata=metadata))
    assert store.matching("n", parse_filter({"a.b": "x'"}), 9) == {"0"}
    assert store.matching("n", parse_filter({"Key": {"$gte": 1}}), 9) == {"0", "2"}
    assert store.matching("n", parse_filter({"`'\"": "y"}), 9) == {"1"}
    assert_holds(store, records("n", ["0", "1", "2"], metadata=metadata))


@pytest.mark.parametrize("native", [True, False], ids=["native", "of others"])
def test_old_versions_are_removed_of_native_tables_only(
    tmp_path: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(writer, "_COMPACTED_AFTER", 3)
    monkeypatch.setattr(indexing, "KEPT", timedelta(milliseconds=1))
    if not native:
        rows = [{"id": f"{row}", "vector": [1.0] * DIMENSION} for row in range(5)]
        vendor(tmp_path).create_table("theirs", rows, schema=OF_OTHERS)
    name = "docs" if native else "theirs"
    writing = store_on(tmp_path, name)
    for step in range(3):
        put_all(writing, records("n" if native else "", [f"new-{step}"], random_vectors(1, seed=step)))
    table = vendor(tmp_path).open_table(name)
    versions = [each["version"] for each in table.list_versions()]
    assert (versions[0] > 1) is native
    assert native or versions == list(range(1, table.version + 1))


def test_writers_of_a_process_wait_for_its_compaction_and_not_for_ever(
    tmp_path: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction that meets a write is lost."""
    writing, written = store_on(tmp_path, "docs"), threading.Event()

    def write(id_: str) -> None:
        put_all(writing, records("n", [id_]))
        writing.delete("n", ["nothing"])
        written.set()

    for wait, waits in ((600.0, True), (0.0, False)):
        monkeypatch.setattr(turns, "LONGEST_WAIT", wait)
        written.clear()
        with ThreadPoolExecutor(1) as pool, turns_at(str(tmp_path), "docs").compacting():
            done = pool.submit(write, f"{wait}")
            assert written.wait(1.0 if waits else 600.0) is not waits
        done.result()
    assert store.count("n") == 2
