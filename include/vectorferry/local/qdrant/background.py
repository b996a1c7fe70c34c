"""Background work: optimizes what is due, and writes everything out every few seconds, as the vendor's server does."""

import logging
import threading
import time
from collections.abc import Callable

from vectorferry.local.qdrant.catalog import Catalog
from vectorferry.local.qdrant.collection import Collection
from vectorferry.local.qdrant.problems import Problem

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.25
_FLUSH_SECONDS = 5.0
# While somebody loads, what is indexed now is soon one part among others: it waits for a moment without writes, though not for ever.
_QUIET_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0


class Background:
    """A thread that looks after all collections of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stopping = threading.Event()
        self._due_since: dict[Collection, float] = {}
        self._flushed = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End what is under way: it begins anew when the collection is next opened."""
        self._stopping.set()
        for each in self._catalog.all():
            each.interrupt()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            self._each(self._look_at)
            if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
                self._each(Collection.flush)
                self._flushed = time.monotonic()

    def _each(self, work: Callable[[Collection], None]) -> None:
        for collection in self._catalog.all():
            try:
                work(collection)
            except Problem:
                self._due_since.pop(collection, None)  # removed meanwhile
            except Exception as error:  # told by the collection's status, as the vendor's server does
                log.exception("background work on %s failed", collection.name)
                collection.fail(error)

    def _look_at(self, collection: Collection) -> None:
        now = time.monotonic()
        if self._stopping.is_set() or not collection.due():
            self._due_since.pop(collection, None)
            return
        since = self._due_since.setdefault(collection, now)
        if now - collection.written_at >= _QUIET_SECONDS or now - since >= _PATIENCE_SECONDS:
            collection.optimize()
