"""What tasks send to a collector of OpenTelemetry before they end."""

import threading
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from scraping import Collector, sent_to
from vectorferry import telemetry
from vectorferry.cli.app import _code
from vectorferry.core.errors import MetricsMissing, VectorferryError
from vectorferry.core.metrics import CATALOGUE, Exporter, Kind
from vectorferry.core.model import Usage
from vectorferry.engine.task_metrics import measured_task
from vectorferry.telemetry import ENDPOINTS, sending

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


collector = pytest.fixture(sent_to)


def labels_of(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


def work(*, fails: bool = False) -> None:
    with measured_task("docs", "partition.export") as measured:
        measured.used(Usage(requests=3, throttled=1, read_units=2.5), Usage(requests=4, paced_seconds=0.5))
        if fails:
            raise KeyError("the id of a record")


def test_a_tasks_figures_are_there_when_it_has_ended(collector: Collector) -> None:
    work()
    found = collector.metrics()
    ours = {each.name: each for each in CATALOGUE if each.by is Exporter.TASK}
    assert found.keys() == ours.keys()
    for name, metric in found.items():
        assert (metric.unit, metric.description) == (ours[name].unit, ours[name].meaning)
        for point in (metric.histogram if ours[name].kind is Kind.HISTOGRAM else metric.sum).data_points:
            assert labels_of(point).keys() <= set(ours[name].labels)
    assert {each.sum.aggregation_temporality for each in found.values() if each.HasField("sum")} == {DELTA}
    requests = {labels_of(point)["side"]: point for point in found["vectorferry.task.requests"].sum.data_points}
    assert {side: point.as_int for side, point in requests.items()} == {"source": 3, "target": 4}
    [duration] = found["vectorferry.task.duration"].histogram.data_points
    assert (duration.count, labels_of(duration)) == (1, {"migration": "docs", "task": "partition.export"})
    [part] = collector.got[0].resource_metrics
    assert {each.key: each.value.string_value for each in part.resource.attributes}["service.name"] == "vectorferry"


def test_what_ended_a_task_is_told_by_its_class_alone(collector: Collector) -> None:
    with pytest.raises(KeyError):
        work(fails=True)
    [duration] = collector.metrics()["vectorferry.task.duration"].histogram.data_points
    assert labels_of(duration)["error.type"] == "KeyError"
    assert "the id" not in str(collector.got)


def test_a_collector_that_is_away_ends_no_task(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Collector()
    gone.close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.url)
    work()
    assert collector.got == gone.got == []


def test_without_a_collector_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    with sending() as meter:
        assert isinstance(meter, NoOpMeter)
    before = threading.active_count()
    work()
    assert threading.active_count() == before


def test_without_the_packages_a_server_says_what_to_install_and_a_task_does_its_work(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_NEEDED", ("opentelemetry.sdk", "opentelemetry.exporter.of_nothing"))
    with pytest.raises(MetricsMissing, match=r"pip install 'vectorferry\[metrics\]'") as missing:
        telemetry.serving("127.0.0.1", 0).__enter__()
    assert _code(missing.value) == 2
    work()
    assert collector.got == []


def test_a_port_that_is_taken_is_named() -> None:
    with (
        telemetry.serving("127.0.0.1", 0) as (_, port),
        pytest.raises(VectorferryError, match=f"cannot serve metrics at 127.0.0.1:{port}"),
    ):
        telemetry.serving("127.0.0.1", port).__enter__()
