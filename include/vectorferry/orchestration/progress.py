"""Progress in a task's log: now and then, with the rate, and with the time left once the rate has been measured."""

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vectorferry.engine.session import StepProgress

EVERY = 10.0

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
        log.info("%s", progress.text(now - began, first))

    def _is_due(self, progress: "StepProgress", now: float) -> bool:
        is_last = progress.total is not None and progress.done >= progress.total
        return bool(progress.note) or is_last or now - self._written.get(progress.step, -EVERY) >= EVERY
