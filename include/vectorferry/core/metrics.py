"""Every metric that is exported: one catalogue of names, which docs/metrics.md prints and tests hold what is really exported against.

Names, units and labels are those of OpenTelemetry, in UCUM; a label has few values: no id of anything, and no namespace.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation, UpDownCounter


class Kind(StrEnum):
    """How values of a metric add up."""

    COUNTER = "counter"
    UP_DOWN = "up-down counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


class Exporter(StrEnum):
    """Which process exports a metric."""

    ROUTER = "router"
    GATEWAY = "gateway"
    TASK = "task"
    JOURNAL = "vectorferry metrics"


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

    def gauge(self, meter: Meter, observe: Callable[[CallbackOptions], Iterable[Observation]]) -> None:
        """Make the instrument of a gauge, whose values are looked up when it is read."""
        assert self.kind is Kind.GAUGE
        meter.create_observable_gauge(self.name, [observe], self.unit, self.meaning)


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


def _journal(name: str, unit: str, labels: tuple[str, ...], meaning: str) -> MetricName:
    named = f"vectorferry.migration.{name}"
    return MetricName(named, Kind.GAUGE, unit, ("migration", *labels), Exporter.JOURNAL, meaning)


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
    MetricName(
        "vectorferry.journal.up", Kind.GAUGE, "{journal}", (), Exporter.JOURNAL, "1 where the journal answered, else 0"
    ),
    _journal("phase", "{cohort}", ("cohort", "phase"), "1 for the phase that a cohort is in, 0 for the others"),
    _journal("phase.age", "s", ("cohort",), "Time since a cohort's phase changed"),
    _journal("hold.remaining", "s", ("cohort",), "Time left of a hold; only while there is one"),
    _journal("partitions", "{partition}", ("step", "state"), "Partitions of the plan: `done`, `running`, `waiting`"),
    _journal("rows", "{row}", ("step",), "Rows that have a step behind them"),
    _journal("verdicts", "{verdict}", ("outcome",), "Verdicts of the run of the newest evidence: `passed`, `failed`"),
    _journal("evidence.go", "{evidence}", (), "1 where the newest evidence says GO, 0 where it says NO-GO"),
    _journal("blockers", "{guard}", (), "Guards that would refuse the next step now"),
    _journal("alerts", "{alert}", (), "What people should know now: see `vectorferry status`"),
    _journal("question.age", "s", ("kind",), "For how long a question has waited for an answer; only while one does"),
    _journal("backlog", "{record}", ("state",), "What the follower lacks or may lack: `dirty`, `rejected`, `open`"),
    _journal("backlog.oldest_open", "s", (), "Age of the oldest write that may still take effect"),
    _journal(
        "routers",
        "{router}",
        ("state",),
        "Routers with a lease (`live`), beyond it (`silent`), in an earlier phase too (`draining`)",
    ),
    _journal("routers.expected", "{router}", (), "How many the spec expects, at least"),
    _journal("lease.remaining", "s", (), "The shortest time left of a router's lease; negative: it is silent"),
    _journal("reconciliation.age", "s", ("outcome",), "Time since the newest reconciliation ended, and how"),
    _journal("reconciliation.repairs", "{record}", (), "Records that had drifted by the newest reconciliation"),
    _journal("backup.age", "s", (), "Time since the newest backup was complete"),
    _journal("drill.age", "s", (), "Time since the newest restore drill"),
    _journal("drill.passed", "{drill}", (), "1 where it passed, else 0"),
    _journal("capacity.used", "By", ("side", "what"), "`memory` and `disk` of a side, when they were measured last"),
    _journal("capacity.utilization", "1", ("side", "what"), "Share of the spec's limit, of `rows` too"),
    _journal(
        "latency", "s", ("side", "percentile"), "Latency of a side as it was sampled last: `50`, `95`, `99`, `100`"
    ),
)
_BY_NAME = {each.name: each for each in CATALOGUE}
