"""Assertions of the suite: each waits as long as the store says that a write may stay unseen."""

import time
from collections.abc import Callable

import pyarrow as pa

from vectorferry.core.equality import EXACT, Equality
from vectorferry.core.model import Neighbours, WriteResult
from vectorferry.core.records import comparable_rows, differences_of
from vectorferry.stores.base import VectorStore
from vectorferry.testing.samples import ids_of


def eventually(store: VectorStore, check: Callable[[], None]) -> None:
    """Run an assertion until it holds, for at most the visibility delay that the store declares."""
    deadline = time.monotonic() + store.capabilities.visibility_delay
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def wait_for_index(store: VectorStore, namespace: str, rows: int) -> None:
    """Wait until search sees `rows` rows of the namespace."""
    deadline = time.monotonic() + 120
    while store.pending_index() or (not store.capabilities.exact_count and store.count(namespace) < rows):
        assert time.monotonic() < deadline, "the index is not complete after 30 s"
        time.sleep(0.05)


def assert_equal_rows(found: pa.RecordBatch, expected: pa.RecordBatch, equality: Equality = EXACT) -> None:
    """Both batches hold the same rows in the same order, vectors bit for bit unless a tolerance is declared."""
    assert ids_of(found) == ids_of(expected)
    for left, right in zip(comparable_rows(found), comparable_rows(expected), strict=True):
        assert [left[name] for name in ("namespace", "metadata")] == [right[name] for name in ("namespace", "metadata")]
        assert not differences_of(left, right, equality), (left, right)


def put(store: VectorStore, batch: pa.RecordBatch) -> WriteResult:
    """Upsert and check that the result accounts for every row."""
    result = store.upsert(batch)
    assert result.acknowledged + len(result.rejected) == len(batch)
    keys = list(zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True))
    assert all((item.namespace, item.id) == keys[item.row] and item.reason for item in result.rejected)
    return result


def put_all(store: VectorStore, batch: pa.RecordBatch) -> None:
    """Upsert and check that every row is acknowledged."""
    assert put(store, batch) == WriteResult(len(batch))


def assert_holds(store: VectorStore, batch: pa.RecordBatch) -> None:
    """The store returns exactly these rows (of one namespace) by id."""
    namespace = batch.column("namespace")[0].as_py()
    equality = Equality.between(store.capabilities)
    eventually(store, lambda: assert_equal_rows(store.fetch(namespace, ids_of(batch)), batch, equality))


def assert_kept_or_refused(store: VectorStore, batch: pa.RecordBatch) -> WriteResult:
    """Every row is either there exactly as sent, or rejected with a reason and not there."""
    result = put(store, batch)
    refused = {item.row for item in result.rejected}
    kept = batch.take(pa.array([row for row in range(len(batch)) if row not in refused], pa.int64()))
    namespace = batch.column("namespace")[0].as_py()
    equality = Equality.between(store.capabilities)
    eventually(store, lambda: assert_equal_rows(store.fetch(namespace, ids_of(batch)), kept, equality))
    return result


def assert_best_first(found: Neighbours) -> None:
    """Every query's answer has as many scores as ids, no id twice, and the best score first."""
    for ids, scores in zip(found.ids, found.scores, strict=True):
        assert len(ids) == len(scores) == len(set(ids))
        assert list(scores) == sorted(scores, reverse=True)


def assert_same(found: object, expected: object) -> None:
    """An assertion as an expression, for `eventually`."""
    assert found == expected
