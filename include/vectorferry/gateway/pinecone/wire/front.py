"""Front of both wires: checks the key, injects the faults, and turns errors from behind it into answers."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from opentelemetry import metrics

from vectorferry import __version__
from vectorferry.core.errors import VectorferryError
from vectorferry.core.metrics import metric
from vectorferry.gateway.faults import NO_EFFECTS, Effects, Faults
from vectorferry.gateway.pinecone.api.access import Caller, Operations, as_seen_by
from vectorferry.gateway.pinecone.api.control import Indexes
from vectorferry.gateway.pinecone.api.problems import ApiProblem, Dropped, problem_of, refused
from vectorferry.gateway.pinecone.wire.keys import KeyRing

T = TypeVar("T")
access = logging.getLogger("vectorferry.gateway.access")


class Instruments:
    """The instruments on one meter. Without OpenTelemetry's SDK in the process they measure nothing."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.requests = metric("vectorferry.gateway.requests").counter(meter)
        self.duration = metric("vectorferry.gateway.request.duration").histogram(meter)
        self.active = metric("vectorferry.gateway.active_requests").up_down(meter)


INSTRUMENTS = Instruments(metrics.get_meter("vectorferry.gateway", __version__))


class Front:
    """Guards the indexes, and counts who asked what.

    `ready` says whether what is behind can be asked; without `faults` none may be injected.
    """

    def __init__(self, indexes: Indexes, faults: Faults | None, keys: KeyRing, ready: Callable[[], bool]) -> None:
        self.indexes = indexes
        self.faults = faults
        self._keys = keys
        self._ready = ready
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self._under_way = 0

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return not self._stopping.is_set() and self._ready()

    def caller(self, key: str | None) -> Caller | None:
        """Whose a request's API key is, None where it is not right."""
        found = self._keys.caller(key)
        if found is None:
            self._count("", "unauthorized", 401)
        return found

    def data(self, caller: Caller, index: str) -> Operations:
        """The operations of an index, as this caller has them. Raises 404."""
        return as_seen_by(caller, self.indexes.data(index))

    def calls(self) -> dict[str, Any]:
        """How often each caller got which status for which operation, and how many requests are under way."""
        with self._counting:
            counted, under_way = sorted(self._calls.items()), self._under_way
        rows = [{"caller": who, "operation": what, "status": code, "calls": n} for (who, what, code), n in counted]
        return {"under_way": under_way, "calls": rows}

    def call(self, caller: Caller, operation: str, index: str, work: Callable[[Effects], T]) -> T:
        """Do the work of a request under the faults in force, if the caller may ask for it. Raises ApiProblem and Dropped."""
        began, status = time.monotonic(), 500
        with self._counting:
            self._under_way += 1
        INSTRUMENTS.active.add(1, {"operation": operation})
        try:
            caller.require(operation)
            answer = self._work(operation, index, work)
            status = 200
        except ApiProblem as problem:
            status = problem.status
            raise
        finally:
            with self._counting:
                self._under_way -= 1
            self._count(caller.name, operation, status)
            seconds = time.monotonic() - began
            INSTRUMENTS.active.add(-1, {"operation": operation})
            INSTRUMENTS.duration.record(seconds, {"operation": operation, "status": status})
            access.info("caller=%s operation=%s status=%d ms=%.1f", caller.name, operation, status, seconds * 1000)
        return answer

    def stop(self) -> None:
        """Be ready no longer, and end injected waits."""
        self._stopping.set()

    def _work(self, operation: str, index: str, work: Callable[[Effects], T]) -> T:
        effects = self.faults.meet(operation, index) if self.faults else NO_EFFECTS
        if effects.latency:
            self._stopping.wait(effects.latency)
        if effects.drop_before:
            raise Dropped(operation)
        if effects.refusal:
            raise refused(effects.refusal)
        try:
            answer = work(effects)
        except VectorferryError as error:
            raise problem_of(error) from error
        if effects.drop_after:
            raise Dropped(operation)
        return answer

    def _count(self, caller: str, operation: str, status: int) -> None:
        with self._counting:
            self._calls[caller, operation, status] += 1
        INSTRUMENTS.requests.add(1, {"caller": caller, "operation": operation, "status": status})
