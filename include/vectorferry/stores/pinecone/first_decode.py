"""First decode: one thread alone decodes the first answer of each kind.

msgspec, by which the SDK decodes, builds what it knows of a type at the type's first answer, and does so without a lock: of two
threads that come first at once, one decodes by a half-built description and crashes or spins for ever (seen with msgspec 0.22).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()
_decoded: set[str] = set()


@contextmanager
def alone_at_first(kind: str) -> Iterator[None]:
    """Let one thread through at a time until one call of this kind, in this process, has ended without an error."""
    if kind in _decoded:
        yield
        return
    with _lock:
        yield
        _decoded.add(kind)
