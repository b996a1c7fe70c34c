"""The protocol loses nothing with every guard on, and something with any one of them off."""

import pytest
from model.configurations import ALL, CONFIGURATIONS, IMPLIED, cases

SMALL = [name for name, configuration in CONFIGURATIONS.items() if not configuration.big]


@pytest.mark.parametrize("configuration", SMALL)
def test_all_guards_hold(configuration: str) -> None:
    outcome = CONFIGURATIONS[configuration].without()
    assert not outcome.fault, [str(step) for step in outcome.trace]


@pytest.mark.parametrize(("configuration", "guard"), cases())
def test_without_a_guard_something_is_lost(configuration: str, guard: str) -> None:
    outcome = CONFIGURATIONS[configuration].without(guard)
    assert outcome.fault
    assert outcome.trace


def test_every_guard_is_necessary_somewhere() -> None:
    necessary = {guard for _, guard in cases()}
    assert necessary == ALL - set(IMPLIED.split())
