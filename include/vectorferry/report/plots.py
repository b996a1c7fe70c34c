"""Plots of a report: which chart a check has, and the data that it draws, bounded so that a page stays a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_POINTS = 2_000
MOST_LINES = 60

Verdicts = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart: its function in charts.js, its data, and what was left out, in words."""

    chart: str
    data: Any
    caption: str = ""


def plot_of(check: str, found: Verdicts) -> Plot | None:
    """The chart of a check, None for those that have none; empty data draws nothing."""
    makes = _PLOTS.get(check)
    return makes(found) if makes else None


def _balance(found: Verdicts) -> Plot:
    every = [
        {
            "partition": v["scope"],
            "passed": v["passed"],
            **{name: v["figures"].get(name) for name in ("source", "staged", "target", "excused")},
        }
        for v in sorted(found, key=lambda v: str(v["scope"]))
    ]
    shown = every
    if len(every) > MOST_POINTS:
        failed = [row for row in every if not row["passed"]][: MOST_POINTS // 2]
        step = -(-len(every) // (MOST_POINTS // 2))
        shown = sorted([*failed, *(row for row in every[::step] if row["passed"])], key=lambda row: row["partition"])
    return Plot(
        "balance",
        shown,
        _left_out(len(every), len(shown), "partitions", "those that fail, and every few of the others"),
    )


def _recall(found: Verdicts) -> Plot:
    measured = [v for v in found if v["scope"].startswith("namespace:") and "low" in v["figures"]]
    measured.sort(key=lambda v: (v["figures"]["low"], v["figures"]["recall"]))
    rows = [
        {
            "namespace": v["scope"].removeprefix("namespace:"),
            "passed": v["passed"],
            **{name: v["figures"][name] for name in ("recall", "low", "high", "threshold")},
        }
        for v in measured[:MOST_LINES]
    ]
    return Plot("recallIntervals", rows, _left_out(len(measured), len(rows), "namespaces", "the worst"))


def _filters(found: Verdicts) -> Plot:
    each = sorted((v for v in found if "filter" in v["figures"]), key=lambda v: (v["passed"], -v["figures"]["matched"]))
    rows = [
        {
            "filter": v["figures"]["filter"],
            "matched": v["figures"]["matched"],
            "passed": v["passed"],
            "differences": v["total_differences"],
        }
        for v in each[:MOST_LINES]
    ]
    return Plot("filterParity", rows, _left_out(len(each), len(rows), "filters", "those that fail, then the largest"))


def _overall(chart: str) -> Callable[[Verdicts], Plot]:
    def made(found: Verdicts) -> Plot:
        return Plot(chart, next((v["figures"] for v in found if v["scope"] == "overall"), {}))

    return made


def _left_out(every: int, shown: int, what: str, which: str) -> str:
    return f"{shown:,} of {every:,} {what} are drawn: {which}." if shown < every else ""


_PLOTS: Mapping[str, Callable[[Verdicts], Plot]] = {
    "counts": _balance,
    "recall": _recall,
    "effort": _overall("effortCurve"),
    "filters": _filters,
    "latency": _overall("latencyBars"),
    "load": _overall("loadCurve"),
    "relevance": _overall("relevance"),
    "drift": _overall("driftKinds"),
}
