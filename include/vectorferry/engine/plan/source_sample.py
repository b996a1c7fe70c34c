"""Source sample: draws namespaces, and asks the source about each, several at a time, within its connection's budget."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nlargest, nsmallest
from itertools import chain, islice
from typing import TypeVar

import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.keys import order_hash
from vectorferry.core.model import KeyRange
from vectorferry.engine.parallel import AdaptiveWindow, send_all
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import chunks

T = TypeVar("T")

SAMPLE = 200
"""Records of a namespace that are looked at before anything is moved."""
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


def asked(source: VectorStore, namespaces: Sequence[str], ask: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Each namespace with its answer, in the order given, some asked at the same time. The first error is raised."""
    for some in chunks(namespaces, _AT_A_TIME):
        found = _answers(source, some, ask)
        yield from ((name, found[name]) for name in some)


def first_ids(source: VectorStore, namespace: str) -> Sequence[str]:
    """The first SAMPLE ids of a namespace, or all that it has; pages have any length."""
    return list(islice(chain.from_iterable(source.list_ids(KeyRange(namespace))), SAMPLE))


def sampled(source: VectorStore, namespaces: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch | RecordError]]:
    """Up to SAMPLE records of each namespace, or why they cannot be read."""

    def some(namespace: str) -> pa.RecordBatch | RecordError:
        try:
            return source.fetch(namespace, first_ids(source, namespace))
        except RecordError as error:
            return error

    return asked(source, namespaces, some)


def _answers(source: VectorStore, namespaces: Sequence[str], ask: Callable[[str], T]) -> dict[str, T]:
    found: list[tuple[str, T]] = []
    window, throttled = AdaptiveWindow(_IN_FLIGHT), lambda: source.usage.throttled
    send_all(namespaces, lambda name: (name, ask(name)), found.append, window, throttled)
    return dict(found)
