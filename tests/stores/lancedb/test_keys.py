"""Keys in LanceDB: there is no primary key, so doubled ones are told and refused, and writers of one new record make one."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pyarrow as pa
import pytest

from stores.lancedb.tools import connection_to, store_on, table, vendor
from vectorferry.core.errors import RecordError
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.lancedb import store as module
from vectorferry.stores.registry import open_store
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import DIMENSION, random_vectors, records

ROUNDS, EACH = 6, 20


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    made = store_on(tmp_path, "docs")
    made.create(CollectionDefinition(DIMENSION, Metric.COSINE))
    return made


def _double(folder: Path, where: str) -> None:
    """Add rows once more, as `add` of the vendor's client does without asking."""
    made = vendor(folder).open_table("docs")
    made.add(made.search().where(where).limit(100).to_arrow())


def test_doubled_keys_are_told_and_refused_wherever_they_are_met(tmp_path: Path, store: VectorStore) -> None:
    put_all(store, records("n", list("abcde")))
    put_all(store, records("m", ["b"]))
    assert store.inventory(["n", "m"], most=9).unread == ()
    _double(tmp_path, "namespace = 'n' AND id IN ('b', 'd')")
    told = store.inventory(["n", "m"], most=9)
    [sentence] = told.unread
    assert sentence.startswith(
        "namespace n: 2 ids are those of several records, first 'b', 'd'; keep one of them and delete the others"
    )
    assert told.held["n"].rows == 7
    for attempt in (
        lambda: list(store.scan(KeyRange("n"))),
        lambda: list(store.list_ids(KeyRange("n", "b"))),
        lambda: store.fetch("n", ["a", "d"]),
        lambda: store.update("n", "d", metadata='{"a":1}'),
    ):
        with pytest.raises(RecordError, match="several r"):
            attempt()
    put_all(store, records("n", ["a", "d"]))
    assert "1 ids are those of several records, first 'b'" in store.inventory(["n"], most=9).unread[0]
    assert len(store.fetch("n", ["a", "c", "d"])) == 3 and len(list(store.scan(KeyRange("m")))) == 1
    store.delete("n", ["b"])
    assert store.inventory(["n"], most=9).unread == () and store.count("n") == 4


def test_a_record_without_an_id_is_told_and_refused(tmp_path: Path) -> None:
    vectors = pa.array(list(random_vectors(3, 4)), pa.list_(pa.float32(), 4))
    vendor(tmp_path).create_table("docs", pa.table({"id": ["a", None, "b"], "vector": vectors}))
    store = store_on(tmp_path, "docs", table(), side="source", written=False)
    assert store.inventory([""], most=9).unread == (
        "namespace (default): 1 records have no id; give them one, or delete them",
    )
    with pytest.raises(RecordError, match="1 records have no id"):
        list(store.scan(KeyRange("")))


def _insert(connection: Connection, barrier: Barrier, worker: int) -> None:
    store = open_store(connection, "docs", StoreOptions())
    for step in range(ROUNDS):
        batch = records("n", [f"{step}-{row}" for row in range(EACH)], metadata=[{"worker": worker}] * EACH)
        barrier.wait()
        put_all(store, batch)


def insert_at_once(connection: Connection) -> VectorStore:
    """The store after two processes have put the same new records, each round at the same time, where the key's columns have indexes."""
    store = open_store(connection, "docs", StoreOptions(index={"type": "none"}))
    store.create(CollectionDefinition(DIMENSION, Metric.COSINE))
    put_all(store, records("n", ["first"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "INDEXED_ROWS", 0)
        assert store.pending_index() == 0
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2, timeout=120)
    workers = [context.Process(target=_insert, args=(connection, barrier, number)) for number in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert [each.exitcode for each in workers] == [0, 0]
    return store


def test_two_processes_that_put_the_same_new_records_make_each_once(tmp_path: Path) -> None:
    store = insert_at_once(connection_to(tmp_path))
    assert store.inventory(["n"], most=9).unread == ()
    assert store.count("n") == 1 + ROUNDS * EACH == sum(map(len, store.scan(KeyRange("n"))))
