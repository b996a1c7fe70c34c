"""What routers measure of both sides, and what the journal makes of it over time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.conftest import Pair
from vectorferry.core.errors import StoreError
from vectorferry.core.model import COHORT, Phase, Side
from vectorferry.engine.checks.latency_probe import sample_latency
from vectorferry.engine.sync.settle_loop import settle_continuously
from vectorferry.journal import Counted, Latencies
from vectorferry.router import Record

QUERY = [1.0, 0.0, 0.0, 0.0]
seconds = st.floats(0.0, 1e5)


@given(st.lists(seconds), st.lists(seconds), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_times_that_are_added_up_are_those_that_were_counted_together(
    here: list[float], there: list[float], share: float
) -> None:
    apart, together = Latencies.of(*here) + Latencies.of(*there), Latencies.of(*here, *there)
    assert apart == together
    assert together.total == len(here) + len(there)
    if together.total:
        true = sorted([*here, *there])[max(0, -(-int(share * 100) * together.total // 100) - 1)] * 1000
        assert true <= together.percentile(share) * 1.001
        assert together.percentile(share) <= max(0.01, true) * 1.1


def times(pair: Pair, kind: str, side: Side) -> int:
    since = pair.session.journal.control.all("small")[0].changed_at
    return pair.session.journal.traffic.times("small", [COHORT], kind, side, since).total


def test_routers_tell_how_long_each_side_took(tracked: Pair) -> None:
    router = tracked.router()
    router.upsert("n", [Record("a", QUERY), Record("b", QUERY)])
    for _ in range(7):
        router.search("n", QUERY, 1)
    router.fetch("n", ["a"])
    with pytest.raises(StoreError):
        router.search("n", [1.0], 1)
    router.close()
    told = {kind: times(tracked, kind, "source") for kind in ("search", "fetch", "write")}
    assert told == {"search": 7, "fetch": 1, "write": 1}, "the search that failed was not answered"
    # Reads of the target are those that were repeated there, and which are is drawn.
    assert times(tracked, "write", "target") == 1


def test_what_routers_measured_stands_for_a_probe_once(tracked: Pair) -> None:
    journal = tracked.session.journal
    counted = Counted(COHORT, Phase.TRACK_A, 9, 0, {("search", "source"): Latencies.of(*[0.01] * 8, 2.0)})
    journal.traffic.add("small", "r", [counted, Counted(COHORT, Phase.TRACK_A, 1, 0)])
    assert sample_latency(tracked.session) == {}
    [sample] = journal.samples.of("small", "latency")
    assert (sample.scope, sample.figures["from"], sample.figures["queries"]) == ("source", "routers", 9)
    assert sample.figures["p50_ms"] == pytest.approx(10, rel=0.1)
    assert sample.figures["max_ms"] == pytest.approx(2000, rel=0.1)
    sample_latency(tracked.session)
    assert len(journal.samples.of("small", "latency")) == 1, (
        "there is no plan to take queries from, and nothing new was told"
    )


def test_settling_keeps_what_is_left(tracked: Pair) -> None:
    tracked.session.journal.claims.mark_dirty("small", COHORT, "n", ["a", "b"])
    settle_continuously(tracked.session, 0.5)
    [sample] = tracked.session.journal.samples.of("small", "backlog")
    assert (sample.scope, sample.figures) == (COHORT, {"dirty": 2, "open": 0, "oldest_open": 0.0, "rejected": 0})
