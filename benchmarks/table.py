"""What was measured, as lines for people and as JSON."""

import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.live import Calls, Rate
from benchmarks.memory import MOST_BYTES, MOST_GROWTH, Peak
from benchmarks.page import Answered
from benchmarks.scale import Scaled
from benchmarks.timing import Race, Timed


@dataclass
class Measured:
    """All that was measured."""

    races: list[Race] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    calls: list[Calls] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    scaled: list[Scaled] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)

    def add(self, found: Race | Peak | Calls | Rate | Scaled | Answered) -> Iterator[str]:
        """Keep a result; returns it as lines."""
        if isinstance(found, Race):
            self.races.append(found)
            return race_lines(found)
        if isinstance(found, Peak):
            self.peaks.append(found)
            return peak_lines(found)
        if isinstance(found, Calls):
            self.calls.append(found)
            return iter([_calls_row(found)])
        if isinstance(found, Scaled):
            self.scaled.append(found)
            return iter([_scaled_row(found)])
        if isinstance(found, Answered):
            self.answered.append(found)
            return iter([_answered_row(found)])
        self.rates.append(found)
        return iter([_rate_row(found)])


def race_lines(race: Race) -> Iterator[str]:
    """One job: the grid, then the final."""
    yield f"{race.job}, {race.rows} rows"
    for timed in sorted(race.grid, key=lambda each: each.median):
        yield f"  grid   {_rate(race, timed):>9}  {timed.name}"
    for timed in (race.ours, *race.others):
        runs = ", ".join(f"{race.rows / seconds:,.0f}" for seconds in sorted(timed.seconds, reverse=True))
        yield f"  final  {_rate(race, timed):>9}  {timed.name}  ({runs}; client CPU {_cpu(timed):.2f} s)"
    judged = (
        "shown, nothing is asked"
        if race.asked is None
        else f"{_judged(race.enough)}, at least {race.asked} is asked for"
    )
    yield f"  ratio  {race.ratio:9.2f}  {judged}"


def peak_lines(peak: Peak) -> Iterator[str]:
    """One task."""
    shown = ", ".join(
        f"{rows} rows {median / (1 << 20):.0f} MiB in {peak.seconds[rows]:.1f} s"
        for rows, median in peak.medians.items()
    )
    limit = f"at most {MOST_GROWTH:.0%} growth and {MOST_BYTES >> 20} MiB are asked for"
    yield f"peak of {peak.task}: {shown}; growth {peak.growth:+.1%}  {_judged(peak.enough)}, {limit}"


def summary(measured: Measured) -> Iterator[str]:
    """Markdown tables of all."""
    races, peaks = measured.races, measured.peaks
    if races:
        yield "| job | rows | ours, rows/s | best other | its rows/s | ratio | client CPU, ours and its |"
        yield "|---|---|---|---|---|---|---|"
        for race in races:
            figures = f"{_rate(race, race.ours)} | {race.best.name} | {_rate(race, race.best)} | {race.ratio:.2f}"
            yield f"| {race.job} | {race.rows:,} | {figures} | {_cpu(race.ours):.2f} s, {_cpu(race.best):.2f} s |"
    if races and peaks:
        yield ""
    if peaks:
        sizes = list(peaks[0].peaks)
        yield f"| task | {' | '.join(f'peak at {rows:,} rows' for rows in sizes)} | growth |"
        yield f"|---|{'---|' * len(sizes)}---|"
        for peak in peaks:
            medians = " | ".join(f"{peak.medians[rows] / (1 << 20):.0f} MiB" for rows in sizes)
            yield f"| {peak.task} | {medians} | {peak.growth:+.1%} |"

    if measured.calls:
        yield "\n| call | router p50 | client p50 | ratio | router p99 | client p99 | ratio |\n|---|---|---|---|---|---|---|"
        yield from map(_calls_row, measured.calls)
    if measured.rates:
        yield "\n| job | a second | calls a second | beside | its, a second | ratio |\n|---|---|---|---|---|---|"
        yield from map(_rate_row, measured.rates)
    if measured.scaled:
        yield "\n| stage | ids | partitions | seconds | client CPU | peak |\n|---|---|---|---|---|---|"
        yield from map(_scaled_row, measured.scaled)
    if measured.answered:
        yield "\n| route | ms | slowest | statements | bytes |\n|---|---|---|---|---|"
        yield from map(_answered_row, measured.answered)


def _answered_row(found: Answered) -> str:
    times = f"{found.median * 1000:,.0f} | {max(found.seconds) * 1000:,.0f}"
    return f"| {found.route} | {times} | {found.statements} | {found.size:,} |"


def _scaled_row(found: Scaled) -> str:
    peak = f"{found.bytes / (1 << 20):.0f} MiB"
    return (
        f"| {found.stage} | {found.ids:,} | {found.partitions:,} | {found.seconds:.1f} | {found.cpu:.1f} s | {peak} |"
    )


def _calls_row(calls: Calls) -> str:
    cells = (
        f"{calls.milliseconds('ours', percent):.1f} ms | {calls.milliseconds('bare', percent):.1f} ms | {calls.ratio(percent):.2f}"
        for percent in (50, 99)
    )
    return f"| {calls.job} | {' | '.join(cells)} |"


def _rate_row(rate: Rate) -> str:
    calls = f"{rate.calls_per_second:,.0f}" if rate.calls_per_second else ""
    its = f"{rate.its_per_second:,.0f} | {rate.per_second / rate.its_per_second:.2f}" if rate.its_per_second else " | "
    return f"| {rate.job} | {rate.per_second:,.0f} | {calls} | {rate.beside} | {its} |"


def as_json(measured: Measured) -> dict[str, Any]:
    """All figures."""
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "races": [_race_json(race) for race in measured.races],
        "peaks": [
            {
                "task": peak.task,
                "bytes": {str(rows): list(runs) for rows, runs in peak.peaks.items()},
                "growth": peak.growth,
                "enough": peak.enough,
            }
            for peak in measured.peaks
        ],
        "calls": [asdict(calls) for calls in measured.calls],
        "rates": [asdict(rate) for rate in measured.rates],
        "scaled": [asdict(scaled) for scaled in measured.scaled],
        "answered": [asdict(route) for route in measured.answered],
    }


def _race_json(race: Race) -> dict[str, Any]:
    return {
        "job": race.job,
        "rows": race.rows,
        "ours": asdict(race.ours),
        "others": [asdict(timed) for timed in race.others],
        "grid": [asdict(timed) for timed in race.grid],
        "best": race.best.name,
        "ratio": race.ratio,
        "enough": race.enough,
    }


def _rate(race: Race, timed: Timed) -> str:
    return f"{race.rows / timed.median:,.0f}"


def _cpu(timed: Timed) -> float:
    return statistics.median(timed.cpu)


def _judged(enough: bool) -> str:
    return "good" if enough else "NOT ENOUGH"
