"""An engine that loses a row is not believed: neither what it acknowledges nor what it reads."""

from pathlib import Path
from typing import Any

import pytest

from stores.lancedb.tools import store_on
from vectorferry.core.errors import PartialWrite, Unavailable
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric
from vectorferry.stores.base import VectorStore
from vectorferry.stores.lancedb import reader
from vectorferry.stores.lancedb.client import Database
from vectorferry.testing.assertions import put_all
from vectorferry.testing.samples import DIMENSION, records


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    made = store_on(tmp_path, "docs")
    made.create(CollectionDefinition(DIMENSION, Metric.COSINE))
    put_all(made, records("n", list("abcde")))
    return made


def test_a_merge_that_loses_a_row_is_a_partial_write(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Database.merge

    def losing(self: Database, table: Any, keys: list[str], rows: Any, **named: Any) -> tuple[int, int]:
        return real(self, table, keys, rows.slice(1), **named)

    monkeypatch.setattr(Database, "merge", losing)
    with pytest.raises(PartialWrite, match="3 rows were sent, 2 acknowledged"):
        store.upsert(records("n", ["x", "y", "z"]))


@pytest.mark.parametrize("lost", ["a", "c", "e"])
def test_an_answer_without_a_row_that_is_counted_ends_the_scan(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    real = reader.question

    def losing(table: Any, columns: Any, clause: str, *rest: Any) -> Any:
        return real(table, columns, f"{clause} AND id != '{lost}'", *rest)

    monkeypatch.setattr(reader, "question", losing)
    for attempt in (store.scan, store.list_ids):
        with pytest.raises(Unavailable, match="4 rows were read of one version, which has 5"):
            list(attempt(KeyRange("n")))


def test_a_scan_goes_on_behind_what_it_gave_when_the_storage_fails_for_a_moment(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = reader.TableReader._streamed, []

    def failing(self: Any, *arguments: Any) -> Any:
        for number, rows in enumerate(real(self, *arguments)):
            calls.append(number)
            if len(calls) == 3:
                raise Unavailable("away for a moment")
            yield rows

    monkeypatch.setattr(reader.TableReader, "_streamed", failing)
    found = [id_ for batch in store.scan(KeyRange("n"), batch_rows=1) for id_ in batch.column("id").to_pylist()]
    assert found == list("abcde") and len(calls) > 5
