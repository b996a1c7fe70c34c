"""An application in a process of its own: it writes and deletes through a router, and keeps a history that outlives its death."""

import itertools
import json
import os
import random
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import oracle
from pipeline.dying import PATIENCE, Point, start
from pipeline.worlds import World
from pipeline.writing import Key, record
from vectorferry.core.errors import Unavailable
from vectorferry.router import NotDone, Router, Unknown
from vectorferry.spec.connections import connection_from_environment

LEASE = 2.0
PAUSE = 0.02


def application(history: Path, keys: Sequence[Key], seed: int) -> None:
    """Write until SIGTERM: each key's last answer, and what was begun after it, say what may be there."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    draw, numbers = random.Random(seed), itertools.count(1)
    connections = connection_from_environment
    with (
        history.open("ab", buffering=0) as file,
        Router("small", connections("journal"), connections=connections, lease=LEASE) as router,
    ):
        while not stopped:
            value = None if draw.random() < 0.3 else draw.random()
            _once(router, file.fileno(), next(numbers), draw.choice(keys), value)
            time.sleep(PAUSE)


def _once(router: Router, file: int, number: int, key: Key, value: float | None) -> None:
    def note(what: str) -> None:
        os.write(file, json.dumps([number, what, *key, value]).encode() + b"\n")

    namespace, id_ = key
    note("begun")
    try:
        if value is None:
            router.delete(namespace, [id_])
        else:
            router.upsert(namespace, [record(id_, value)])
    except NotDone as error:
        assert error.retryable, error
        note("not done")
        return
    except Unknown as error:
        # A later write of the same key must not race with this one.
        time.sleep(error.within)
        return
    note("done")
    # A database that does not answer in time, dead or busy, says nothing of what it holds.
    with suppress(NotDone, Unavailable):
        found = router.fetch(namespace, [id_])
        assert (id_ in found) == (value is not None), key
        assert value is None or abs(found[id_].vector[0] - value) < 1e-6, key


@dataclass
class Applications:
    """Those of one world; each has keys of its own, so that its answers come in one order."""

    world: World
    keys: Sequence[Key]
    most: int
    running: dict[str, BaseProcess] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, name: str, point: Point | None = None) -> BaseProcess:
        number = next(self._numbers)
        assert number < self.most, "every application needs keys"
        keys, folder = self.keys[number :: self.most], self.world.folder
        arguments = (folder / f"{name}.history", keys, number)
        environment, log = self.world.environment(), folder / f"{name}.log"
        self.running[name] = start(
            application, *arguments, environment=environment, log=log, points=[point] if point else []
        )
        return self.running[name]

    def stop(self) -> None:
        """Stop those that live, and have the rest forgotten; raises where one failed."""
        for process in self.running.values():
            if process.is_alive():
                process.terminate()
        for name, process in self.running.items():
            process.join(PATIENCE)
            assert process.exitcode in (0, -9), (self.world.folder / f"{name}.log").read_text()

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.join()

    def some(self) -> None:
        """Wait until each living application has written some more, and those that are to die of that are dead."""
        earlier = {name: self.done(name) for name in self.running}
        end = time.monotonic() + PATIENCE
        for name, process in self.running.items():
            while process.is_alive() and self.done(name) < earlier[name] + 10:
                assert time.monotonic() < end, f"{name} writes no more"
                time.sleep(0.02)

    def done(self, name: str) -> int:
        """How many writes an application has been told are done."""
        return sum(what == "done" for _, what, *_ in self._history(name))

    def possible(self) -> dict[Key, set[float | None]]:
        """What each key may hold now: what was acknowledged last, or what was begun since and never answered."""
        each = (possible(self._history(name)) for name in self.running)
        return {key: values for found in each for key, values in found.items()}

    def _history(self, name: str) -> list[tuple[int, str, str, str, float | None]]:
        path = self.world.folder / f"{name}.history"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


def possible(history: Iterable[tuple[int, str, str, str, float | None]]) -> Mapping[Key, set[float | None]]:
    """What each key of a history may hold; keys that no write was acknowledged of are left out."""
    open_: dict[Key, dict[int, float | None]] = {}
    acked: dict[Key, float | None] = {}
    for number, what, namespace, id_, value in history:
        begun = open_.setdefault((namespace, id_), {})
        if what == "begun":
            begun[number] = value
        elif what == "not done":
            del begun[number]
        else:
            acked[(namespace, id_)] = value
            begun.clear()
    return {key: {value, *open_[key].values()} for key, value in acked.items()}


def lost(
    rows: oracle.Rows, wanted: Mapping[Key, set[float | None]]
) -> list[tuple[Key, float | None, set[float | None]]]:
    """The keys that do not hold what they may, as the independent reader sees them."""
    held = {key: float(rows[key][0][0]) if key in rows else None for key in wanted}
    return [(key, held[key], values) for key, values in wanted.items() if not any(_same(held[key], v) for v in values)]


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) < 1e-6
