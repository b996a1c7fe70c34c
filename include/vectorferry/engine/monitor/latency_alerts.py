"""Latency alerts: a side that has left the spec's budget over several looks, not in one."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median

from vectorferry.core.model import SIDES
from vectorferry.journal import Journal, Sample
from vectorferry.spec.migration import MigrationSpec

WINDOW = 5
"""So many samples are looked at; the median of fewer than three would be that of one slow search."""
_LEAST = 3
_BACK = timedelta(days=1)


def latency_alerts(journal: Journal, spec: MigrationSpec, now: datetime) -> Iterator[tuple[str, str]]:
    """Keys and texts of what should be known now."""
    for side in SIDES if spec.checks.latency.budgets else ():
        samples = journal.samples.of(
            spec.migration, "latency", now - max(_BACK, WINDOW * spec.notify.watch_every), side
        )
        for figure, most in spec.checks.latency.budgets.items():
            values = [(sample, sample.figures[figure]) for sample in samples]
            latest = [value for _, value in values[-WINDOW:]]
            if len(latest) < _LEAST or (found := median(latest)) <= most:
                continue
            since = _since([(sample, value > most) for sample, value in values])
            name = figure.removesuffix("_ms")
            text = (
                f"{side}: {name} of searches is {found:g} ms (median of the last {len(latest)} samples), the spec allows {most:g} ms "
                f"(checks.latency.max_{figure}); since {since:%Y-%m-%d %H:%M:%S} UTC"
            )
            yield f"latency {side} {name}", text


def _since(judged: Sequence[tuple[Sample, bool]]) -> datetime:
    """When the first of the samples over budget was taken, after which it was within for no three in a row."""
    first, calm = judged[-1][0].at, 0
    for sample, over in reversed(judged):
        calm = 0 if over else calm + 1
        if calm == _LEAST:
            break
        first = sample.at if over else first
    return first
