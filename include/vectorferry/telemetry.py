"""Export of what is measured: to Prometheus at an address of our own, and to a collector of OpenTelemetry.

Nothing here is needed to measure. Libraries and routers use OpenTelemetry's API, and whoever runs them brings an SDK; only processes that
are ours alone export by themselves. The SDK comes with the extra `metrics`.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import Meter, NoOpMeterProvider

from vectorferry import __version__
from vectorferry.core.errors import MetricsMissing, VectorferryError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
METER = "vectorferry"
# A task must not wait long for a collector that is away: what it measured is lost then, and nothing else.
_FLUSH_MILLISECONDS = 5_000
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.exporter.prometheus")


@contextmanager
def serving(host: str, port: int, *, everywhere: bool = False) -> Iterator[tuple[Meter, int]]:
    """Serve `/metrics` in Prometheus' form; gives the meter whose instruments are in it, and the port (0 takes a free one).

    Where a collector is configured (`ENDPOINTS`) the same goes there. `everywhere` makes it the process's own, for instruments that are
    made elsewhere. Raises MetricsMissing without the extra `metrics`, and VectorferryError where the port is taken.
    """
    if not installed():
        raise MetricsMissing("metrics need the extra `metrics`: pip install 'vectorferry[metrics]'")
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
    with ExitStack() as stack:
        readers = [reader, *([_to_collector(ends=False)] if _collector_is_named() else [])]
        meter = stack.enter_context(_metering(readers, everywhere=everywhere))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise VectorferryError(f"cannot serve metrics at {host}:{port}: {error.strerror or error}") from error
        stack.callback(thread.join)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        yield meter, server.server_port


@contextmanager
def sending(*, everywhere: bool = False) -> Iterator[Meter]:
    """A meter whose figures have been sent to the collector when this ends; without one, or without the SDK, it measures nothing.

    For processes that end before anybody could scrape them. `everywhere`: see `serving`.
    """
    if _collector_is_named() and installed():
        with _metering([_to_collector(ends=not everywhere)], everywhere=everywhere) as meter:
            yield meter
    else:
        yield NoOpMeterProvider().get_meter(METER)


@contextmanager
def _metering(readers: "Sequence[MetricReader]", *, everywhere: bool) -> Iterator[Meter]:
    provider = _provider(readers)
    if everywhere:
        metrics.set_meter_provider(provider)
    try:
        yield provider.get_meter(METER, __version__)
    finally:
        provider.shutdown(_FLUSH_MILLISECONDS)


def installed() -> bool:
    """Whether the packages are there that export metrics."""
    try:
        return all(importlib.util.find_spec(name) for name in _NEEDED)
    except ModuleNotFoundError:
        return False


def _collector_is_named() -> bool:
    return any(os.environ.get(name) for name in ENDPOINTS)


def _to_collector(*, ends: bool) -> "MetricReader":
    """A reader that sends. Processes that end send what was added, not sums: those of two of them would be one series that falls again."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import Counter, Histogram
    from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader

    added: dict[type, AggregationTemporality] = {}
    if ends:
        added = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
    exporter = OTLPMetricExporter(preferred_temporality=added)
    return PeriodicExportingMetricReader(exporter, export_timeout_millis=_FLUSH_MILLISECONDS)


def _provider(readers: "Sequence[MetricReader]") -> "MeterProvider":
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource

    ours = Resource.create({SERVICE_NAME: METER, SERVICE_VERSION: __version__})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say more, and come last.
    return MeterProvider(readers, resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
