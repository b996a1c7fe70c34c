"""Tools that stop and fail on command: actors that pause before each request, stores and a journal that do as they are told.

An actor is a thread that runs only while the test waits for it, so that every interleaving is the test's own choice. Time is one clock
for routers, settlers and journal; it moves when the test says so.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import JournalUnavailable, OutcomeUnknown, Unavailable
from vectorferry.core.model import Vectors
from vectorferry.stores.caller import Caller
from vectorferry.stores.memory import MemoryStore

_here = threading.local()


class Killed(BaseException):
    """The process of this actor is gone."""


class Clock:
    """`time.monotonic` of the code under test: the real one, plus what the test added."""

    def __init__(self) -> None:
        self._added = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._added

    def sleep(self, seconds: float) -> None:
        """Nobody sleeps."""

    def add(self, seconds: float) -> None:
        self._added += seconds


@dataclass(frozen=True)
class Point:
    """Where an actor waits: 'journal', 'read', 'send' or 'answer', what it is about to do, and since when."""

    kind: str
    what: str
    since: float = 0.0


class Actor:
    """Runs `run` in a thread up to its next pause. `at` is None once it has ended, with `error` where it failed."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        self.name = name
        self.at: Point | None = None
        self.error: BaseException | None = None
        self.killed = False
        self._run = run
        self._how = ""
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        threading.Thread(target=self._main, daemon=True, name=name).start()
        self._back.acquire()

    def __repr__(self) -> str:
        return f"{self.name} {self.at.kind if self.at else ''} {self.at.what if self.at else 'ended'}"

    def resume(self, how: str = "go") -> "Actor":
        """Let it go on to its next pause."""
        assert self.at is not None, f"{self.name} has ended: {self.error!r}"
        self._how = how
        self._go.release()
        self._back.acquire()
        return self

    def until(self, what: str) -> "Actor":
        """Let it go on until it is about to do this."""
        while self.at is None or self.at.what != what:
            self.resume()
        return self

    def finish(self) -> "Actor":
        """Let it go on to its end."""
        while self.at is not None:
            self.resume()
        return self

    def kill(self) -> None:
        self.killed = True
        self.finish()

    def wait(self, point: Point) -> str:
        if self.killed:
            raise Killed
        self.at = point
        self._back.release()
        self._go.acquire()
        if self.killed:
            raise Killed
        return self._how

    def _main(self) -> None:
        _here.actor = self
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            self.error = error
        self.at = None
        self._back.release()


def pause(point: Point) -> str:
    """Wait for the test's word; the test's own thread never waits."""
    actor: Actor | None = getattr(_here, "actor", None)
    return "go" if actor is None else actor.wait(point)


@dataclass(frozen=True)
class Late:
    """A request that its sender gave up; it may take effect until then."""

    side: str
    land: Callable[[], None]
    until: float


class FaultyStore(MemoryStore):
    """A store whose requests wait for the test's word.

    A write can 'go', 'fail' (nothing happens), or get no answer: it 'never' happens, has 'landed', or is 'late'. The answer to one that
    went can be 'lost'. A read can 'go' or 'fail'.
    """

    def __init__(self, side: str, world: str, clock: Clock, late: list[Late], deadline: float, caller: Caller) -> None:
        super().__init__(world + side, "docs", caller=caller)
        self._side = side
        self._clock = clock
        self._late = late
        self._deadline = deadline

    def _put(self, batch: pa.RecordBatch) -> None:
        ids = batch.column("id").to_pylist()
        self._write(f"put {ids} {self._side}", lambda: MemoryStore._put(self, batch))

    def _merge(self, namespace: str, id_: str, vector: Vectors | None, metadata: str) -> None:
        self._write(f"update {id_} {self._side}", lambda: MemoryStore._merge(self, namespace, id_, vector, metadata))

    def _delete(self, namespace: str, ids: Sequence[str]) -> None:
        self._write(f"delete {list(ids)} {self._side}", lambda: MemoryStore._delete(self, namespace, ids))

    def _fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        if pause(Point("read", f"read {self._side}", self._clock.monotonic())) == "fail":
            raise Unavailable("on purpose")
        return super()._fetch(namespace, ids)

    def _write(self, what: str, land: Callable[[], None]) -> None:
        since = self._clock.monotonic()
        how = pause(Point("send", f"send {self._side}", since))
        if how == "fail":
            raise Unavailable(f"on purpose: {what}")
        if how == "late":
            self._late.append(Late(self._side, land, since + self._deadline))
        if how in ("go", "landed"):
            land()
        if how != "go" or pause(Point("answer", f"answer {self._side}", since)) == "lost":
            raise OutcomeUnknown(f"on purpose: {what}")


class FaultyPart:
    """A part of the journal whose calls wait: 'go', 'down' (not done), 'lost' (done, without an answer), or 'slow' (waits once more)."""

    def __init__(self, part: Any, stops_at: frozenset[str]) -> None:
        self._part = part
        self._stops_at = stops_at

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)
        return self._stopping(name, call) if name in self._stops_at else call

    def _stopping(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stopping(*args: Any, **named: Any) -> Any:
            how = pause(Point("journal", name))
            if how == "down":
                raise JournalUnavailable("on purpose")
            answer = call(*args, **named)
            if how == "slow":
                pause(Point("slow", f"{name} done"))
            if how == "lost":
                raise JournalUnavailable("on purpose, the answer")
            return answer

        return stopping


class FaultyJournal:
    """The journal, as one process sees it."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self.intents = FaultyPart(journal.intents, frozenset({"open", "lift", "close", "leave_open", "abandon"}))
        self.claims = FaultyPart(journal.claims, frozenset({"take", "settled", "release"}))
        self.members = FaultyPart(journal.members, frozenset({"acknowledge", "renew", "join"}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class Jobs:
    """An executor: each job is an actor of its own."""

    def __init__(self, name: str, begun: Callable[[Actor], None]) -> None:
        self._name = name
        self._begun = begun

    def submit(self, job: Callable[..., object], *args: object) -> None:
        actor: Actor | None = getattr(_here, "actor", None)
        if actor is not None and actor.killed:
            raise Killed
        self._begun(Actor(self._name, lambda: job(*args)))

    def shutdown(self) -> None:
        """Nothing to wait for."""
