"""Applications that write through routers while a migration runs, and remember what was acknowledged."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from pipeline.worlds import World
from vectorferry.engine.plan.register import register
from vectorferry.engine.session import Session
from vectorferry.router import Record, Router
from vectorferry.stores.base import VectorStore

Key = tuple[str, str]
DIMENSION = 384
PAUSE = 0.02


def record(id_: str, value: float) -> Record:
    return Record(id_, [value, *[0.5] * (DIMENSION - 1)], {"kind": "written", "lines": int(value * 100)})


@dataclass
class Writers:
    """One thread a router. Each writes keys of its own, one call after the other, so that its last answer says what must be there.

    It is read after `shown_after` seconds.
    """

    routers: Sequence[Router]
    keys: Sequence[Key]
    made_of: Callable[[str, float], Record] = record
    pause: float = PAUSE
    shown_after: float = 0.0
    expected: dict[Key, float | None] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)
    written: int = 0
    longest: float = 0.0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n, router)) for n, router in enumerate(self.routers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, router: Router) -> None:
        draw, own = random.Random(number), self.keys[number :: len(self.routers)]
        last = time.monotonic()
        while not self._stop.wait(self.pause):
            try:
                self._write(router, draw.choice(own), None if draw.random() < 0.3 else draw.random())
            except BaseException as error:  # noqa: BLE001 (shown by the test)
                self.errors.append(error)
                return
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            self.written += 1

    def _write(self, router: Router, key: Key, value: float | None) -> None:
        namespace, id_ = key
        if value is None:
            router.delete(namespace, [id_])
        else:
            router.upsert(namespace, [self.made_of(id_, value)])
        self.expected[key] = value
        time.sleep(self.shown_after)
        found = router.fetch(namespace, [id_])
        assert (id_ in found) == (value is not None), key
        assert value is None or abs(found[id_].vector[0] - value) < 1e-6, key


def joined(world: World) -> Router:
    """A router that joins as its block begins. It keeps its lease however busy the machine is: its answers are judged without excuse."""
    return Router("small", world.connection("journal"), connections=world.connection, lease=60.0)


@contextmanager
def writing(world: World, keys: Sequence[Key], routers: int = 2) -> Iterator[Writers]:
    """Routers that have joined, and write until the end of the block."""
    with world.session() as session:
        register(session.journal, session.spec, "ann")
    with ExitStack() as stack:
        opened = [stack.enter_context(joined(world)) for _ in range(routers)]
        writers = Writers(opened, keys)
        stack.callback(writers.stop)
        yield writers


def held(store: VectorStore, keys: Sequence[Key]) -> dict[Key, float | None]:
    """The first component of each record that is there, None where it is not."""
    values: dict[Key, float | None] = dict.fromkeys(keys)
    for namespace in {namespace for namespace, _ in keys}:
        ids = [id_ for name, id_ in keys if name == namespace]
        values |= {(namespace, row["id"]): row["vector"][0] for row in store.fetch(namespace, ids).to_pylist()}
    return values


def assert_as_written(session: Session, writers: Writers, *stores: VectorStore) -> None:
    """Both sides, or these, hold what the writers were told that they hold."""
    for store in stores or (session.source, session.target):
        found = held(store, list(writers.expected))
        for key, value in writers.expected.items():
            there = found[key]
            assert (there is None) == (value is None), (store.name, key, value, there)
            assert value is None or there is None or abs(there - value) < 1e-6, (store.name, key)
