"""Lock that many readers share and one writer has alone."""

import contextlib
import threading
from collections.abc import Iterator


class SharedLock:
    """Shared by those who use a thing, exclusive for who replaces it; who waits to replace it goes before new users."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._waiting = 0
        self._held = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Use the thing."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held and not self._waiting)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Replace the thing, once nobody uses it."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._held and not self._users)
            self._waiting -= 1
            self._held = True
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()
