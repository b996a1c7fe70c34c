"""The protocol loses nothing with every guard on, and something with any one of them off."""

import pytest

from model.configurations import ALL, CONFIGURATIONS, IMPLIED, cases, counterexample, counterexamples
from model.explorer import Step, explore
from model.protocol import OneKey
from model.state import IDLE, LIVE, Config, State

EVERY = [
    pytest.param(name, marks=[pytest.mark.long] if configuration.big else [])
    for name, configuration in CONFIGURATIONS.items()
]
STORES_AGREE = ("leases", "mirror", "reload", "excused", "delays")


class Strict(OneKey):
    """Looks also at what the protocol's own bookkeeping must never show."""

    def fault(self, s: State) -> str:
        return super().fault(s) or self._clean_too_early(s) or self._far_apart(s)

    def _clean_too_early(self, s: State) -> str:
        busy = self.opens(s) or s.settler != IDLE or any(late.owner == "settler" for late in s.late)
        return "a row is clean while it is open or claimed" if busy and not s.dirty else ""

    def _far_apart(self, s: State) -> str:
        phases = {s.phase}
        for r in s.routers:
            if r.life == LIVE:
                phases |= {r.phase} if r.pc == "idle" else {r.phase, r.op_phase}
        return "live phases are not adjacent" if max(phases) - min(phases) > 1 else ""


@pytest.mark.parametrize("configuration", EVERY)
def test_all_guards_hold(configuration: str) -> None:
    outcome = CONFIGURATIONS[configuration].without()
    assert not outcome.fault, [str(step) for step in outcome.trace]


@pytest.mark.parametrize(("configuration", "guard"), cases())
def test_without_a_guard_something_is_lost(configuration: str, guard: str) -> None:
    found = counterexample(configuration, guard)
    assert found.outcome.fault
    assert found.schedule
    assert all(isinstance(step, Step) for step in found.schedule)


def test_every_guard_is_necessary_somewhere() -> None:
    assert set(counterexamples()) == ALL - set(IMPLIED.split())


@pytest.mark.parametrize("configuration", STORES_AGREE)
def test_phases_are_adjacent_and_what_is_open_is_dirty(configuration: str) -> None:
    world = CONFIGURATIONS[configuration].world
    assert isinstance(world, Config)
    outcome = explore(Strict(world, ALL))
    assert not outcome.fault, [str(step) for step in outcome.trace]


@pytest.mark.parametrize("configuration", ["mirror", "reload", "excused"])
def test_an_implied_guard_changes_nothing(configuration: str) -> None:
    here = CONFIGURATIONS[configuration]
    assert here.without(*IMPLIED.split()) == here.without()
