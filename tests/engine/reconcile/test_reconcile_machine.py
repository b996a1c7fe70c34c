"""A state machine that drifts two collections apart behind the product's back, and has the real reconciliation find and mend it.

Journal, engine and staging are the real ones; the stores are in memory. A reconciliation may be cut short at any call, overtaken, paused,
taken up days later, and followed by a switch; what must hold is looked at after each of them by code that shares nothing with it.
"""

import itertools
import os
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stages
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from engine.reconcile.drifting import COHORTS, IDS, KIND, NAMESPACES, Key, Killed, Sides, on_clock
from vectorferry.core.errors import GateError, JournalUnavailable, LeaseLost, NotApproved, Unavailable
from vectorferry.core.model import Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover.handover import move_authority
from vectorferry.engine.reconcile import drift, fingerprint_spill, partial_pass, suspects
from vectorferry.engine.reconcile.drift import Drift, digest_of
from vectorferry.engine.reconcile.repair import drift_figures
from vectorferry.engine.sync.settle_loop import settle_up_to_now
from vectorferry.journal import Evidence, Journal

names, ids = st.sampled_from(NAMESPACES), st.sampled_from(IDS)
sides = st.sampled_from(["source", "target"])
cuts = st.none() | st.tuples(st.sampled_from(["kill", "store", "journal", "overtake"]), st.integers(1, 120))


class Drifting(RuleBasedStateMachine, Sides):
    """Whatever may happen to the two."""

    journal: ClassVar[Journal]  # type: ignore[misc]

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        Sides.__init__(self, self.journal)
        self.found: list[tuple[Evidence, set[Key], dict[str, str]]] = []

    @rule(name=names, id_=ids, delete=st.booleans(), mirrored=st.booleans())
    def router_writes(self, name: str, id_: str, delete: bool, mirrored: bool) -> None:
        key, value = (name, id_), None if delete else self.value()
        if key in self.excused:
            return
        self.journal.claims.mark_dirty("m", COHORTS[0] if name.startswith("c") else COHORTS[1], name, [id_])
        first, second = ("source", "target") if self.source_is_authority(name) else ("target", "source")
        self.write(first, key, value)
        if mirrored:
            self.write(second, key, value)
            clean = "UPDATE vectorferry.record_state SET dirty = false WHERE namespace = :name AND id = :id"
            self.run_sql(clean, name=name, id=id_)

    @rule(side=sides, name=names, id_=ids, how=st.sampled_from(["delete", "put", "vector", "metadata"]))
    def plant(self, side: str, name: str, id_: str, how: str) -> None:
        key = name, id_
        old = self.content(side).get(key)
        new = self.value()
        if how == "delete" or old is None or how == "put":
            self.write(side, key, None if how == "delete" else new)
        else:
            self.write(side, key, (new[0], old[1]) if how == "vector" else (old[0], new[1]))

    @rule(side=sides, name=names, id_=ids, to=names)
    def misplace(self, side: str, name: str, id_: str, to: str) -> None:
        value = self.content(side).get((name, id_))
        if value is not None and to != name:
            self.write(side, (name, id_), None)
            self.write(side, (to, id_), value)

    @rule(name=names, id_=ids)
    def excuse(self, name: str, id_: str) -> None:
        if (name, id_) not in self.dirty() and (name, id_) in self.content("source"):
            self.write("target", (name, id_), None)
            self.journal.records.excuse(self.session().plan(), "p0000", [(name, id_, "on purpose")])
            self.excused.add((name, id_))

    @rule(cohort=st.sampled_from(COHORTS))
    def switch(self, cohort: str) -> None:
        phase = self.journal.control.get("m", cohort).phase
        to = Phase.TRACK_B if phase is Phase.TRACK_A else Phase.TRACK_A
        move_authority(self.session(), cohort, to, reason="test", hold=60.0)

    @rule(
        full=st.booleans(),
        age=st.sampled_from([0.01, 0.2, 0.5, 1.1]),
        requests=st.none() | st.integers(1, 30),
        cut=cuts,
        lagging=st.booleans(),
    )
    def reconcile(
        self, full: bool, age: float, requests: int | None, cut: tuple[str, int] | None, lagging: bool
    ) -> None:
        self.age(age)
        if not lagging:
            self.settle_down()
        before, expected = {run.id for run in self.journal.reconciliations.all("m")}, self.expected()
        epochs = self.epochs()
        self.full = full
        self.schedule(cut)
        try:
            found = self.guarded(
                lambda: pipeline.reconcile(self.session(self.cut, requests), full=full), may_change=self.dirty()
            )
        except (Killed, Unavailable, JournalUnavailable, LeaseLost):
            assert cut is not None
            return
        except GateError as error:
            assert "no copies" in str(error), error
            return
        finally:
            self.heal()
        figures = drift_figures(found)
        if digest_of(self.report(found)) != figures["digest"]:
            # Paused, and taken up by the other one before it was told.
            assert cut is not None and cut[0] == "overtake"
            return
        named = self.named(found)
        self.found.append((found, {key for each in named for key in each.keys}, epochs))
        if (
            figures["scope"] == "full"
            and figures["reconciliation"] not in before
            and not (figures["paused"] or lagging)
        ):
            self.exactly(named, expected)

    def exactly(self, named: tuple[Drift, ...], expected: dict[Key, KIND]) -> None:
        """Each difference is named once, with its kind, and those of a record that lies elsewhere as one."""
        authority, follower = self.held()
        assert {key for each in named for key in each.keys} == expected.keys()
        for each in named:
            if each.found_in is None:
                assert each.kind is expected[each.namespace, each.id]
            else:
                assert expected[each.namespace, each.id] is KIND.MISSING
                assert expected[each.found_in, each.id] is KIND.EXTRA
                assert authority[each.namespace, each.id] == follower[each.found_in, each.id]
        missing = [each for each in named if each.kind is KIND.MISSING]
        extra = [each for each in named if each.kind is KIND.EXTRA]
        for one, other in itertools.product(missing, extra):
            same = one.id == other.id and self.source_is_authority(one.namespace) is self.source_is_authority(
                other.namespace
            )
            assert not same or authority[one.namespace, one.id] != follower[other.namespace, other.id]

    @precondition(lambda self: self.found)
    @rule(which=st.sampled_from([-1, -1, -2]), approve=st.booleans(), cut=cuts)
    def repair(self, which: int, approve: bool, cut: tuple[str, int] | None) -> None:
        found, drifted, epochs = self.found[max(which, -len(self.found))]
        figures = drift_figures(found)
        if approve:
            self.approve(found)
        self.settle_down()
        self.schedule(cut)
        try:
            verdict = self.guarded(
                lambda: pipeline.repair(self.session(self.cut), found.hash), may_change=self.dirty() | drifted
            )
        except (Killed, Unavailable, JournalUnavailable, LeaseLost):
            assert cut is not None
            return
        except NotApproved:
            assert figures["over"]
            return
        except GateError as error:
            assert any(
                why in str(error)
                for why in ("is not what was found", "since it was compared", "are not in the authority")
            ), error
            return
        finally:
            self.heal()
        assert verdict.passed
        assert not drifted or epochs == self.epochs(), "mended although the authority moved"
        assert not drifted & self.expected().keys()

    @rule(share=st.sampled_from([0.3, 0.45]), requests=st.none() | st.integers(8, 30))
    def a_period_of_shares(self, share: float, requests: int | None) -> None:
        self.heal()
        settle_up_to_now(self.session())
        self.settle_down()
        expected, seen = self.expected(), set[Key]()
        for _ in range(8 if requests is None else 40):
            if expected.keys() <= seen:
                return
            self.age(share)
            try:
                found = pipeline.reconcile(self.session(None, requests), full=False)
            except GateError as error:
                assert "no copies" in str(error)
                continue
            seen |= {key for each in self.named(found) for key in each.keys}
        assert expected.keys() <= seen

    def teardown(self) -> None:
        self.heal()
        for _ in range(3):
            self.settle_down()
            found = pipeline.reconcile(self.session())
            self.approve(found)
            if found.approvable:
                assert pipeline.repair(self.session(), found.hash).passed
        assert drift_figures(found)["outcome"] == "equal"
        settle_up_to_now(self.session())
        authority, follower = self.held()
        left = {key for key in authority.keys() | follower.keys() if authority.get(key) != follower.get(key)}
        assert left <= self.excused


@pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.long)])
def test_no_drift_is_lost_and_nothing_else_is_touched(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    for module, name, value in (
        (fingerprint_spill, "PART_ROWS", 7),
        (fingerprint_spill, "BUCKET_ROWS", 15),
        (fingerprint_spill, "_BATCH_ROWS", 3),
        (partial_pass, "_PAGE", 4),
        (suspects, "_PAGE", 3),
        (drift, "_PAGE", 2),
    ):
        monkeypatch.setattr(module, name, value)
    on_clock(monkeypatch)
    few = settings(
        max_examples=times * int(os.environ.get("RECONCILE_EXAMPLES", "10")),
        stateful_step_count=int(os.environ.get("RECONCILE_STEPS", "12")),
        deadline=None,
        derandomize="RECONCILE_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=[Stages.generate],
    )
    machine = type("Machine", (Drifting,), {"journal": journal})
    run_state_machine_as_test(machine, settings=few)
