"""Latency: searches go out by the clock, a stall shows in all that fell due, the source stays within its budget."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.building import Built, build, records, vectors
from vectorferry.core.errors import Unavailable
from vectorferry.core.model import Verdict
from vectorferry.core.records import make_batch
from vectorferry.engine.checks.latency import at_rate, check_latency, percentiles
from vectorferry.engine.checks.query_set import prepare_queries
from vectorferry.stores.memory import MEMORY

FAST = {"queries": 20, "rate": 400}


def latency(made: Built) -> Verdict:
    prepare_queries(made.session, made.plan)
    (verdict,) = check_latency(made.session, made.plan)
    assert (verdict.check, verdict.scope) == ("latency", "overall")
    return verdict


def test_both_sides_are_measured(tmp_path: Path) -> None:
    verdict = latency(build(tmp_path, [records("n", 50)], checks={"latency": FAST}))
    assert verdict.passed
    for side in ("source", "target"):
        figures = verdict.figures[side]
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"]
        assert figures["queries"] == 20


@pytest.mark.parametrize("figure", ["p50_ms", "p95_ms", "p99_ms"])
def test_a_slow_target_fails_where_the_spec_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: str
) -> None:
    made = build(tmp_path, [records("n", 50)], checks={"latency": FAST | {f"max_{figure}": 20}})
    search = made.target.search

    def slow(*args: Any, **how: Any) -> Any:
        time.sleep(0.05)
        return search(*args, **how)

    monkeypatch.setattr(made.target, "search", slow)
    verdict = latency(made)
    assert not verdict.passed
    assert verdict.reason.startswith(f"the target's {figure[:3]} is ")
    assert verdict.reason.endswith("the spec allows 20 ms")
    assert verdict.figures[f"max_{figure}"] == 20
    assert verdict.figures["target"]["p50_ms"] >= 50


def test_the_source_is_asked_within_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = {"budgets": {"source": {"requests_per_second": 100}}}
    made = build(tmp_path, [records("n", 50)], checks={"latency": FAST}, sections=budget)
    assert latency(made).figures["source"]["rate"] == 90.0
    monkeypatch.setattr("vectorferry.engine.checks.latency._MOST_SECONDS_ON_SOURCE", 0.1)
    assert latency(made).figures["source"]["queries"] == 9
    quota = build(
        tmp_path / "q", [records("n", 9)], checks={"latency": FAST}, source=replace(MEMORY, reads_per_second=400)
    )
    assert latency(quota).figures["source"]["rate"] == 90.0


def test_a_stall_shows_in_every_search_that_fell_due() -> None:
    stalled = threading.Event()
    requests = [lambda: stalled.wait(0.3) and None] + [lambda: None] * 19
    seconds = at_rate(requests, 200, workers=1)
    assert all(s > 0.15 for s in seconds[:20])
    assert np.median(at_rate([lambda: None] * 20, 200, workers=4)) < 0.1


def test_searches_are_sent_at_the_rate() -> None:
    sent: list[float] = []
    at_rate([lambda: sent.append(time.perf_counter())] * 21, 100)
    assert 0.19 < sent[-1] - sent[0] < 0.6


def test_a_search_that_fails_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build(tmp_path, [records("n", 50)], checks={"latency": FAST})

    def down(*_: Any, **__: Any) -> Any:
        raise Unavailable("down")

    monkeypatch.setattr(made.target, "search", down)
    with pytest.raises(Unavailable):
        latency(made)


def test_nothing_to_search(tmp_path: Path) -> None:
    batch = make_batch("n", ["a"], vectors(1), ["{}"], missing=np.array([True]))
    assert latency(build(tmp_path, [batch])).passed
    assert not latency(build(tmp_path / "limit", [batch], checks={"latency": {"max_p95_ms": 5}})).passed


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles([0.001 * n for n in range(101)]) == {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100}
