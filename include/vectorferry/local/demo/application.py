"""The demo's application: a small service that writes, deletes and searches through a router while its collection is moved.

It sends requests at a fixed rate, whether or not the last one was slow, and keeps its own view in a file: requests, errors, the longest
pause, phase, which database answers. At SIGTERM it reads back what it was told is written; it exits with 1 after an error or a loss.
"""

import argparse
import itertools
import json
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectorferry.core.errors import VectorferryError
from vectorferry.core.records import vectors_of
from vectorferry.local.demo.spec import DATA
from vectorferry.router import Record, Router
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import load_spec

NAMESPACES = ("asyncio", "email", "tkinter")
KEYS = 60
LEASE = 30.0  # a laptop that moves a collection at the same time may be slow
TELL_SECONDS = 0.5
Key = tuple[str, str]


@dataclass
class View:
    """What the application saw. `longest` is the longest time for which a request waited for its answer, in seconds."""

    requests: int = 0
    writes: int = 0
    errors: int = 0
    first_error: str = ""
    longest: float = 0.0
    phase: str = ""
    store: str = ""
    checked: int = 0
    lost: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The view in one line, which fits a terminal."""
        errors = f"{self.errors} ERRORS ({self.first_error})" if self.errors else "no errors"
        where = f"{self.phase}: {self.store}"
        return f"app: {self.requests:,} requests, {errors}, longest pause {self.longest:.2f} s, {where}"

    def verdict(self) -> str:
        """What its last look at its own writes came to."""
        if self.lost:
            return f"{len(self.lost)} of {self.checked} records are LOST: {', '.join(self.lost[:5])}"
        return f"{self.writes:,} writes; all {self.checked} records are as it wrote or deleted them"

    @property
    def well(self) -> bool:
        """Whether it saw neither an error nor a loss."""
        return not self.errors and not self.lost


def read_view(path: Path) -> View | None:
    """The view that an application keeps in a file; None before its first."""
    return View(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


class Application:
    """Requests one after the other; `expected` is what each key must hold: the number of its last write, None once deleted."""

    def __init__(self, router: Router, vectors: Sequence[Sequence[float]], file: Path) -> None:
        self._router = router
        self._vectors = vectors
        self._file = file
        self._draw = random.Random(1)  # noqa: S311 (an example, not a secret)
        self._numbers = itertools.count(1)
        self._told = 0.0
        self._stopped = False
        self.view = View()
        self.expected: dict[Key, int | None] = {}

    def stop(self, *_: object) -> None:
        """End after the request that is under way."""
        self._stopped = True

    def serve(self, rate: float) -> None:
        """Send `rate` requests a second until it is stopped."""
        began = time.monotonic()
        for number in itertools.count():
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            if self._stopped:
                return
            self._request(number)
            if time.monotonic() > self._told + TELL_SECONDS:
                self._tell()

    def judge(self) -> None:
        """Read back every record that was written or deleted, and keep the last view."""
        found = {namespace: self._router.fetch(namespace, ids) for namespace, ids in self._written()}
        for (namespace, id_), number in self.expected.items():
            held = found[namespace].get(id_)
            if (None if held is None else held.metadata["lines"]) != number:
                self.view.lost.append(f"{namespace}/{id_}")
        self.view.checked = len(self.expected)
        self._tell()

    def _written(self) -> Iterator[tuple[str, list[str]]]:
        for namespace in NAMESPACES:
            yield namespace, [id_ for name, id_ in self.expected if name == namespace]

    def _request(self, number: int) -> None:
        began = time.monotonic()
        try:
            if number % 2:
                self._router.search(self._draw.choice(NAMESPACES), self._draw.choice(self._vectors), 5)
            else:
                self._write((self._draw.choice(NAMESPACES), f"live-{self._draw.randrange(KEYS)}"))
        except VectorferryError as error:
            self.view.errors += 1
            self.view.first_error = self.view.first_error or str(error)
        self.view.requests += 1
        self.view.longest = max(self.view.longest, time.monotonic() - began)

    def _write(self, key: Key) -> None:
        namespace, id_ = key
        # After an error, what the key holds is not known.
        self.expected.pop(key, None)
        if self._draw.random() < 0.25:
            self._router.delete(namespace, [id_])
            self.expected[key] = None
        else:
            number = next(self._numbers)
            metadata = {"kind": "live", "public": True, "lines": number}
            self._router.upsert(namespace, [Record(id_, self._draw.choice(self._vectors), metadata)])
            self.expected[key] = number
        self.view.writes += 1

    def _tell(self) -> None:
        phase, self.view.store = self._router.standing(NAMESPACES[0])
        self.view.phase, self._told = str(phase), time.monotonic()
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self.view)), encoding="utf-8")
        draft.replace(self._file)


def some_vectors(data: Path, most: int = 50) -> list[list[float]]:
    """Vectors of the data set."""
    table = pq.read_table(data, columns=["namespace", "vector"])
    chosen = table.filter(pc.equal(table["namespace"], NAMESPACES[0])).slice(0, most).combine_chunks()
    found: list[list[float]] = vectors_of(chosen.to_batches()[0]).tolist()
    return found


def main() -> int:
    """Serve until SIGTERM; 0 where all went well."""
    options = _options()
    spec = load_spec(options.spec)
    journal = connection_from_environment(spec.journal)
    with Router(spec.migration, journal, lease=LEASE) as router:
        application = Application(router, some_vectors(options.data), options.view)
        signal.signal(signal.SIGTERM, application.stop)
        application.serve(options.rate)
        application.judge()
    return 0 if application.view.well else 1


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--view", type=Path, required=True, help="file for what it saw")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
