"""A state machine that runs the real router, settler and journal step by step, with faults, in every order that it can think of."""

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stages
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from journal.helpers import connection_of
from router.stepping import KEYS, LEASE, D, Stage, on_stage
from vectorferry.core.errors import JournalError
from vectorferry.core.model import Phase
from vectorferry.journal import Journal, open_journal
from vectorferry.local.servers.postgres import Postgres

HOW = {
    "journal": ["go", "go", "go", "lost", "down"],
    "send": ["go", "go", "fail", "never", "landed", "late"],
    "answer": ["go", "go", "lost"],
    "read": ["go", "go", "go", "fail"],
}


@pytest.fixture(scope="module")
def shared(postgres: Postgres) -> Iterator[Journal]:
    connection = connection_of(postgres.create_database("protocol_machine"))
    with open_journal(connection, upgrade=True) as journal:
        yield journal
    postgres.drop_database("protocol_machine")


def _renamed(step: Any, number: int) -> Any:
    def renamed(self: Any, which: int, draw: int, times: int) -> None:
        step(self, which, draw, times)

    renamed.__name__ = f"step{number}"
    return renamed


class Protocol(RuleBasedStateMachine):
    journal: ClassVar[Journal]
    phase: ClassVar[Phase] = Phase.TRACK_A
    routers = st.integers(0, 1)

    def __init__(self) -> None:
        super().__init__()
        self._entered = on_stage(self.journal, phase=self.phase)
        self.stage: Stage = self._entered.__enter__()

    @rule(router=routers, key=st.sampled_from(KEYS), kind=st.sampled_from(["put", "delete", "update"]))
    def write(self, router: int, key: str, kind: str) -> None:
        self.stage.write(router, key, kind=kind)

    def _step(self, which: int, draw: int, times: int) -> None:
        """One actor goes on: some steps well, the last one as drawn."""
        running = self.stage.running()
        actor = running[which % len(running)]
        for left in reversed(range(times)):
            if actor.at is None:
                break
            how = HOW[actor.at.kind][draw % len(HOW[actor.at.kind])] if left == 0 else "go"
            actor.resume("go" if (how, actor.name) == ("late", "load") else how)
            self.stage.check()

    @rule(router=routers)
    def turn(self, router: int) -> None:
        self.stage.turn(router)

    @rule()
    def follow(self) -> None:
        self.stage.follow()

    @rule()
    def settle(self) -> None:
        if sum(actor.name == "settle" for actor in self.stage.running()) < 2:
            self.stage.settle()

    @rule()
    def load(self) -> None:
        if not any(actor.name == "load" for actor in self.stage.running()):
            self.stage.load()

    @rule(way=st.sampled_from([1, -1]))
    def advance(self, way: int) -> None:
        phase = self.stage.phase
        if (phase, way) in ((Phase.OFF, -1), (Phase.TRACK_B, 1)):
            return
        try:
            self.stage.advance_phase(way)
        except JournalError:
            return

    @rule()
    def step_back(self) -> None:
        self.stage.step_back()

    @rule(seconds=st.sampled_from([D / 2, D + 1, LEASE + 1, LEASE + D + 1]), lands=st.booleans())
    def pass_time(self, seconds: float, lands: bool) -> None:
        self.stage.pass_time(seconds, lands=lands)

    @rule()
    def evict(self) -> None:
        self.stage.evict()

    @precondition(lambda self: self.stage.late)
    @rule(which=st.integers(0, 9), lands=st.sampled_from([True, True, False]))
    def land(self, which: int, lands: bool) -> None:
        self.stage.land(which % len(self.stage.late), lands=lands)

    @rule(router=routers)
    def crash(self, router: int) -> None:
        self.stage.crash(router)

    @rule(key=st.sampled_from(KEYS))
    def mark(self, key: str) -> None:
        self.stage.mark(key)

    @invariant()
    def holds(self) -> None:
        self.stage.check()

    # A rule is drawn as often as it has names.
    for number in range(12):
        locals()[f"step{number}"] = precondition(lambda self: self.stage.running())(
            rule(which=st.integers(0, 99), draw=st.integers(0, 59), times=st.integers(1, 4))(_renamed(_step, number))
        )

    def teardown(self) -> None:
        try:
            self.stage.rest()
        finally:
            self._entered.__exit__(None, None, None)


@pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.long)])
@pytest.mark.parametrize("phase", [Phase.TRACK_A, Phase.TRACK_B])
def test_no_interleaving_loses_anything(shared: Journal, phase: Phase, times: int) -> None:
    machine = type("Machine", (Protocol,), {"journal": shared, "phase": phase})
    few = settings(
        max_examples=times * int(os.environ.get("PROTOCOL_EXAMPLES", "10")),
        stateful_step_count=int(os.environ.get("PROTOCOL_STEPS", "40")),
        deadline=None,
        derandomize="PROTOCOL_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=[Stages.generate],
    )
    run_state_machine_as_test(machine, settings=few)
