"""Live progress of a run in one process: a bar for each step on a terminal, a line now and then elsewhere."""

import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from vectorferry.engine.session import StepProgress

EVERY = 2.0


class Live:
    """Shows rows done by step, over all partitions; thread-safe. Rates are shown once measured."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._steps: dict[str, dict[str, StepProgress]] = {}
        self._began: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, progress: "StepProgress") -> None:
        """Take one report in."""
        with self._lock:
            now = time.monotonic()
            if progress.note:
                self._note(progress, now)
                return
            self._began.setdefault(progress.step, now)
            self._steps.setdefault(progress.step, {})[progress.scope] = progress
            if self._console.is_terminal:
                self._draw(progress.step)
            elif now - self._shown.get(progress.step, 0.0) > EVERY:
                self._shown[progress.step] = now
                self._console.print(self._line(progress.step, now), markup=False)

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False)

    def close(self) -> None:
        """Stop drawing; further reports start anew."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars, self._tasks = None, {}

    def _note(self, progress: "StepProgress", now: float) -> None:
        """Print a note, of what says the same again and again now and then only."""
        what = f"{progress.step} {progress.scope}"
        if now - self._shown.get(what, -EVERY) >= EVERY:
            self._shown[what] = now
            self._console.print(f"{what}: {progress.note}", markup=False)

    def _draw(self, step: str) -> None:
        if self._bars is None:
            columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Bars(*columns, console=self._console)
            self._bars.start()
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=None)
        self._bars.update(self._tasks[step], completed=self._done(step))

    def _done(self, step: str) -> int:
        return sum(p.done for p in self._steps[step].values())

    def _line(self, step: str, now: float) -> str:
        elapsed = now - self._began[step]
        rate = f", {self._done(step) / elapsed:,.0f}/s" if elapsed > 1 else ""
        return f"{step}: {self._done(step):,} in {len(self._steps[step])}{rate}"
