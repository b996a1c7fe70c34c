"""Ranking quality of graded results: nDCG and reciprocal rank of one answer, and bootstrap intervals of their means."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
MOST_GRADE = 20.0
_RESAMPLES, _AT_ONCE = 2000, 4_000_000


def ndcg(answer: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first k ids, with gains of 2^grade - 1; what is not graded has grade 0.

    Discounts and gains as in Burges et al. 2005 (RankNet), normalised by the best order of all graded ids. 0 where no grade is above 0.
    """
    best = _gain(sorted(grades.values(), reverse=True)[:k])
    return _gain([grades.get(id_, 0.0) for id_ in answer[:k]]) / best if best else 0.0


def _gain(grades: Sequence[float]) -> float:
    values = np.asarray(grades, np.float64)
    discounts = np.log2(np.arange(2, len(values) + 2))
    return float(((np.exp2(values) - 1) / discounts).sum())


def reciprocal_rank(answer: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """1 / rank of the first of the first k ids that has a grade above 0; 0 where none has."""
    return next((1 / rank for rank, id_ in enumerate(answer[:k], 1) if grades.get(id_, 0.0) > 0), 0.0)


def bootstrap(values: Values, confidence: float) -> tuple[float, float, float]:
    """Mean of one value a query, n > 0, and its two-sided percentile interval over 2,000 resamples of queries; always the same ones."""
    random, n = np.random.default_rng(0), len(values)
    at_once = max(1, _AT_ONCE // n)
    means: list[Values] = []
    for first in range(0, _RESAMPLES, at_once):
        drawn = random.integers(0, n, (min(at_once, _RESAMPLES - first), n))
        means.append(values[drawn].mean(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    mean = float(values.mean())
    # Rounding of equal values must not put the mean outside.
    return mean, min(mean, float(low)), max(mean, float(high))
