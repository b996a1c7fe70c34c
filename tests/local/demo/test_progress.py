"""Progress of the demo: a rate is that of the load, while it loads; a line says what it counts."""

from types import SimpleNamespace
from typing import Any

import pytest

from vectorferry.local.demo import run


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is told at some second, with so many partitions and rows loaded."""
    now = 0.0
    monkeypatch.setattr(run.time, "monotonic", lambda: now)
    unused: Any = None
    watch = run._Watch(unused, unused, unused, "docs.migrate", "r")

    def at(second: float, done: int, rows: int) -> str:
        nonlocal now
        now = second
        load = SimpleNamespace(step="load", done=done, partitions=4, rows=rows)
        found: Any = SimpleNamespace(rows=1000, steps=[load])
        return "; ".join(run._moved(watch, found))

    return at


def test_the_rate_is_told_while_it_loads(lines: Any) -> None:
    assert lines(0, 0, 0) == "load 0 of 4 partitions"
    assert lines(10, 2, 500) == "load 2 of 4 partitions, 500 of 1,000 rows, 50/s, 10 s left"
    assert lines(15, 2, 500) == "load 2 of 4 partitions, 500 of 1,000 rows, 50/s, 10 s left"
    assert lines(20, 4, 1000) == "load done"
    assert lines(90, 4, 1000) == "load done"
