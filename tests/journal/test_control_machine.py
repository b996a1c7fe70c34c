"""A state machine for phases: controllers with old rows, routers that lag, and a model that says what must happen."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from journal.helpers import MIGRATION, SPEC, Database
from vectorferry.core.errors import PhaseConflict
from vectorferry.core.model import Cohort, Phase
from vectorferry.journal import ControlRow, Journal
from vectorferry.journal.control import may_follow

CHAIN = list(Phase)


class Phases(RuleBasedStateMachine):
    journal: Journal
    rows: Bundle[ControlRow] = Bundle("rows")

    def __init__(self) -> None:
        super().__init__()
        self.behind = Database(self.journal)
        self.behind.run("DELETE FROM vectorferry.member_phase")
        self.behind.run("DELETE FROM vectorferry.member")
        self.journal.forget(MIGRATION) if self._forgettable() else self._restart()
        self.journal.control.register(MIGRATION, SPEC, [Cohort()], "ann")
        row = self.journal.control.get(MIGRATION, "all")
        self.phase, self.epoch, self.first = row.phase, row.epoch, row.epoch
        self.routers: dict[str, Phase] = {}

    def _forgettable(self) -> bool:
        return all(row.phase in (Phase.OFF, Phase.TRACK_A) for row in self.journal.control.all(MIGRATION))

    def _restart(self) -> None:
        self.behind.run("UPDATE vectorferry.control SET phase = 'OFF'")
        self.journal.forget(MIGRATION)

    @rule(target=rows)
    def read(self) -> ControlRow:
        return self.journal.control.get(MIGRATION, "all")

    @rule(target=rows, row=rows, to=st.sampled_from(CHAIN))
    def advance(self, row: ControlRow, to: Phase) -> ControlRow:
        return self._advance(row, to)

    @rule(target=rows, way=st.sampled_from([1, 1, 1, -1]))
    def step(self, way: int) -> ControlRow:
        to = CHAIN[min(max(CHAIN.index(self.phase) + way, 0), len(CHAIN) - 1)]
        return self._advance(self.journal.control.get(MIGRATION, "all"), to)

    def _advance(self, row: ControlRow, to: Phase) -> ControlRow:
        self.journal.control.mark_loaded(MIGRATION, "all")
        near = all(phase in (row.phase, to) for phase in self.routers.values())
        current = (row.phase, row.epoch) == (self.phase, self.epoch)
        if not (may_follow(row.phase, to) and current and near):
            with pytest.raises(PhaseConflict):
                self.journal.control.advance(row, to, actor="ann", reason="x")
            return row
        moved = self.journal.control.advance(row, to, actor="ann", reason="x")
        self.phase, self.epoch = to, self.epoch + 1
        return moved

    @rule(name=st.sampled_from("xyz"))
    def acknowledge(self, name: str) -> None:
        self.behind.join(name, self.phase)
        self.routers[name] = self.phase

    @rule(name=st.sampled_from("xyz"))
    def evict(self, name: str) -> None:
        if self.routers.pop(name, None) is not None:
            self.behind.run("DELETE FROM vectorferry.member_phase WHERE member = :id", id=name)
            self.behind.run("DELETE FROM vectorferry.member WHERE id = :id", id=name)

    @invariant()
    def the_journal_agrees(self) -> None:
        row = self.journal.control.get(MIGRATION, "all")
        assert (row.phase, row.epoch) == (self.phase, self.epoch)

    @invariant()
    def live_phases_are_adjacent(self) -> None:
        live = sorted(CHAIN.index(phase) for phase in {self.phase, *self.routers.values()})
        assert live[-1] - live[0] <= 1

    @invariant()
    def epochs_are_never_reused(self) -> None:
        epochs = [r.epoch for r in self.journal.audit.trail(MIGRATION) if r.action == "phase"]
        assert len(epochs) == len(set(epochs))


def test_phases(journal: Journal) -> None:
    machine: Any = type("Machine", (Phases,), {"journal": journal})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )
