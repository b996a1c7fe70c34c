"""Source sample: draws namespaces, and asks the source about each, several at a time, within its connection's budget."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nlargest, nsmallest
from typing import TypeVar

from vectorferry.core.keys import order_hash
from vectorferry.engine.parallel import AdaptiveWindow, send_all
from vectorferry.engine.session import Session
from vectorferry.stores.batching import chunks

T = TypeVar("T")

MOST_NAMESPACES = 500
"""Namespaces that preflight looks into, at a few requests each; the export looks into every one."""
_LARGEST = 100
_IN_FLIGHT = 8
_AT_A_TIME = 32  # whose answers are held in memory


def drawn(namespaces: Mapping[str, int]) -> dict[str, int]:
    """At most 500 namespaces with their rows, in the order given: the largest, and of the others the same ones each time, by hash."""
    if len(namespaces) <= MOST_NAMESPACES:
        return dict(namespaces)
    largest = set(nlargest(_LARGEST, namespaces, key=lambda name: (namespaces[name], name)))
    others = (name for name in namespaces if name not in largest)
    chosen = largest.union(nsmallest(MOST_NAMESPACES - _LARGEST, others, key=lambda name: order_hash(name, "")))
    return {name: rows for name, rows in namespaces.items() if name in chosen}


def asked(session: Session, namespaces: Sequence[str], ask: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Each namespace with its answer, in the order given, some asked at the same time. The first error is raised."""
    for some in chunks(namespaces, _AT_A_TIME):
        found = _answers(session, some, ask)
        yield from ((name, found[name]) for name in some)


def _answers(session: Session, namespaces: Sequence[str], ask: Callable[[str], T]) -> dict[str, T]:
    found: list[tuple[str, T]] = []
    window, throttled = AdaptiveWindow(_IN_FLIGHT), lambda: session.source.usage.throttled
    send_all(namespaces, lambda name: (name, ask(name)), found.append, window, throttled)
    return dict(found)
