"""Confidence intervals: properties, known values, and coverage in simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorferry.engine.checks.intervals import clustered_interval, design_effect, pooled_design_effect, wilson

CLUSTERS = st.lists(
    st.integers(1, 20).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))), min_size=1, max_size=60
)


@given(st.floats(0, 1), st.floats(0.5, 1e6), st.floats(0.6, 0.999))
def test_wilson_holds_the_share_and_stays_within_bounds(share: float, trials: float, confidence: float) -> None:
    low, high = wilson(share, trials, confidence)
    assert 0.0 <= low <= share <= high <= 1.0


def test_wilson_against_published_values() -> None:
    assert wilson(0.0, 10, 0.95) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0.5, 10, 0.95) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(1.0, 200, 0.95) == pytest.approx((0.9812, 1.0), abs=1e-4)


@given(CLUSTERS, st.floats(1.0, 10.0))
def test_an_interval_holds_the_share_and_widens_with_the_design_effect(
    pairs: list[tuple[int, int]], least: float
) -> None:
    hits, trials = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    plain = clustered_interval(hits, trials, 0.95)
    wider = clustered_interval(hits, trials, 0.95, least_effect=least)
    assert plain.design_effect >= 1.0
    assert wider.low <= plain.low <= plain.share <= plain.high <= wider.high


def test_whole_queries_that_fail_count_as_few_trials() -> None:
    trials = np.full(100, 10)
    together, spread = np.repeat([0, 10], [10, 90]), np.repeat([9, 9], [50, 50])
    assert design_effect(together, trials) == pytest.approx(10.1, abs=0.1)
    assert design_effect(spread, trials) == 1.0
    assert clustered_interval(together, trials, 0.95).low < clustered_interval(spread, trials, 0.95).low


def test_groups_of_different_recall_are_no_clustering() -> None:
    trials, rng = np.full(400, 10), np.random.default_rng(3)
    good, bad = rng.binomial(10, 0.95, 400), rng.binomial(10, 0.5, 400)
    assert pooled_design_effect([(good, trials), (bad, trials)]) < 1.3
    assert design_effect(np.concatenate([good, bad]), np.concatenate([trials, trials])) > 2


@pytest.mark.parametrize(
    ("clustering", "queries", "most"), [(0.0, 20, 0.03), (0.0, 200, 0.03), (0.3, 50, 0.08), (0.6, 200, 0.05)]
)
def test_an_index_at_the_threshold_seldom_passes(clustering: float, queries: int, most: float) -> None:
    """The share of simulated runs whose interval's lower end reaches a recall that the index only just has."""
    rng, recall, runs = np.random.default_rng(7), 0.95, 1500
    passed = 0
    for _ in range(runs):
        scale = (1 - clustering) / clustering if clustering else 0
        shares = rng.beta(recall * scale, (1 - recall) * scale, queries) if clustering else np.full(queries, recall)
        passed += clustered_interval(rng.binomial(10, shares), np.full(queries, 10), 0.95).low >= recall
    assert passed / runs <= most
