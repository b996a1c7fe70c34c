"""Partitioning: splits large namespaces, packs small ones, and gives every key exactly one partition."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder, KeyRange, Partition


def pack(ranges: Iterable[KeyRange], rows: int, *, cohort: str = "all", first: int = 0) -> tuple[Partition, ...]:
    """Partitions of about `rows` rows: ranges that fill one stand alone, smaller ones share, in their order."""
    partitions: list[tuple[KeyRange, ...]] = []
    waiting: list[KeyRange] = []
    held = 0
    for span in ranges:
        counted = span.rows or 0
        if counted * 2 > rows:
            partitions.append((span,))
            continue
        if waiting and held + counted > rows:
            partitions.append(tuple(waiting))
            waiting, held = [], 0
        waiting.append(span)
        held += counted
    if waiting:
        partitions.append(tuple(waiting))
    return tuple(Partition(f"p{first + n:04}", first + n, spans, cohort) for n, spans in enumerate(partitions))


def split_listing(namespace: str, pages: Iterable[Sequence[str]], rows: int) -> Iterator[KeyRange]:
    """Ranges of `rows` rows that cover a namespace whose keys are given in order; the last takes a short rest along."""
    start: str | None = None
    for boundary, counted in _boundaries(pages, rows):
        yield KeyRange(namespace, start, boundary, counted)
        start = boundary


def _boundaries(pages: Iterable[Sequence[str]], rows: int) -> Iterator[tuple[str | None, int]]:
    held: str | None = None  # a boundary is passed on only once half a partition follows it
    counted = since = 0
    for key in (key for page in pages for key in page):
        if counted == rows and held is None:
            held = key
        counted += 1
        since += held is not None
        if held is not None and since * 2 > rows:
            yield held, counted - since
            counted, since, held = since, 0, None
    yield None, counted


class PartitionIndex:
    """Finds the partition of a record."""

    def __init__(self, partitions: Sequence[Partition], order: KeyOrder) -> None:
        self._order = order
        self._spans: dict[str, list[tuple[bytes, Partition]]] = {}
        for partition in partitions:
            for span in partition.ranges:
                self._spans.setdefault(span.namespace, []).append(((span.start or "").encode(), partition))
        for spans in self._spans.values():
            spans.sort(key=lambda pair: pair[0])

    def find(self, namespace: str, id_: str) -> Partition | None:
        """The record's partition, None for a namespace that the plan does not know."""
        spans = self._spans.get(namespace)
        if not spans:
            return None
        key = key_of(self._order, namespace, id_).encode()
        return spans[bisect_right([start for start, _ in spans], key) - 1][1]
