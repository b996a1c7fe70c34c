"""Every metric that is exported: one catalogue of names, which docs/metrics.md prints and tests hold what is really exported against.

Names, units and labels are those of OpenTelemetry, in UCUM; a label has few values: no id of anything, and no namespace.
"""

from dataclasses import dataclass
from enum import StrEnum

from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter


class Kind(StrEnum):
    """How values of a metric add up."""

    COUNTER = "counter"
    UP_DOWN = "up-down counter"
    HISTOGRAM = "histogram"


class Exporter(StrEnum):
    """Which process exports a metric."""

    ROUTER = "router"
    GATEWAY = "gateway"
    TASK = "task"


# From what an index in memory answers in, to the length of a hold; OpenTelemetry's own are made for milliseconds.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99, 1.0)
LONG = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_SUFFIXES = {"s": "_seconds", "By": "_bytes"}


@dataclass(frozen=True, slots=True)
class MetricName:
    """One metric. `labels` are all that it may have; `buckets` the bounds of a histogram."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    by: Exporter
    meaning: str
    buckets: tuple[float, ...] = SECONDS

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus; a histogram has series `_bucket`, `_count` and `_sum` of it."""
        name = self.name.replace(".", "_")
        suffix = _SUFFIXES.get(self.unit, "")
        name = name if name.endswith(suffix) else name + suffix
        return f"{name}_total" if self.kind is Kind.COUNTER else name

    def counter(self, meter: Meter) -> Counter:
        """The instrument of a counter."""
        assert self.kind is Kind.COUNTER
        return meter.create_counter(self.name, self.unit, self.meaning)

    def up_down(self, meter: Meter) -> UpDownCounter:
        """The instrument of an up-down counter."""
        assert self.kind is Kind.UP_DOWN
        return meter.create_up_down_counter(self.name, self.unit, self.meaning)

    def histogram(self, meter: Meter) -> Histogram:
        """The instrument of a histogram."""
        assert self.kind is Kind.HISTOGRAM
        bounds = [float(each) for each in self.buckets]
        return meter.create_histogram(self.name, self.unit, self.meaning, explicit_bucket_boundaries_advisory=bounds)


def metric(name: str) -> MetricName:
    """The metric of the catalogue with this name. Raises KeyError for one that is not in it."""
    return _BY_NAME[name]


def _router(name: str, kind: Kind, unit: str, labels: tuple[str, ...], meaning: str, *buckets: float) -> MetricName:
    of_router = (f"vectorferry.router.{name}", kind, unit, ("migration", *labels), Exporter.ROUTER, meaning)
    return MetricName(*of_router, buckets or SECONDS)


def _gateway(name: str, kind: Kind, unit: str, labels: tuple[str, ...], meaning: str) -> MetricName:
    return MetricName(f"vectorferry.gateway.{name}", kind, unit, labels, Exporter.GATEWAY, meaning)


def _task(name: str, kind: Kind, unit: str, labels: tuple[str, ...], meaning: str, *buckets: float) -> MetricName:
    of_task = (f"vectorferry.task.{name}", kind, unit, ("migration", "task", *labels), Exporter.TASK, meaning)
    return MetricName(*of_task, buckets or SECONDS)


CATALOGUE: tuple[MetricName, ...] = (
    _router(
        "operations",
        Kind.COUNTER,
        "{operation}",
        ("kind", "outcome", "phase"),
        "Operations of applications. Outcomes: `done`, `not_done`, `unknown`, `error`",
    ),
    _router(
        "operation.duration",
        Kind.HISTOGRAM,
        "s",
        ("kind", "outcome", "phase"),
        "Time of an operation, as its caller waits for it",
    ),
    _router("hold.wait", Kind.HISTOGRAM, "s", ("kind",), "Time for which a write waited for a hold to end"),
    _router("journal.duration", Kind.HISTOGRAM, "s", ("call",), "Round trip of a call of the journal"),
    _router(
        "mirrors",
        Kind.COUNTER,
        "{write}",
        ("outcome",),
        "Writes to the follower: `done`, `failed`, `unknown`, `left` to a settler",
    ),
    _router(
        "shadow.reads",
        Kind.COUNTER,
        "{read}",
        ("kind", "outcome"),
        "Shadow reads: `compared`, `failed`, `dropped`, `set_aside`",
    ),
    _router("shadow.overlap", Kind.HISTOGRAM, "1", ("kind",), "Share of the ids that both sides answered", *SHARES),
    _router("leases", Kind.COUNTER, "{lease}", ("outcome",), "Leases `joined`, `renewed` and `lapsed`"),
    _gateway(
        "requests",
        Kind.COUNTER,
        "{request}",
        ("caller", "operation", "status"),
        "Requests by the name of the key, operation and HTTP status; over gRPC too",
    ),
    _gateway(
        "request.duration",
        Kind.HISTOGRAM,
        "s",
        ("operation", "status"),
        "Time from a request's whole arrival to its answer",
    ),
    _gateway("active_requests", Kind.UP_DOWN, "{request}", ("operation",), "Requests under way"),
    _task(
        "duration",
        Kind.HISTOGRAM,
        "s",
        ("error.type",),
        "Time of a task's work, or a command's (`task` is `command`); `error.type` is the class of what ended it, if anything",
        *LONG,
    ),
    _task("requests", Kind.COUNTER, "{request}", ("side",), "Requests that a task sent to the database of a side"),
    _task("retries", Kind.COUNTER, "{request}", ("side",), "Those of them that were sent again"),
    _task("throttled", Kind.COUNTER, "{request}", ("side",), "Requests that the database refused for being too many"),
    _task("read_units", Kind.COUNTER, "{unit}", ("side",), "Read units that the vendor says it charged"),
    _task("write_units", Kind.COUNTER, "{unit}", ("side",), "Write units that the vendor says it charged"),
    _task("paced", Kind.COUNTER, "s", ("side",), "Time for which a task waited for its budget"),
)
_BY_NAME = {each.name: each for each in CATALOGUE}
