"""Senders: who sends the searches of a step, in this process or in several of their own, each with connections of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection as Channel
from types import TracebackType
from typing import Any, Protocol, Self

from vectorferry.core.errors import CheckFailed
from vectorferry.core.model import Side, Usage
from vectorferry.engine.checks.load.sending import Sent, Turn, send
from vectorferry.engine.checks.single_searches import Asking
from vectorferry.spec.connections import Connection
from vectorferry.spec.migration import MigrationSpec
from vectorferry.stores.base import VectorStore

_HEAD_START = 0.1  # seconds in which every process has heard of its turn
_LEAST_WORKERS, _MOST_WORKERS = 8, 128


class Senders(Protocol):
    """Send one step after the other."""

    def step(self, rate: float, seconds: float, *, seed: int, slowest: float) -> Sequence[Sent]:
        """Send searches at a rate for some seconds; `slowest` is the longest that one may take, in seconds, before the step is lost."""
        ...


def give_up(slowest: float) -> float:
    """After how many seconds of waiting a step is lost for good."""
    return max(1.0, 4 * slowest)


def turns(rate: float, seconds: float, *, seed: int, slowest: float, processes: int) -> list[Turn]:
    """What each process sends of a step. There are workers for twice what is under way where each search takes as long as it may."""
    part = rate / processes
    workers = min(_MOST_WORKERS, max(_LEAST_WORKERS, round(2 * part * slowest)))
    first = Turn(part, seconds, seed * processes, time.monotonic() + _HEAD_START, workers, give_up(slowest))
    return [replace(first, seed=first.seed + number) for number in range(processes)]


@dataclass(frozen=True)
class Here:
    """Sends from this process, through a store that is open already, and within its budget."""

    store: VectorStore
    asking: Asking

    def step(self, rate: float, seconds: float, *, seed: int, slowest: float) -> Sequence[Sent]:
        """Send them, by threads of this process."""
        (turn,) = turns(rate, seconds, seed=seed, slowest=slowest, processes=1)
        return [send(turn, lambda place: self.asking.send(self.store, place))]


@dataclass(frozen=True)
class Opening:
    """What a process needs to send: the side of a spec, its connection, and what is asked."""

    spec: MigrationSpec
    side: Side
    connection: Connection
    asking: Asking


class Processes:
    """Sends from processes of their own: one of Python keeps one core busy at most. They end with the block, or with this process.

    They are not forked, for the stores' threads and connections must not come along; nor multiprocessing's, which a daemon
    may not have.
    """

    def __init__(self, count: int, opening: Opening) -> None:
        self._opening = opening
        self._running: list[tuple[subprocess.Popen[bytes], Channel[Any, Any]]] = []
        self._count = count
        self._used: list[Usage] = []

    @property
    def usage(self) -> Usage:
        """What all of them have cost."""
        return sum(self._used, Usage())

    def __enter__(self) -> Self:
        try:
            self._running = [_started() for _ in range(self._count)]
            for _, channel in self._running:
                channel.send(self._opening)
            self._answers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def step(self, rate: float, seconds: float, *, seed: int, slowest: float) -> Sequence[Sent]:
        """Send them, a share from each process."""
        each = turns(rate, seconds, seed=seed, slowest=slowest, processes=len(self._running))
        for turn, (_, channel) in zip(each, self._running, strict=True):
            channel.send(turn)
        parts: list[Sent] = self._answers()
        self._used = [part.usage for part in parts]
        return parts

    def _answers(self) -> list[Any]:
        found = []
        for _, channel in self._running:
            try:
                answer, error = channel.recv()
            except (EOFError, OSError) as lost:
                raise CheckFailed("load: a process that sends searches has died; run it again") from lost
            if error is not None:
                raise error
            found.append(answer)
        return found

    def _end(self) -> None:
        for process, channel in self._running:
            channel.close()
            process.kill()
            process.wait()
        self._running = []


def _started() -> "tuple[subprocess.Popen[bytes], Channel[Any, Any]]":
    ours, theirs = Pipe()
    command = [sys.executable, "-m", "vectorferry.engine.checks.load.worker", str(theirs.fileno())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
    theirs.close()
    return process, ours
