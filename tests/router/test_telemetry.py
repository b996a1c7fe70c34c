"""What a router measures and logs, and what it never says."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from router.conftest import Pair
from vectorferry.core.model import Phase
from vectorferry.router import NotDone, Record, telemetry

SECRET = [9.25, 2.5, 3.5, 4.5]


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The points of an instrument, by its name."""
    reader = InMemoryMetricReader()
    instruments = telemetry.Instruments(MeterProvider([reader]).get_meter("test"))
    monkeypatch.setattr(telemetry, "INSTRUMENTS", instruments)

    def of(name: str) -> list[Any]:
        data = reader.get_metrics_data()
        scopes = [scope for part in data.resource_metrics for scope in part.scope_metrics] if data else []
        found = [metric for scope in scopes for metric in scope.metrics if metric.name == f"vectorferry.router.{name}"]
        return [point for metric in found for point in metric.data.data_points]

    return of


def counted(points: list[Any], *names: str) -> dict[tuple[str, ...], int]:
    found = Counter[tuple[str, ...]]()
    for point in points:
        found[tuple(str(point.attributes[name]) for name in names)] += point.value
    return dict(found)


def test_operations_leases_and_mirrors_are_counted(tracked: Pair, points: Callable[[str], Any]) -> None:
    router = tracked.router()
    router.upsert("n", [Record("a", [1, 2, 3, 4])])
    router.update("n", "a", set_metadata={"kind": "x"})
    router.search("n", [1, 2, 3, 4], 1)
    router.fetch("n", ["a"])
    router.list_ids("n")
    with pytest.raises(NotDone):
        router.upsert("n", [Record("a", [1, 2, 3])])
    eventually(lambda: counted(points("mirrors"), "outcome") == {("done",): 1, ("left",): 1})
    assert counted(points("operations"), "kind", "outcome", "phase") == {
        ("put", "done", "TRACK_A"): 1,
        ("update", "done", "TRACK_A"): 1,
        ("search", "done", "TRACK_A"): 1,
        ("fetch", "done", "TRACK_A"): 1,
        ("read", "done", "TRACK_A"): 1,
        ("put", "not_done", "TRACK_A"): 1,
    }
    assert counted(points("leases"), "outcome")[("joined",)] == 1
    [waited] = [point for point in points("hold.wait") if point.attributes["kind"] == "put"]
    assert waited.count == 2
    eventually(lambda: {point.attributes["call"] for point in points("journal.duration")} == {"open", "close"})


def test_logs_have_fields_and_no_content(
    tracked: Pair, caplog: pytest.LogCaptureFixture, points: Callable[[str], Any]
) -> None:
    del points
    caplog.set_level(logging.DEBUG, "vectorferry.router")
    router = tracked.router()
    router.upsert("n", [Record("secret-id", SECRET, {"kind": "secret-value"})])
    with pytest.raises(NotDone):
        router.upsert("n", [Record("secret-id", SECRET[:3])])
    tracked.step(Phase.HOLD_A, hold=30)
    eventually(lambda: any("HOLD_A" in record.getMessage() for record in caplog.records))
    mine = [record for record in caplog.records if record.name == "vectorferry.router"]
    [failed] = [record.__dict__ for record in mine if record.getMessage() == "put: not_done"]
    assert (failed["kind"], failed["phase"], failed["error"], failed["migration"]) == (
        "put",
        "TRACK_A",
        "NotDone",
        "small",
    )
    texts = " ".join(str(record.__dict__) for record in mine)
    assert "secret" not in texts
    assert "9.25" not in texts
