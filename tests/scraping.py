"""What Prometheus would read at an address, what a collector is sent, and whether it is what the catalogue says."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from vectorferry.core.metrics import CATALOGUE, Exporter, Kind

_KINDS = {Kind.COUNTER: "counter", Kind.UP_DOWN: "gauge", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}
# What Prometheus' format adds to the labels of a histogram.
_OWN_LABELS = {"le"}


@dataclass
class Scraped:
    """Every series at an address: the labels and the value of each, by its name."""

    series: Mapping[str, list[tuple[Mapping[str, str], float]]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        """The value of the one series with these labels."""
        [found] = [value for given, value in self.series[name] if given == labels]
        return found

    def labels(self, name: str) -> set[str]:
        """The names of the labels that any series of that name has."""
        return {label for given, _ in self.series[name] for label in given}


def scrape(url: str) -> Scraped:
    """Read the address as Prometheus does."""
    answer = httpx.get(url, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    series: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    kinds = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            series[sample.name].append((sample.labels, sample.value))
            kinds[sample.name] = family.type
    return Scraped(series, kinds)


def both(*found: Scraped) -> Scraped:
    """Several addresses as one."""
    series: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for each in found:
        for name, given in each.series.items():
            series[name] += given
    return Scraped(series, {name: kind for each in found for name, kind in each.kinds.items()})


def series_of(exporters: Iterable[Exporter]) -> dict[str, tuple[str, frozenset[str]]]:
    """The series that the catalogue says these export: kind and labels, by name."""
    found = {}
    for metric in (each for each in CATALOGUE if each.by in exporters):
        labels = frozenset(label.replace(".", "_") for label in metric.labels)
        ends = ("_bucket", "_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",)
        for end in ends:
            found[f"{metric.prometheus}{end}"] = _KINDS[metric.kind], labels
    return found


def held_to_catalogue(found: Scraped, *exporters: Exporter) -> None:
    """Nothing is exported that the catalogue does not have, nothing is missing, and labels and kinds are those that it says."""
    told = series_of(exporters)
    assert found.series.keys() == told.keys()
    for name, (kind, labels) in told.items():
        assert found.kinds[name] == kind, name
        assert found.labels(name) - _OWN_LABELS == labels, name


class Collector:
    """A collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[ExportMetricsServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    raise AssertionError("nobody asked for it")
                collector.got.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def metrics(self) -> dict[str, Any]:
        """Every metric that came, by name."""
        scopes = [scope for each in self.got for part in each.resource_metrics for scope in part.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}


def sent_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process's environment names; made a fixture by whoever needs one."""
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.close()
