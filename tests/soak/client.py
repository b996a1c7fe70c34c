"""An application: it calls its router at a fixed rate, whether or not earlier calls were answered, and writes down what it hears."""

import random
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from soak.logbook import Logbook
from soak.settings import HOT, MARKED, NAMESPACES, WIDE, Settings
from soak.values import metadata_of, value_of, vector_of
from vectorferry.core.errors import VectorferryError
from vectorferry.router import NotDone, Record, Router, Unknown

AT_A_TIME = 48
AGAIN_SECONDS = 0.3


def main(role: str, name: str, file: str, serial: str) -> None:
    """Run as `writer` or `reader` until SIGTERM; `name` is this life's, `serial` a number of its own."""
    settings = Settings.read(file)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    book = Logbook(settings.round_folder / f"{name}.jsonl")
    calls = Calls(settings, name, int(serial), book)
    if not calls.join(stop):
        return
    book.note(what="ready")
    kind = Writing(settings, calls) if role == "writer" else Reading(settings, calls)
    run_open_loop(kind.next, kind.rate, stop)
    calls.router.close()
    book.note(what="closed")


def run_open_loop(call: Callable[[], Callable[[], None]], rate: float, stop: threading.Event) -> None:
    """Begin a call at each tick, `rate` times a second, until told to stop; then wait for the answers."""
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="call") as pool:
        due = time.monotonic()
        while not stop.is_set():
            pool.submit(call())
            due += 1 / rate
            if (left := due - time.monotonic()) > 0:
                stop.wait(left)
            elif left < -5:  # a stopped process does not make up for all that it slept through
                due = time.monotonic()


class Calls:
    """The router's calls, each with a line before it and one after it."""

    def __init__(self, settings: Settings, name: str, serial: int, book: Logbook) -> None:
        self._settings = settings
        self.name = name
        self._book = book
        self._ops = count(1)
        self._numbers = count(serial * 10_000_000 + 1)
        self.draw = random.Random(f"{settings.seed}/{name}")
        self.router = Router(settings.migration, settings.journal, lease=settings.lease)

    def join(self, stop: threading.Event) -> bool:
        """Join the migration, trying until it works; False if told to stop before."""
        while not stop.is_set():
            try:
                self.router.open()
            except VectorferryError as error:
                self._book.note(what="cannot join", why=str(error))
                stop.wait(AGAIN_SECONDS)
            else:
                return True
        return False

    def put(self, namespace: str, ids: list[str], mark: str = "") -> str:
        numbers = {id_: next(self._numbers) for id_ in ids}
        records = [Record(id_, vector_of(n), metadata_of(n, mark)) for id_, n in numbers.items()]
        values = {id_: [n, n, mark] for id_, n in numbers.items()}
        return self._call("put", namespace, lambda: self.router.upsert(namespace, records), values=values)

    def delete(self, namespace: str, id_: str) -> str:
        return self._call("delete", namespace, lambda: self.router.delete(namespace, [id_]), ids=[id_])

    def delete_marked(self, namespace: str, ids: list[str], mark: str) -> str:
        where = {"mark": {"$eq": mark}}
        send = lambda: self.router.delete_where(namespace, where)  # noqa: E731
        return self._call("delete_where", namespace, lambda: send() and None, mark=mark, ids=ids)

    def update(self, namespace: str, id_: str) -> str:
        number, field = next(self._numbers), self.draw.choice(["vector", "metadata"])
        change: dict[str, Any] = {"vector": vector_of(number)} if field == "vector" else {"set_metadata": {"n": number}}
        send = lambda: self.router.update(namespace, id_, **change)  # type: ignore[attr-defined]  # noqa: E731
        return self._call("update", namespace, send, id=id_, **{field: number})

    def fetch(self, namespace: str, ids: list[str]) -> str:
        def send() -> dict[str, Any]:
            found = self.router.fetch(namespace, ids)
            return {id_: value_of(record.vector, record.metadata) for id_, record in found.items()}

        return self._call("fetch", namespace, send, ids=ids)

    def search(self, namespace: str) -> str:
        vector = vector_of(self.draw.randrange(1 << 40))
        return self._call("search", namespace, lambda: [m.id for m in self.router.search(namespace, vector, 5)])

    def _call(self, do: str, namespace: str, send: Callable[[], Any], **details: Any) -> str:
        op = f"{self.name}-{next(self._ops)}"
        self._book.note(op=op, do=do, ns=namespace, **details)
        outcome = _outcome(send, reading=do in ("fetch", "search"))
        self._book.note(op=op, **outcome)
        return str(outcome["end"])


def _outcome(send: Callable[[], Any], *, reading: bool) -> dict[str, Any]:
    try:
        found = send()
    except NotDone as error:
        return {"end": "not done", "why": str(error)}
    except Unknown as error:
        return {"end": "unknown", "within": error.within, "why": str(error)}
    except VectorferryError as error:
        return {"end": "failed" if reading else "crashed", "error": f"{type(error).__name__}: {error}"}
    except Exception:  # noqa: BLE001 (the judge shows it)
        return {"end": "crashed", "error": traceback.format_exc()}
    return {"end": "done"} if found is None else {"end": "done", "found": found}


class Writing:
    """What a writer does: single puts, deletes and updates of few keys that all write, batches over many, and batches with a mark of
    their own that are deleted by filter later."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        self._calls = calls
        self._draw = calls.draw
        self._batch = settings.batch
        self._marked = count(1)
        self._wait = settings.delay + settings.deadline
        self._ripe: deque[tuple[float, str, list[str], str]] = deque()
        kinds = {
            self._hot_put: 0.3,
            self._hot_delete: 0.12,
            self._wide: 0.25,
            self._mark: 0.015,
            self._unmark: 0.015,
            self._read: 0.12,
        }
        if hasattr(calls.router, "update"):
            kinds[self._hot_update] = 0.13
        self._kinds, self._weights = list(kinds), list(kinds.values())
        records = {self._wide: self._batch, self._mark: MARKED, self._unmark: MARKED, self._read: 0}
        mean = sum(weight * records.get(kind, 1) for kind, weight in kinds.items()) / sum(self._weights)
        self.rate = settings.rate / settings.writers / mean

    def next(self) -> Callable[[], None]:
        """The next call, drawn by weight."""
        return self._draw.choices(self._kinds, self._weights)[0]

    def _hot_put(self) -> None:
        self._calls.put(*self._hot())

    def _hot_delete(self) -> None:
        namespace, [id_] = self._hot()
        self._calls.delete(namespace, id_)

    def _hot_update(self) -> None:
        namespace, [id_] = self._hot()
        self._calls.update(namespace, id_)

    def _hot(self) -> tuple[str, list[str]]:
        return self._draw.choice(NAMESPACES), [hot_id(self._draw.randrange(HOT))]

    def _wide(self) -> None:
        ids = [wide_id(n) for n in self._draw.sample(range(WIDE), self._batch)]
        self._calls.put(self._draw.choice(NAMESPACES), ids)

    def _mark(self) -> None:
        mark = f"{self._calls.name}-{next(self._marked)}"
        namespace, ids = self._draw.choice(NAMESPACES), [f"{mark}-{n}" for n in range(MARKED)]
        self._calls.put(namespace, ids, mark)
        self._ripe.append((time.monotonic() + self._wait, namespace, ids, mark))

    def _unmark(self) -> None:
        if self._ripe and self._ripe[0][0] <= time.monotonic():
            _, namespace, ids, mark = self._ripe.popleft()
            self._calls.delete_marked(namespace, ids, mark)
        else:
            self._mark()

    def _read(self) -> None:
        self._calls.fetch(*self._hot())


class Reading:
    """What a reader does: fetches of some keys that are written much, and a search now and then."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        self._calls = calls
        self._draw = calls.draw
        self.rate = settings.reads

    def next(self) -> Callable[[], None]:
        """A fetch, or a search."""
        namespace = self._draw.choice(NAMESPACES)
        if self._draw.random() < 0.1:
            return lambda: _ignore(self._calls.search(namespace))
        ids = [*map(hot_id, self._draw.sample(range(HOT), 4)), *map(wide_id, self._draw.sample(range(WIDE), 6))]
        return lambda: _ignore(self._calls.fetch(namespace, ids))


def _ignore(outcome: str) -> None:
    del outcome


def hot_id(number: int) -> str:
    return f"hot-{number:02}"


def wide_id(number: int) -> str:
    return f"wide-{number:03}"
