"""Metrics of a session: how long it took, how it ended, and what it asked of both databases."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.metrics import Meter

from vectorferry.core.metrics import metric
from vectorferry.core.model import SIDES, Usage
from vectorferry.telemetry import sending

_NAME = "vectorferry.task"
_COUNTED = {
    "requests": "requests",
    "retries": "retries",
    "throttled": "throttled",
    "read_units": "read_units",
    "write_units": "write_units",
    "paced": "paced_seconds",
}


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """The counters of one session."""

    meter: Meter
    labels: dict[str, str]

    def used(self, source: Usage, target: Usage) -> None:
        """Count what both databases were asked; what is zero is counted too, so that a rate has something to begin from."""
        for name, field in _COUNTED.items():
            counter = metric(f"{_NAME}.{name}").counter(self.meter)
            for side, usage in zip(SIDES, (source, target), strict=True):
                counter.add(getattr(usage, field), {**self.labels, "side": side})


@contextmanager
def measured_task(migration: str, task: str) -> Iterator[TaskMetrics]:
    """Measure a session until its end; by then its figures have been sent, or given up after five seconds."""
    labels, began = {"migration": migration, "task": task}, time.monotonic()
    with sending() as meter:
        duration, ended = metric(f"{_NAME}.duration").histogram(meter), labels
        try:
            yield TaskMetrics(meter, labels)
        except BaseException as error:
            ended = {**labels, "error.type": type(error).__name__}
            raise
        finally:
            duration.record(time.monotonic() - began, ended)
