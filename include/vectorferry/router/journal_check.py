"""Journal check: whether a router that starts has joined the journal under which the target was last written."""

import threading
from collections.abc import Callable

from vectorferry.core.errors import JournalUnavailable, RetryableError, TerminalError
from vectorferry.journal import Journal, Marker
from vectorferry.stores.base import VectorStore

AGAIN_SECONDS = 5.0


class JournalCheck:
    """Compares the journal with the target's marker; `newest` is then a generation that this journal can never draw again."""

    def __init__(self, journal: Journal, target: VectorStore, migration: str) -> None:
        self._journal = journal
        self._target = target
        self._migration = migration
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.newest = 0

    def look(self) -> str | None:
        """Why this is another journal, or an older state of it; empty where nothing tells so, and None where the target is away.

        Raises JournalError.
        """
        try:
            # Before the journal is asked: what is compared with it can only be older.
            found = self._target.marker(self._migration) if self._target.capabilities.markers else None
        except RetryableError:
            return None
        except TerminalError:  # it may not be read by this key: then there is none to compare with
            return ""
        if found is None:
            return ""
        known = Marker.parse(found)
        why = known.contradicts(self._journal.id, self._journal.epoch(self._migration))
        self.newest = 0 if why else known.generation
        return why

    def begin(self, fence_off: Callable[[str], None]) -> None:
        """Look again until the target answers, on a thread of its own: one that is away keeps nobody from the other side."""
        self._thread = threading.Thread(target=self._until_known, args=(fence_off,), name="journal check", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _until_known(self, fence_off: Callable[[str], None]) -> None:
        while not self._stopped.wait(AGAIN_SECONDS):
            try:
                why = self.look()
            except JournalUnavailable:
                continue
            if why:
                fence_off(why)
            if why is not None:
                return
