"""`vectorferry metrics`: serves what the journal knows of all its migrations to Prometheus."""

import logging
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

    from vectorferry.engine.pipeline import Gauge
    from vectorferry.spec.connections import Connection

UP = "vectorferry.journal.up"
# All metrics of one scrape are of one reading.
_ONE_READING_SECONDS = 0.5

log = logging.getLogger(__name__)


def metrics(
    journal: Annotated[
        str,
        typer.Option(
            metavar="CONNECTION", help="The journal, as in AIRFLOW_CONN_<NAME>; a login that reads is enough."
        ),
    ] = "vectorferry_journal",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of /metrics; 0 takes a free one.")] = 9464,
) -> None:
    """Serve Prometheus' /metrics: phases, progress, backlog, routers, verdicts, drift, latency and alerts of all migrations.

    It reads the journal at each scrape, and neither writes nor asks a database. `vectorferry journal roles SPEC` makes its role.
    Until SIGTERM or Ctrl-C.
    """
    from vectorferry.core.metrics import CATALOGUE, Exporter
    from vectorferry.spec.connections import connection_from_environment
    from vectorferry.telemetry import serving

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("vectorferry").setLevel(logging.INFO)
    connection = connection_from_environment(journal)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    readings = Readings(partial(_read, connection))
    with serving(host, port) as (meter, at):
        for each in CATALOGUE:
            if each.by is Exporter.JOURNAL:
                each.gauge(meter, partial(_observe, readings, each.name))
        log.info("serving metrics at http://%s:%d/metrics", host, at)
        stop.wait()


class Readings:
    """The newest figures of the journal, by the names of their metrics. Thread-safe."""

    def __init__(self, read: "Callable[[], Iterable[Gauge]]") -> None:
        self._read = read
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._found: dict[str, list[Gauge]] = {}

    def of(self, name: str) -> "Sequence[Gauge]":
        """The figures of a metric, read afresh where they are not of this scrape."""
        with self._lock:
            if time.monotonic() - self._at > _ONE_READING_SECONDS:
                found = defaultdict(list)
                for each in self._read():
                    found[each[0]].append(each)
                self._found, self._at = dict(found), time.monotonic()
            return self._found.get(name, ())


def _read(connection: "Connection") -> "list[Gauge]":
    """What the journal holds now; one that does not answer is down, and nothing else is known."""
    from vectorferry.core.errors import JournalError
    from vectorferry.engine import pipeline
    from vectorferry.journal import open_journal

    try:
        with open_journal(connection) as journal:
            return [(UP, 1, {}), *pipeline.gauges(journal)]
    except JournalError as error:
        log.warning("the journal was not read: %s", error)
        return [(UP, 0, {})]


def _observe(readings: Readings, name: str, _: "CallbackOptions") -> "Iterable[Observation]":
    from opentelemetry.metrics import Observation

    return [Observation(value, labels) for _, value, labels in readings.of(name)]
