"""Breaking point: the rate from which on a step is not held, found by geometric steps and then by bisection with repeats."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from vectorferry.engine.checks.load.steps import Limit, Step
from vectorferry.spec.check_rules import LoadCheck

Measure = Callable[[float], Step]
"""Holds a rate for one step."""

_STEPS_TO_REQUIRED = 3
_FACTOR_BEYOND = 1.4
_SHARPNESS = 1.1
_HALVINGS = 4
_TRIES = 3


@dataclass(frozen=True)
class Found:
    """All steps in the order in which they were made.

    `held` is the highest rate that was held, `broke` the lowest step that was not; None without one.
    """

    steps: tuple[Step, ...]
    held: float | None
    broke: Step | None

    @property
    def limited_by(self) -> Limit:
        """What ended it."""
        return "nothing" if self.broke is None else self.broke.limited_by

    @property
    def breaking_point(self) -> float | None:
        """Between what was held and what was not; None where the ceiling was held, or the client was the limit."""
        if self.broke is None or self.limited_by == "client":
            return None
        return round(self.broke.rate if self.held is None else math.sqrt(self.held * self.broke.rate), 3)


@dataclass
class _Search:
    measure: Measure
    steps: list[Step] = field(default_factory=list)

    def once(self, rate: float) -> Step:
        step = self.measure(rate)
        self.steps.append(step)
        return step

    def surely(self, rate: float) -> Step:
        """The first try that is held, or the last of three: what else a machine does makes a step slower, never faster."""
        for _ in range(_TRIES):
            step = self.once(rate)
            if step.held:
                break
        return step


def find(measure: Measure, rules: LoadCheck) -> Found:
    """From the peak to what is required and on to the ceiling, until a rate is not held in three tries; then between that and the last.

    Where the peak is not held, from there down.
    """
    search = _Search(measure)
    held, broke = _up(search, rules)
    if broke is not None and held is None:
        held, broke = _down(search, broke)
    # What limits the client tells nothing of the server, however sharply it is known.
    while broke is not None and held is not None and not broke.client_saturated and broke.rate > held * _SHARPNESS:
        step = search.surely(math.sqrt(held * broke.rate))
        held, broke = (step.rate, broke) if step.held else (held, step)
    return Found(tuple(search.steps), held, broke)


def climb(measure: Measure, rates: tuple[float, ...]) -> Found:
    """The same on the way up alone, each rate once: for a side that is not to be brought to its limit."""
    search, held = _Search(measure), None
    for rate in rates:
        step = search.once(rate)
        if not step.held:
            return Found(tuple(search.steps), held, step)
        held = step.rate
    return Found(tuple(search.steps), held, None)


def rates_to(rules: LoadCheck, ceiling: float) -> tuple[float, ...]:
    """From the peak to what is required, and on; the last is the ceiling."""
    up = [rules.peak * rules.times ** (step / _STEPS_TO_REQUIRED) for step in range(_STEPS_TO_REQUIRED)]
    rates, rate = (up if rules.times > 1 else up[:1]), rules.required
    while rate < ceiling:
        rates.append(rate)
        rate *= _FACTOR_BEYOND
    return (*(each for each in dict.fromkeys(rates) if each < ceiling), ceiling)


def _up(search: _Search, rules: LoadCheck) -> tuple[float | None, Step | None]:
    held = None
    for rate in rates_to(rules, rules.highest):
        step = search.surely(rate)
        if not step.held:
            return held, step
        held = step.rate
    return held, None


def _down(search: _Search, broke: Step) -> tuple[float | None, Step]:
    for _ in range(_HALVINGS):
        step = search.surely(broke.rate / 2)
        if step.held:
            return step.rate, broke
        broke = step
    return None, broke
