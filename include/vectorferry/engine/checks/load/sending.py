"""Sending: the searches of one step that one process sends, each when it is due, whether or not earlier ones have been answered."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vectorferry.core.errors import RetryableError
from vectorferry.core.model import Usage

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Turn:
    """`rate` searches a second for some `seconds`, by at most so many `workers` at once; `begins` is on the clock time.monotonic.

    Given how many there are they are due as in a Poisson process: in bursts and pauses, at moments drawn anew for each `seed`. Once one
    of them has waited for `give_up` seconds no more is sent: the rate is lost, and more would only be waited for.
    """

    rate: float
    seconds: float
    seed: int
    begins: float
    workers: int
    give_up: float

    def due(self) -> Floats:
        """When each search is due, in seconds after the beginning, in order."""
        moments = np.random.default_rng(self.seed).uniform(0.0, self.seconds, max(1, round(self.rate * self.seconds)))
        return np.sort(moments)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a turn. Of each search, in the order in which they were due: NaN where it was not sent any more.

    `waits` is from when it was due to its answer, `services` from when it was sent; both in seconds. `lags` is how late it was sent
    although a worker was free, NaN where none was. `cpu_share` is this process's, of one core, `usage` what it has cost until now.
    """

    waits: Floats
    services: Floats
    lags: Floats
    errors: int
    seconds: float
    cpu_share: float
    usage: Usage = field(default_factory=Usage)


def send(turn: Turn, ask: Callable[[int], object]) -> Sent:
    """Send a turn's searches; `ask` is given the number of each. What raises a RetryableError is counted, any other error is raised."""
    due = turn.due()
    waits, services, lags = (np.full(len(due), np.nan) for _ in range(3))
    places, given_up, errors = itertools.count(), threading.Event(), itertools.count()
    moments = (due + turn.begins).tolist()

    def work() -> None:
        # Whoever is free takes the search that is due next, and waits for its moment: there is no queue between clock and worker.
        while not given_up.is_set() and (place := next(places)) < len(moments):
            at = moments[place]
            early = at - time.monotonic()
            if early > 0:
                time.sleep(early)
            began = time.monotonic()
            if began - at > turn.give_up:
                given_up.set()
                return
            try:
                ask(place)
            except RetryableError:
                next(errors)
            except BaseException:
                given_up.set()
                raise
            ended = time.monotonic()
            waits[place], services[place] = ended - at, ended - began
            lags[place] = began - at if early > 0 else np.nan

    cpu = time.process_time()
    with ThreadPoolExecutor(turn.workers, thread_name_prefix="load") as pool:
        running = [pool.submit(work) for _ in range(turn.workers)]
        for each in running:
            each.result()
    seconds = time.monotonic() - turn.begins
    return Sent(waits, services, lags, next(errors), seconds, (time.process_time() - cpu) / max(seconds, 1e-9))
