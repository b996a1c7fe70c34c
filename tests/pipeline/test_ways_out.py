"""Every error at every call of a switch, a rollback, a settling or the end: a documented verb always leads out, and is named.

`FAULTS=all` raises every error of the tree at every call, before and after what the call does; without it each call meets some of them.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipeline.test_live import approve
from pipeline.worlds import World, rows_of
from pipeline.writing import joined, record
from router.test_handover import every_error, made
from vectorferry.core.errors import CheckFailed, GateError, PhaseConflict, VectorferryError
from vectorferry.core.model import COHORT, KeyRange, Phase
from vectorferry.engine import pipeline
from vectorferry.engine.cutover import handover, switch
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.engine.sync import settle, settle_loop
from vectorferry.journal import Evidence, Plan
from vectorferry.router import Router

PARTS = ("approvals", "audit", "claims", "control", "evidence", "members", "plans", "records", "attempts", "verdicts")
ALL = os.environ.get("FAULTS") == "all"


@dataclass
class Faults:
    """One call among those of stores and journal fails: the `at`-th from now, before it does anything or after."""

    at: int = 0
    error: VectorferryError | None = None
    after: bool = False
    where: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, at: int, error: VectorferryError, *, after: bool) -> None:
        self.at, self.error, self.after, self.where = at, error, after, ""

    @property
    def raised(self) -> bool:
        return self.where != ""

    def disarm(self) -> None:
        self.at = 0

    def call(self, name: str, real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self._lock:
            self.at -= 1
            mine = self.at == 0
            if mine:
                self.where = name
        if mine and not self.after:
            raise self.error or AssertionError
        answer = real(*arguments, **named)
        if mine:
            raise self.error or AssertionError
        return answer


class Faulty:
    """A store, or a part of the journal, whose calls may fail."""

    def __init__(self, real: Any, name: str, faults: Faults) -> None:
        self._real, self._name, self._faults = real, name, faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found
        return lambda *arguments, **named: self._faults.call(f"{self._name}.{name}", found, *arguments, **named)


class FaultyJournal:
    """The journal, each of its parts faulty."""

    def __init__(self, real: Any, faults: Faults) -> None:
        self._real, self._faults = real, faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return Faulty(found, name, self._faults) if name in PARTS else found


@dataclass
class Stage:
    """A migration that is loaded, and whose cut-over is approved; `faulty` is a session of the same whose calls may fail."""

    session: Session
    faulty: Session
    faults: Faults
    plan: Plan
    evidence: str
    router: Router | None
    written: int = 0

    def phase(self) -> Phase:
        return self.session.control(COHORT).phase

    def cut_over(self, session: Session) -> None:
        pipeline.cut_over(session, self.plan, self.evidence)

    def roll_back(self, session: Session) -> None:
        pipeline.roll_back_now(session, "on purpose")

    def write(self) -> None:
        """An application's write is done at once, or after the hold: nothing keeps it out."""
        assert self.router is not None
        self.written += 1
        self.router.upsert("wave", [record(f"w{self.written % 3}", float(self.written))])

    def settled(self) -> None:
        """Nothing is dirty or locked any more, and both sides are equal."""
        pipeline.settle_up_to_now(self.session)
        found = pipeline.compare(
            self.session.source, self.session.target, self.session.spec.namespaces, report=lambda _: None, limit=10
        )
        assert found.equal, found.differences


@pytest.fixture
def staged(world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """With a router, or without any."""
    routers = getattr(request, "param", 1)
    world.spec_dict |= {"limits": {"request_deadline": "0.2s", "lease": "5s"}, "shadow": {"share": 0}}
    world.spec_dict |= {"writers": {"expected": routers}} if routers else {"writers": "none"}
    world.spec_dict["backup"] = {"require_drill": False}
    monkeypatch.setattr(settle, "REJECTED_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(settle_loop, "REJECTED_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(settle_loop, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(settle_loop, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(handover, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(switch, "MOST_TOUCHED", 1000)  # the evidence does not lapse, however often the same is begun
    world.fill(rows_of("wave", most=12))
    with ExitStack() as stack:
        session = stack.enter_context(world.session())
        register(session.journal, session.spec, "ann")
        router = stack.enter_context(joined(world)) if routers else None
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.export_partition(session, plan, partition)
            pipeline.load_partition(session, plan, partition)
        if routers:
            pipeline.settle(session, plan)
        signed = sign(session, plan, "cutover")
        faults = Faults()
        faulty: Any = replace(
            session,
            source=Faulty(session.source, "source", faults),
            target=Faulty(session.target, "target", faults),
            journal=FaultyJournal(session.journal, faults),
        )
        yield Stage(session, faulty, faults, plan, signed, router)


def sign(session: Session, plan: Plan, kind: str) -> str:
    watermark = session.journal.records.watermark()
    body = {"requested_by": session.actor}
    evidence = Evidence(
        kind[:1] * 64, "small", plan.id, session.run_id, session.spec.fingerprint, watermark, kind, body
    )
    session.journal.evidence.save(replace(evidence, approvable=True))
    approve(session, evidence)
    return evidence.hash


def each_fault(stage: Stage, verb: Callable[[Session], None], begin: Callable[[], None]) -> Iterator[str]:
    """Run a verb with a fault at each of its calls; yields what failed, once it has ended, until no call is left."""
    kinds = list(every_error())
    assert len(kinds) > 25
    turn = itertools.count()
    for at in itertools.count(1):
        chosen = [(kind, after) for kind in kinds for after in (False, True)] if ALL else [turned(kinds, next(turn))]
        # The phase is not as expected: that is said before anything is changed.
        for kind, after in ((kind, after and not issubclass(kind, PhaseConflict)) for kind, after in chosen):
            begin()
            stage.faults.arm(at, made(kind), after=after)
            error = None
            try:
                verb(stage.faulty)
            except VectorferryError as caught:
                error = caught
            stage.faults.disarm()
            if not stage.faults.raised:
                assert error is None
                assert at > 5
                return
            what = f"{kind.__name__} {'after' if after else 'at'} {stage.faults.where}"
            if error is not None:
                named(stage, error, what)
            yield what


def turned(kinds: list[type[VectorferryError]], turn: int) -> tuple[type[VectorferryError], bool]:
    return kinds[turn * 7 % len(kinds)], turn % 2 == 1


def named(stage: Stage, error: VectorferryError, what: str) -> None:
    """What a person reads has the phase as it is now, and a verb that is there."""
    told = error.told
    assert f"is in {stage.phase()}: " in told or "the journal answers" in told, (what, told)
    assert "`vectorferry " in told, (what, told)


@pytest.mark.parametrize("forward", [True, False])
def test_a_switch_and_a_rollback_can_be_left_by_going_on_and_by_going_back(staged: Stage, forward: bool) -> None:
    start, end = (Phase.TRACK_A, Phase.TRACK_B) if forward else (Phase.TRACK_B, Phase.TRACK_A)
    verb, back = (staged.cut_over, staged.roll_back) if forward else (staged.roll_back, staged.cut_over)

    def begin() -> None:
        if staged.phase() is not start:
            back(staged.session)
        staged.write()

    seen = set()
    for number, what in enumerate(each_fault(staged, verb, begin)):
        left = staged.phase()
        seen.add(left)
        if forward and number % 2 and left is not start:
            staged.roll_back(staged.session)
            assert staged.phase() is Phase.TRACK_A, what
        elif left is not end:
            verb(staged.session)
            assert staged.phase() is end, what
        staged.write()
        staged.settled()
    # No router ends a hold so early: whatever failed, this process stepped back, unless it had moved the authority.
    assert seen <= {start, end}


@pytest.mark.parametrize("staged", [0], indirect=True)
def test_a_switch_without_routers_can_be_left_by_going_on_and_by_going_back(staged: Stage) -> None:
    for number, what in enumerate(each_fault(staged, staged.cut_over, lambda: reset(staged, Phase.TRACK_A))):
        left = staged.phase()
        if number % 2 and left not in (Phase.TRACK_A, Phase.TRACK_B):
            staged.roll_back(staged.session)
            assert staged.phase() is Phase.TRACK_A, what
            continue
        if left is not Phase.TRACK_B:
            staged.cut_over(staged.session)
        assert staged.phase() is Phase.TRACK_B, what
        pipeline.verify(staged.session, staged.plan)


@pytest.mark.parametrize("staged", [0, 1], indirect=True)
def test_a_verification_that_failed_is_repeated_by_the_next_run(staged: Stage) -> None:
    staged.cut_over(staged.session)
    first = next(iter(staged.session.source.list_ids(KeyRange("wave"))))[0]
    staged.session.target.delete("wave", [first])
    with pytest.raises(CheckFailed, match=f"wave/{first}") as failed:
        pipeline.run(staged.session, never)
    assert "cohort all is in TRACK_B: " in failed.value.told
    staged.session.target.upsert(staged.session.source.fetch("wave", [first]))
    assert pipeline.run(staged.session, never).switched is not None
    with pytest.raises(GateError, match="nothing to begin"):
        pipeline.run(staged.session, never)


def never(*_: object) -> bool:
    raise AssertionError("nobody is to be asked again")


def reset(stage: Stage, phase: Phase) -> None:
    """As if it had never been moved: no verb leads there."""
    with stage.session.journal.database.statement() as connection:
        connection.exec_driver_sql(
            f"UPDATE vectorferry.control SET phase = '{phase}', came_from = NULL, epoch = epoch + 1"
        )


@pytest.mark.parametrize("forward", [True, False])
def test_settling_goes_on_after_every_error(staged: Stage, forward: bool) -> None:
    if not forward:
        staged.cut_over(staged.session)
    for _ in each_fault(staged, pipeline.settle_up_to_now, staged.write):
        staged.settled()


class Quiet(BaseException):
    """Everything is settled."""


def test_continuous_settling_goes_on_after_every_error(staged: Stage) -> None:
    def follow(session: Session) -> None:
        def quiet(*_: object) -> None:
            if not session.journal.claims.backlog("small", COHORT).dirty:
                raise Quiet

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settle_loop, "time", Sleepless(quiet))
            with suppress(Quiet):
                pipeline.settle_continuously(session)

    for _ in each_fault(staged, follow, staged.write):
        follow(staged.session)
        staged.settled()


class Sleepless:
    """`time` of a loop that is looked at whenever it would sleep."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, look: Callable[..., None]) -> None:
        self.sleep = look


def test_the_end_can_be_reached_after_every_error(staged: Stage) -> None:
    staged.cut_over(staged.session)
    assert staged.router is not None
    staged.router.close()

    def finalize(session: Session) -> None:
        pipeline.finalize(session, approve)

    for what in each_fault(staged, finalize, lambda: reset(staged, Phase.TRACK_B)):
        assert staged.phase() in (Phase.TRACK_B, Phase.DONE), what
        finalize(staged.session)
        assert staged.phase() is Phase.DONE, what
