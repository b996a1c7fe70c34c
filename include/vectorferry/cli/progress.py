"""Live progress of a run in one process: a bar for each step on a terminal, a line now and then elsewhere."""

import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from vectorferry.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from vectorferry.engine.session import StepProgress

EVERY = 2.0


@dataclass
class _Step:
    """What is known of one step: its scopes, and since when, and from which count on, each is counted."""

    name: str
    scopes: "dict[str, StepProgress]" = field(default_factory=dict)
    began: dict[str, tuple[float, int]] = field(default_factory=dict)
    last: float = 0.0
    newest: "StepProgress | None" = None
    announced: bool = False

    def take(self, progress: "StepProgress", now: float) -> None:
        """Take one report in; nothing done of a scope that is new says that the step will come to it."""
        if progress.scope not in self.scopes and not progress.done and progress.total is not None:
            self.announced = True
        elif progress.scope not in self.began:
            self.began[progress.scope] = (now, progress.done)
        self.scopes[progress.scope] = progress
        self.newest, self.last = progress, now

    @property
    def done(self) -> int:
        """Rows of all partitions, or what the newest report says."""
        assert self.newest is not None, "it was reported"
        return sum(each.done for each in self.scopes.values()) if self.announced else self.newest.done

    @property
    def total(self) -> int | None:
        """As `done`; None where it is not known."""
        assert self.newest is not None, "it was reported"
        return sum(each.total or 0 for each in self.scopes.values()) if self.announced else self.newest.total

    @property
    def ended(self) -> bool:
        """Whether all is done of which is known how much it is."""
        return self.total is not None and self.done >= self.total

    def line(self) -> str:
        """As text: the rate is that of the time in which the step was worked on."""
        from vectorferry.engine.session import pace

        assert self.newest is not None, "it was reported"
        if not self.announced:
            began, first = self.began.get(self.newest.scope, (self.last, 0))
            return self.newest.text(self.last - began, first)
        ended = sum(each.done >= (each.total or 0) for each in self.scopes.values())
        since = min((began for began, _ in self.began.values()), default=self.last)
        counted = self.done - sum(first for _, first in self.began.values())
        done, total = self.done, self.total or 0
        rate = pace(counted, self.last - since, total - done)
        return f"{self.name}: {ended} of {len(self.scopes)} partitions, {done:,} of {total:,} rows{rate}"


class Live:
    """Shows how far each step is, over all partitions; thread-safe. Rates are shown once measured."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._steps: dict[str, _Step] = {}
        self._shown: dict[str, float] = {}
        self._unfinished: set[str] = set()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console

        return Console(file=self._file, highlight=False)

    def show(self, progress: "StepProgress") -> None:
        """Take one report in."""
        with self._lock:
            now = time.monotonic()
            if progress.note:
                self._note(progress, now)
                return
            step = self._steps.setdefault(progress.step, _Step(progress.step))
            step.take(progress, now)
            if self._console.is_terminal:
                self._draw(step)
            elif progress.done and self._is_due(step, now):
                self._shown[step.name] = now
                self._console.print(plain(step.line()), markup=False)

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(plain(text), markup=False, soft_wrap=True)

    def ask(self, prompt: str) -> str:
        """A line that a person types; raises EOFError where nobody does."""
        return self._console.input(prompt)

    def close(self) -> None:
        """Stop drawing; further reports start anew."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars, self._tasks = None, {}

    def _is_due(self, step: _Step, now: float) -> bool:
        """Now and then; and at its end, where the line printed last would look as if it had stopped before."""
        if step.ended:
            due = step.name in self._unfinished or now - self._shown.get(step.name, 0.0) > EVERY
            self._unfinished.discard(step.name)
            return due
        due = now - self._shown.get(step.name, 0.0) > EVERY
        if due:
            self._unfinished.add(step.name)
        return due

    def _note(self, progress: "StepProgress", now: float) -> None:
        """Print a note, of what says the same again and again now and then only."""
        what = f"{progress.step} {progress.scope}"
        if now - self._shown.get(what, -EVERY) >= EVERY:
            self._shown[what] = now
            self._console.print(plain(f"{what}: {progress.note}"), markup=False)

    def _draw(self, step: _Step) -> None:
        if self._bars is None:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Bars(*columns, console=self._console)
            self._bars.start()
        if step.name not in self._tasks:
            self._tasks[step.name] = self._bars.add_task(step.name, total=None)
        self._bars.update(self._tasks[step.name], completed=step.done, total=step.total)
