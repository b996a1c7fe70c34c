"""Telemetry of a router: OpenTelemetry metrics and log records, never vectors, metadata, ids of records, or secrets.

Only OpenTelemetry's API is used: without an SDK in the application, measuring does nothing.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import metrics

from vectorferry import __version__
from vectorferry.core.errors import NotDone, Unknown
from vectorferry.core.metrics import metric
from vectorferry.core.model import Phase

LOG = logging.getLogger("vectorferry.router")
_NAME = "vectorferry.router"


class Instruments:
    """The instruments on one meter."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.operations = metric(f"{_NAME}.operations").counter(meter)
        self.duration = metric(f"{_NAME}.operation.duration").histogram(meter)
        self.wait = metric(f"{_NAME}.hold.wait").histogram(meter)
        self.journal = metric(f"{_NAME}.journal.duration").histogram(meter)
        self.mirrors = metric(f"{_NAME}.mirrors").counter(meter)
        self.shadows = metric(f"{_NAME}.shadow.reads").counter(meter)
        self.overlap = metric(f"{_NAME}.shadow.overlap").histogram(meter)
        self.leases = metric(f"{_NAME}.leases").counter(meter)


INSTRUMENTS = Instruments(metrics.get_meter(_NAME, __version__))


@dataclass(slots=True)
class Operation:
    """An operation under way; its phase is empty until it has begun in one."""

    migration: str
    kind: str
    began: float
    phase: str = ""

    def waited(self, phase: Phase) -> None:
        """A write begins now, in this phase; until now it waited."""
        self.phase = phase.value
        INSTRUMENTS.wait.record(time.monotonic() - self.began, {"migration": self.migration, "kind": self.kind})


@contextmanager
def operation(migration: str, kind: str) -> Iterator[Operation]:
    """Count and time an operation, by how it ends."""
    made = Operation(migration, kind, time.monotonic())
    try:
        yield made
    except BaseException as error:
        _ended(made, _outcome_of(error), type(error).__name__)
        raise
    _ended(made, "done", "")


@contextmanager
def journal_call(migration: str, call: str) -> Iterator[None]:
    """Time a call of the journal, whether or not it succeeds."""
    began = time.monotonic()
    try:
        yield
    finally:
        INSTRUMENTS.journal.record(time.monotonic() - began, {"migration": migration, "call": call})


def mirrored(migration: str, outcome: str) -> None:
    """Count a write to the follower: 'done', 'failed', 'unknown', or 'left' to a settler."""
    INSTRUMENTS.mirrors.add(1, {"migration": migration, "outcome": outcome})


def shadowed(migration: str, kind: str, outcome: str, overlap: float | None = None) -> None:
    """Count a shadow read: 'compared', 'failed', 'dropped', or 'set_aside' as a whole."""
    INSTRUMENTS.shadows.add(1, {"migration": migration, "kind": kind, "outcome": outcome})
    if overlap is not None:
        INSTRUMENTS.overlap.record(overlap, {"migration": migration, "kind": kind})


def leased(migration: str, router: str, outcome: str) -> None:
    """Count what became of a lease: 'joined', 'renewed' or 'lapsed'."""
    INSTRUMENTS.leases.add(1, {"migration": migration, "outcome": outcome})
    level = {"joined": logging.INFO, "lapsed": logging.WARNING}.get(outcome, logging.DEBUG)
    LOG.log(level, "lease %s", outcome, extra={"migration": migration, "router": router, "outcome": outcome})


def followed(migration: str, router: str, cohort: str, phase: Phase) -> None:
    """Tell of a phase that new operations begin in."""
    told = {"migration": migration, "router": router, "cohort": cohort, "phase": phase.value}
    LOG.info("cohort %s is in %s", cohort, phase.value, extra=told)


def fenced_off(migration: str, router: str) -> None:
    """Tell that this router does nothing more before an operator has looked at its journal."""
    LOG.error("the journal was restored, or is another one", extra={"migration": migration, "router": router})


def _outcome_of(error: BaseException) -> str:
    return "not_done" if isinstance(error, NotDone) else "unknown" if isinstance(error, Unknown) else "error"


def _ended(made: Operation, outcome: str, error: str) -> None:
    told = {"migration": made.migration, "kind": made.kind, "outcome": outcome, "phase": made.phase}
    seconds = time.monotonic() - made.began
    INSTRUMENTS.operations.add(1, told)
    INSTRUMENTS.duration.record(seconds, told)
    if outcome != "done":
        # The error's class only: its text names ids.
        LOG.warning("%s: %s", made.kind, outcome, extra={**told, "error": error, "seconds": round(seconds, 6)})
