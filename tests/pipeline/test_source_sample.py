"""What preflight looks into of a source with very many namespaces: some, the same ones each time, several at a time."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.worlds import World
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.engine import pipeline
from vectorferry.engine.plan import source_sample
from vectorferry.engine.plan.source_sample import drawn
from vectorferry.testing.samples import records

MANY = {f"tenant {number:03}": 1 + number % 3 for number in range(90)} | {"large": 7}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_sample, "MOST_NAMESPACES", 20)
    monkeypatch.setattr(source_sample, "_LARGEST", 4)


@pytest.fixture
def database(journal_database: str) -> str:
    return journal_database


@pytest.mark.usefixtures("few")
def test_the_same_namespaces_are_drawn_each_time_and_the_largest_is_among_them() -> None:
    first = drawn(MANY)
    assert len(first) == 20
    assert first["large"] == 7
    assert [name for name in MANY if name in first] == list(first)
    assert first == drawn(dict(reversed(MANY.items())))
    assert sum(rows == 1 for rows in first.values()) > 2, "not the largest only"


def test_all_are_looked_into_where_there_are_not_many() -> None:
    assert drawn(MANY) == MANY


class Counting:
    """A source that counts what it is asked, and answers a fetch only once four are under way."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked: list[str] = []
        self._four = threading.Barrier(4, timeout=60)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list_ids(self, *arguments: Any) -> Any:
        self.asked.append("list_ids")
        return self._store.list_ids(*arguments)

    def fetch(self, *arguments: Any) -> Any:
        self.asked.append("fetch")
        self._four.wait()
        return self._store.fetch(*arguments)


@pytest.mark.usefixtures("few")
def test_requests_do_not_grow_with_the_namespaces_and_go_out_together(world: World) -> None:
    with world.session() as session:
        session.source.create(CollectionDefinition(4, Metric.COSINE, session.spec.fields))
        for name, rows in MANY.items():
            session.source.upsert(records(name, [f"i{row}" for row in range(rows)], np.ones((rows, 4), np.float32)))
        counting = Counting(session.source)
        source: Any = counting
        found = pipeline.preflight(replace(session, source=source))
    # For the sample, and for the second look.
    assert sorted(counting.asked) == ["fetch"] * (20 + 20) + ["list_ids"] * (20 + 20)
    assert len(found.namespaces) == len(MANY)
    assert found.rows == sum(MANY.values())
    [told] = [text for text in found.warnings if "namespaces were looked into" in text]
    assert told.startswith("20 of 91 namespaces were looked into, the largest among them")
