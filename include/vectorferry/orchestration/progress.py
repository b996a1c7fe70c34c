"""Progress in a task's log: now and then, with the rate, and with the time left once the rate has been measured."""

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vectorferry.engine.session import StepProgress

EVERY = 10.0
MEASURED = 5.0

log = logging.getLogger(__name__)


class LogReport:
    """Writes the first report of a step, then one every ten seconds, and the last; thread-safe. A note is always written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began: dict[tuple[str, str], tuple[float, int]] = {}
        self._written: dict[str, float] = {}

    def __call__(self, progress: "StepProgress") -> None:
        """Take one report in."""
        now = time.monotonic()
        with self._lock:
            began, first = self._began.setdefault((progress.step, progress.scope), (now, progress.done))
            if not self._is_due(progress, now):
                return
            self._written[progress.step] = now
        log.info("%s", line(progress, now - began, first))

    def _is_due(self, progress: "StepProgress", now: float) -> bool:
        is_last = progress.total is not None and progress.done >= progress.total
        return bool(progress.note) or is_last or now - self._written.get(progress.step, -EVERY) >= EVERY


def line(progress: "StepProgress", elapsed: float, first: int = 0) -> str:
    """One report as text; `elapsed` is in seconds since `first` rows were done."""
    if progress.note:
        return f"{progress.step} {progress.scope}: {progress.note}"
    of = f" of {progress.total:,}" if progress.total else ""
    return f"{progress.step} {progress.scope}: {progress.done:,}{of}{_pace(progress, elapsed, first)}"


def _pace(progress: "StepProgress", elapsed: float, first: int) -> str:
    rate = (progress.done - first) / elapsed if elapsed >= MEASURED else 0.0
    if rate <= 0:
        return ""
    left = f", {(progress.total - progress.done) / rate:,.0f} s left" if progress.total else ""
    return f", {rate:,.0f}/s{left}"
