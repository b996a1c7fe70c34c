"""What breaks a guardrail."""

import pytest

from vectorferry.core.model import Phase
from vectorferry.engine.cutover.guardrails import broken
from vectorferry.journal import Counted, Latencies, ShadowFigures
from vectorferry.spec.cutover_rules import Guardrails

RULES = Guardrails(min_operations=10)


def seen(operations: int, failed: int) -> Counted:
    return Counted("canary", Phase.TRACK_B, operations, failed)


def shadows(reads: int, overlap: float = 1.0, new: float = 0.01, old: float = 0.01) -> ShadowFigures:
    return ShadowFigures(
        reads=reads,
        overlap=overlap * reads,
        authority=Latencies.of(*[new] * reads),
        follower=Latencies.of(*[old] * reads),
    )


@pytest.mark.parametrize(
    ("counted", "shadowed", "why"),
    [
        (seen(1000, 10), shadows(0), ""),
        (seen(1000, 11), shadows(0), r"11 of 1000 operations failed, guardrails.errors is 1.00%"),
        (seen(9, 9), shadows(9, 0.0), ""),
        (seen(9, 0), shadows(10, 0.89), r"overlap by 0.890 on 10 reads"),
        (seen(9, 0), shadows(10, new=0.02), ""),
        (seen(9, 0), shadows(10, new=0.04), r"more than 3 times as long"),
    ],
)
def test_which_is_broken(counted: Counted, shadowed: ShadowFigures, why: str) -> None:
    found = broken(RULES, counted, shadowed)
    assert (why in found) if why else found == ""


def test_latency_need_not_be_judged() -> None:
    assert broken(Guardrails(min_operations=1, latency_ratio=None), seen(1, 0), shadows(10, new=9.0)) == ""
