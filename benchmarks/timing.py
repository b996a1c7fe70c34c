"""Contestants measured in turn: every round runs each of them once, so that a busy machine is busy for all."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ENOUGH = 0.9
"""The least ratio of our rate to the best of the others."""
_FINALISTS = 2


class Watch:
    """Counts the seconds inside its `with` blocks, and the CPU seconds of this process; preparing and reading back stay outside."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu = 0.0
        self._began = 0.0
        self._cpu_began = 0.0

    def __enter__(self) -> Self:
        self._cpu_began = time.process_time()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += time.perf_counter() - self._began
        self.cpu += time.process_time() - self._cpu_began


@dataclass(frozen=True)
class Contestant:
    """One way to do the job; `run` prepares, works under the watch, and raises where reading back finds the job incomplete."""

    name: str
    run: Callable[[Watch], None]

    def once(self) -> Watch:
        """One run."""
        gc.collect()
        watch = Watch()
        self.run(watch)
        return watch


@dataclass
class Timed:
    """One contestant's runs, in seconds; `cpu` is what they took of this process's processors."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def add(self, watch: Watch) -> None:
        """Note one run."""
        self.seconds.append(watch.seconds)
        self.cpu.append(watch.cpu)


@dataclass(frozen=True)
class Race:
    """What came out for one job of `rows` rows: `grid` are the qualifying runs of all settings, `others` the finalists.

    `asked` is the least ratio, None where a figure is shown and nothing asked of it.
    """

    job: str
    rows: int
    ours: Timed
    others: Sequence[Timed]
    grid: Sequence[Timed]
    asked: float | None = ENOUGH

    @property
    def best(self) -> Timed:
        """The other that was fastest by its median."""
        return min(self.others, key=lambda timed: timed.median)

    @property
    def ratio(self) -> float:
        """Our rate by the best other's, both by their medians."""
        return self.best.median / self.ours.median

    @property
    def enough(self) -> bool:
        """Whether the ratio reaches what is asked for."""
        return self.asked is None or self.ratio >= self.asked


@dataclass(frozen=True)
class Rounds:
    """How often: `repeats` rounds among us and the `finalists` best of the grid."""

    repeats: int = 5
    finalists: int = _FINALISTS


def race(
    job: str,
    rows: int,
    ours: Contestant,
    others: Sequence[Contestant],
    rounds: Rounds,
    asked: float | None = ENOUGH,
) -> Race:
    """Run the grid once, then the final; our own first run warms up and is not counted, as the grid's are not."""
    grid = [Timed(other.name) for other in others]
    for timed, other in zip(grid, others, strict=True):
        timed.add(other.once())
    by_time = sorted(zip(grid, others, strict=True), key=lambda pair: pair[0].median)
    final = [ours, *(other for _, other in by_time[: rounds.finalists])]
    ours.once()
    finalists = [Timed(each.name) for each in final]
    for number in range(rounds.repeats):
        for place in range(len(final)):
            turn = (place + number) % len(final)
            finalists[turn].add(final[turn].once())
    return Race(job, rows, finalists[0], finalists[1:], grid, asked)
