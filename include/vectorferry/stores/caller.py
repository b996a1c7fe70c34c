"""Caller: sends a store's requests within the rate budget, with backoff, a deadline and a meter."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from vectorferry.core.errors import OutcomeUnknown, RateLimited, RetryableError
from vectorferry.core.model import Usage

T = TypeVar("T")


class Pacer(Protocol):
    """Hands out the right to send requests; shared by all tasks and runs that use a connection."""

    def reserve(self, requests: int) -> float:
        """Reserve some requests; returns how many seconds to wait before sending them."""
        ...


class Unpaced:
    """A pacer without a limit."""

    def reserve(self, requests: int) -> float:
        """Never wait."""
        del requests
        return 0.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all; waits are drawn from [0, base * 2^n] seconds, at most `cap`, and never less than the vendor's Retry-After."""

    attempts: int = 8
    base: float = 0.25
    cap: float = 20.0

    def wait(self, attempt: int, error: RetryableError) -> float:
        """Seconds to wait after the failed attempt number `attempt` (from 0)."""
        drawn = random.uniform(0, min(self.cap, self.base * 2**attempt))  # noqa: S311 (jitter, not a secret)
        asked = error.retry_after if isinstance(error, RateLimited) and error.retry_after else 0.0
        return asked + drawn


ONCE = RetryPolicy(attempts=1)

_permission: ContextVar[Callable[[], None] | None] = ContextVar("permission", default=None)


@contextmanager
def permitted_by(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before each request of this thread, retries included; it raises where this worker may send no more.

    A retry may come long after the first try: by then another worker may own the work, and count it as done.
    """
    token = _permission.set(check)
    try:
        yield
    finally:
        _permission.reset(token)


class Caller:
    """Calls a database: paces, retries what may be retried, meters. Thread-safe.

    `unanswered_at` is the time (time.monotonic) of the last request that may still take effect because no answer came, None where
    there is none: a loader waits D after it before it calls a partition loaded.
    """

    def __init__(
        self,
        *,
        pacer: Pacer | None = None,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pacer = pacer or Unpaced()
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._lock = threading.Lock()
        self._usage = Usage()
        self.unanswered_at: float | None = None

    def unanswered_since(self, since: float) -> bool:
        """Whether a request after `since` (time.monotonic) may still take effect, because no answer came."""
        return self.unanswered_at is not None and self.unanswered_at >= since

    def seconds_unanswered(self) -> float | None:
        """Seconds since the last request that may still take effect, None where there is none."""
        return None if self.unanswered_at is None else time.monotonic() - self.unanswered_at

    def pace(self, pacer: Pacer) -> None:
        """Follow this pacer from now on."""
        self._pacer = pacer

    @property
    def usage(self) -> Usage:
        """What the calls cost so far."""
        with self._lock:
            return self._usage

    def charge(self, *, read_units: float = 0.0, write_units: float = 0.0) -> None:
        """Add units that the vendor said it charged."""
        self._add(Usage(read_units=read_units, write_units=write_units))

    def __call__(self, request: Callable[[], T], *, retry: bool = True) -> T:
        """Send one request. `request` raises StoreErrors; retryable ones are tried again unless `retry` is False."""
        attempts = self._policy.attempts if retry else 1
        for attempt in range(attempts):
            self._pace()
            if (check := _permission.get()) is not None:
                check()
            try:
                return request()
            except RetryableError as error:
                self._note(error, last=attempt + 1 == attempts)
                if attempt + 1 == attempts:
                    raise
                self._sleep(self._policy.wait(attempt, error))
        raise AssertionError("a policy has at least one attempt")

    def _pace(self) -> None:
        wait = self._pacer.reserve(1)
        if wait > 0:
            self._sleep(wait)
        self._add(Usage(requests=1, paced_seconds=max(wait, 0.0)))

    def _note(self, error: RetryableError, *, last: bool) -> None:
        if isinstance(error, OutcomeUnknown):
            self.unanswered_at = time.monotonic()
        self._add(Usage(retries=0 if last else 1, throttled=int(isinstance(error, RateLimited))))

    def _add(self, usage: Usage) -> None:
        with self._lock:
            self._usage = replace(self._usage + usage)
