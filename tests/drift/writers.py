"""Applications that write through routers meanwhile: puts, updates, deletes, new records; never what was planted."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from drift.rows import metadata_of
from drift.settings import DIMENSION
from oracle import Key
from vectorferry.router import Record, Router

NEW_SPACE = "made-meanwhile"


@dataclass
class Writers:
    """One router and one thread that writes `rate` records a second to `keys` and to keys of its own, until the context ends.

    `errors` is what a call met: there is none where nobody harms anything.
    """

    router: Router
    keys: Sequence[Key]
    rate: float
    seed: int
    written: int = 0
    deleted: int = 0
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift-writer")

    def __enter__(self) -> "Writers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def await_some(self, more: int = 20) -> None:
        """Wait for some more writes."""
        before = self.written
        while self.written < before + more and not self.errors:
            time.sleep(0.01)

    def _run(self) -> None:
        draw = random.Random(self.seed)
        while not self._stop.wait(1 / self.rate):
            try:
                self._write(draw)
            except BaseException as error:  # noqa: BLE001 (shown by whoever judges)
                self.errors.append(error)
                return
            self.written += 1

    def _write(self, draw: random.Random) -> None:
        namespace, id_ = self._key(draw)
        if draw.random() < 0.2:
            self.router.delete(namespace, [id_])
            self.deleted += 1
            return
        vector = [draw.gauss(0, 1) for _ in range(DIMENSION)]
        self.router.upsert(namespace, [Record(id_, vector, metadata_of(draw.randrange(1 << 30), self.seed))])

    def _key(self, draw: random.Random) -> Key:
        if draw.random() < 0.7:
            return draw.choice(self.keys)
        return draw.choice([NEW_SPACE, "", "shoes"]), f"live-{draw.randrange(300)}"
