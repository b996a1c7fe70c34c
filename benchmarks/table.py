"""What was measured, as lines for people and as JSON."""

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.memory import MOST_BYTES, MOST_GROWTH, Peak
from benchmarks.timing import Race, Timed


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


def summary(races: Sequence[Race], peaks: Sequence[Peak]) -> Iterator[str]:
    """A Markdown table of all."""
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


def as_json(races: Sequence[Race], peaks: Sequence[Peak]) -> dict[str, Any]:
    """All figures."""
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "races": [_race_json(race) for race in races],
        "peaks": [
            {
                "task": peak.task,
                "bytes": {str(rows): list(runs) for rows, runs in peak.peaks.items()},
                "growth": peak.growth,
                "enough": peak.enough,
            }
            for peak in peaks
        ],
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
