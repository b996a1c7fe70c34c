"""Turns at one table within this process: writers side by side, or its compaction alone, for one that meets a write is lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WAIT = 2.0
"""Seconds that one waits for the other. A write goes on then, and the compaction is lost: nobody's request waits for it to its deadline."""


class Turns:
    """Who is at a table. Other processes are not seen: between them the engine's own conflicts decide, and a compaction loses."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writers = 0
        self._compacting = 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Beside other writers, once nobody compacts or waits to."""
        with self._changed:
            self._changed.wait_for(lambda: not self._compacting, LONGEST_WAIT)
            self._writers += 1
        try:
            yield
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()

    @contextmanager
    def compacting(self) -> Iterator[None]:
        """Once those who write have ended; who comes then waits."""
        with self._changed:
            self._compacting += 1
            self._changed.wait_for(lambda: not self._writers, LONGEST_WAIT)
        try:
            yield
        finally:
            with self._changed:
                self._compacting -= 1
                self._changed.notify_all()


_TURNS: dict[tuple[str, str], Turns] = {}
_FIRST = threading.Lock()


def turns_at(uri: str, table: str) -> Turns:
    """Those of a table, which all stores of this process share."""
    with _FIRST:
        return _TURNS.setdefault((uri, table), Turns())
