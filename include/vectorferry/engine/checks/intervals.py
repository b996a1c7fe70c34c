"""Confidence intervals of a measured share: Wilson's, over trials that come in clusters, as a query's neighbours do."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with the two-sided confidence interval around it; `design_effect` is by how much clusters widen it."""

    share: float
    low: float
    high: float
    design_effect: float = 1.0

    @classmethod
    def point(cls, share: float) -> "Interval":
        """A share that was not sampled: everything was asked."""
        return cls(share, share, share)


def wilson(share: float, trials: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share seen in `trials` > 0 independent trials (E. B. Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrunk = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def design_effect(hits: Counts, trials: Counts) -> float:
    """Variance of the ratio of clustered trials over that of independent ones, at least 1; shapes [clusters].

    The ratio estimator's variance is that of Cochran, Sampling Techniques, 3rd ed., section 6.3. 1.0 where nothing varies:
    then the data say nothing about clustering (see `pooled_design_effect`).
    """
    return pooled_design_effect([(hits, trials)])


def pooled_design_effect(groups: Iterable[tuple[Counts, Counts]]) -> float:
    """Design effect of clusters within groups, each group around its own share; at least 1."""
    clustered = independent = 0.0
    for hits, trials in groups:
        total, clusters = int(trials.sum()), len(trials)
        share = hits.sum() / total if total else 0.0
        if clusters < 2 or not 0.0 < share < 1.0:
            continue
        clustered += float(np.square(hits - share * trials).sum()) * clusters / (clusters - 1)
        independent += total * share * (1 - share)
    return max(1.0, clustered / independent) if independent else 1.0


def clustered_interval(hits: Counts, trials: Counts, confidence: float, *, least_effect: float = 1.0) -> Interval:
    """Interval of sum(hits) / sum(trials) over clusters, shapes [clusters], with at least one trial in all.

    The trials count as sum(trials) / design effect independent ones; `least_effect` is what is known of it from elsewhere.
    """
    total = int(trials.sum())
    share = float(hits.sum() / total)
    effect = max(design_effect(hits, trials), least_effect)
    low, high = wilson(share, total / effect, confidence)
    return Interval(share, low, high, effect)
