"""Load: the breaking point of a server whose capacity is known, found in simulated time, and what the client's own limits look like.

The simulated server has some slots, each of which serves one search at a time for a fixed time: it holds slots / service searches a second.
"""

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from vectorferry.core.errors import Unavailable, Unsupported
from vectorferry.engine.checks.load.breaking_point import Found, climb, find, rates_to
from vectorferry.engine.checks.load.hardware import hardware
from vectorferry.engine.checks.load.senders import give_up, turns
from vectorferry.engine.checks.load.sending import Sent, Turn, send
from vectorferry.engine.checks.load.steps import Step, step_of
from vectorferry.spec.check_rules import LoadCheck
from vectorferry.spec.connections import Connection

RULES = LoadCheck(peak=20, max_p99_ms=100, step_seconds=20)


@dataclass
class Simulated:
    """A server in simulated time, asked by one process with `workers` of them; `spoiled` are numbers of steps that a pause falls into."""

    slots: int
    service: float
    workers: int = 1_000
    cpu_share: float = 0.1
    fails_above: float = float("inf")
    spoiled: frozenset[int] = frozenset()
    seed: int = 0
    asked: int = 0

    def __call__(self, rate: float) -> Step:
        number, slowest = self.asked, RULES.max_p99_ms / 1000
        self.asked += 1
        (turn,) = turns(rate, RULES.step_seconds, seed=self.seed + number, slowest=slowest, processes=1)
        sent = self._served(replace(turn, workers=self.workers), 1.0 if number in self.spoiled else 0.0)
        errors = round(len(sent.waits) * 0.1) if rate > self.fails_above else 0
        return step_of(rate, [replace(sent, errors=errors)], RULES, give_up(slowest))

    def _served(self, turn: Turn, pause: float) -> Sent:
        due = turn.due()
        waits, services, lags = (np.full(len(due), np.nan) for _ in range(3))
        free, slots = [0.0] * turn.workers, [pause] * self.slots
        for place, at in enumerate(due):
            worker = heapq.heappop(free)
            began = max(at, worker)
            if began - at > turn.give_up:
                break
            ended = max(began, heapq.heappop(slots)) + self.service
            heapq.heappush(slots, ended)
            heapq.heappush(free, ended)
            waits[place], services[place] = ended - at, ended - began
            lags[place] = 0.0 if worker <= at else np.nan
        return Sent(waits, services, lags, 0, turn.seconds, self.cpu_share)


def limit_of(server: Simulated, rules: LoadCheck = RULES) -> Found:
    return find(server, rules)


@pytest.mark.parametrize(("slots", "service"), [(4, 0.02), (1, 0.01), (16, 0.05), (2, 0.002)])
def test_the_breaking_point_of_a_known_server_is_found(slots: int, service: float) -> None:
    found = limit_of(Simulated(slots, service), RULES.model_copy(update={"ceiling": 5_000}))
    assert found.limited_by == "p99"
    assert found.held is not None
    assert found.breaking_point is not None
    # Bursts fill the queue a little before the whole capacity is used: the more so the fewer slots there are.
    assert 0.7 < found.breaking_point / (slots / service) < 1.05
    assert found.held <= found.breaking_point <= found.held * 1.1


def test_twice_the_same_is_found_with_other_moments() -> None:
    first, second = (limit_of(Simulated(4, 0.02, seed=seed)).breaking_point for seed in (0, 1_000))
    assert first is not None
    assert second == pytest.approx(first, rel=0.25)


def test_from_the_peak_over_what_is_required_and_on() -> None:
    steps = limit_of(Simulated(4, 0.02)).steps
    assert [step.rate for step in steps[:4]] == pytest.approx([20, 20 * 3 ** (1 / 3), 20 * 3 ** (2 / 3), 60], rel=1e-3)
    assert [step.held for step in steps[:4]] == [True] * 4
    assert rates_to(RULES, 240)[-1] == 240
    assert max(step.rate for step in steps) > 180
    assert rates_to(RULES.model_copy(update={"times": 1.0}), 20) == (20,)
    assert rates_to(RULES, 10) == (10,), "a budget below the peak"


def test_a_pause_of_the_machine_breaks_nothing() -> None:
    calm, paused = Simulated(4, 0.02), Simulated(4, 0.02, spoiled=frozenset({1, 2, 5}))
    assert not replace(paused, asked=1)(28.8).held
    assert limit_of(paused).breaking_point == pytest.approx(limit_of(calm).breaking_point, rel=0.12)


def test_a_peak_that_is_not_held_is_gone_down_from() -> None:
    found = limit_of(Simulated(4, 0.02), RULES.model_copy(update={"peak": 500.0}))
    assert [step.rate for step in found.steps[:7]] == [500, 500, 500, 250, 250, 250, 125]
    assert found.breaking_point == pytest.approx(171, rel=0.12)
    nothing = limit_of(Simulated(1, 10.0))
    assert (nothing.held, nothing.limited_by, nothing.breaking_point) == (None, "p99", 1.25)


def test_the_ceiling_may_be_held() -> None:
    found = limit_of(Simulated(1_000, 0.001))
    assert (found.held, found.breaking_point, found.limited_by) == (240, None, "nothing")


def test_errors_end_it_too() -> None:
    found = limit_of(Simulated(1_000, 0.001, fails_above=100))
    assert found.limited_by == "errors"
    assert found.breaking_point == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (Simulated(1_000, 0.02, workers=2), {"no_worker"}),
        (Simulated(4, 0.02, cpu_share=0.97), {"cpu_share"}),
    ],
    ids=["too few workers", "no time left on its core"],
)
def test_a_client_that_cannot_keep_up_is_no_breaking_point(client: Simulated, told: set[str]) -> None:
    found = limit_of(client)
    assert (found.limited_by, found.breaking_point) == ("client", None)
    assert found.broke is not None
    assert found.broke.client_saturated
    assert all(found.broke.figures()[figure] > 0.5 for figure in told)


def test_a_server_that_is_slow_is_no_saturated_client() -> None:
    found = limit_of(Simulated(4, 0.02, workers=200))
    assert found.broke is not None
    assert not found.broke.client_saturated
    assert found.limited_by == "p99"


def test_a_side_that_is_spared_is_only_climbed() -> None:
    found = climb(Simulated(4, 0.02), (20, 60, 100))
    assert (found.held, found.limited_by, len(found.steps)) == (100, "nothing", 3)
    found = climb(Simulated(4, 0.02), (100, 400, 1_000))
    assert (found.held, found.limited_by, len(found.steps)) == (100, "p99", 2)


def turn(rate: float, seconds: float, *, workers: int = 8, longest: float = 60.0) -> Turn:
    return Turn(rate, seconds, 1, time.monotonic() + 0.05, workers, longest)


def test_searches_are_sent_when_they_are_due_in_bursts_and_pauses() -> None:
    asked: list[int] = []
    sent = send(turn(200, 0.5), asked.append)
    assert sorted(asked) == list(range(100))
    assert (sent.errors, int(np.isnan(sent.waits).sum())) == (0, 0)
    assert (sent.waits >= sent.services).all()
    due = Turn(200, 0.5, 1, 0.0, 8, 1.0).due()
    assert (np.diff(due) >= 0).all()
    assert 0 <= due[0] <= due[-1] <= 0.5
    assert np.std(np.diff(due)) > 0.5 * np.mean(np.diff(due)), "not evenly"


def test_a_stall_counts_for_every_search_that_fell_due_meanwhile() -> None:
    stalled = threading.Event()

    def ask(place: int) -> None:
        if place == 0:
            stalled.wait(0.5)

    sent = send(turn(100, 0.2, workers=1), ask)
    assert sent.waits.min() > 0.2, "the last was due 0.3 seconds before the stall was over"
    assert np.isnan(sent.lags[1:]).all(), "no worker was free"
    apart = send(turn(100, 0.2, workers=8), ask)
    assert int(np.isnan(apart.lags).sum()) < 20, "the others do not wait for the one that hangs"


def test_what_waited_for_too_long_is_not_sent_any_more() -> None:
    sent = send(turn(500, 0.2, workers=1, longest=0.1), lambda _: time.sleep(0.02))
    unsent = int(np.isnan(sent.waits).sum())
    assert unsent > 0
    step = step_of(500, [sent], RULES, 0.1)
    assert (step.unsent, step.sent) == (unsent, 100 - unsent)
    assert step.p99_ms >= 100, "it counts as long as it waited"


def raising(error: Exception) -> Callable[[int], None]:
    def ask(place: int) -> None:
        if place % 2:
            raise error

    return ask


def test_what_may_be_tried_again_is_an_error_of_the_server_and_all_else_is_raised() -> None:
    assert send(turn(200, 0.1), raising(Unavailable("busy"))).errors == 10
    with pytest.raises(Unsupported, match="no such filter"):
        send(turn(200, 0.1), raising(Unsupported("no such filter")))


def test_the_parts_of_all_processes_make_one_step() -> None:
    each = turns(10, 2, seed=3, slowest=0.5, processes=2)
    assert [part.rate for part in each] == [5, 5]
    assert each[0].begins == each[1].begins
    assert (each[0].due() != each[1].due()).all()
    fast, slow = (np.full(50, seconds) for seconds in (0.001, 0.2))
    parts = [
        Sent(waits, waits, np.zeros(50), errors, 2.0, cpu) for waits, errors, cpu in ((fast, 1, 0.2), (slow, 0, 0.4))
    ]
    step = step_of(50, parts, RULES, 1.0)
    assert (step.p50_ms, step.p99_ms, step.sent, step.errors, step.sent_rate, step.cpu_share) == (
        100.5,
        200,
        100,
        1,
        50,
        0.4,
    )


def test_the_host_tells_of_itself() -> None:
    here = hardware(Connection("b", "weaviate", "127.0.0.1", 8080))
    assert here["same_host"] is True
    assert here["cores"] >= 1
    assert here["memory_bytes"] > 2**20
    assert all(here[name] for name in ("cpu", "os", "python", "database"))
    assert hardware(Connection("b", "weaviate", "http://localhost"))["same_host"] is True
    assert hardware(Connection("b", "pinecone", "192.0.2.1"))["same_host"] is False
    assert hardware(Connection("b", "pinecone"))["same_host"] is None
