"""Splitting: ranges of equal size of a namespace, cut at keys that are there."""

from collections.abc import Callable, Sequence

from vectorferry.core.model import KeyRange


def even_ranges(
    namespace: str, total: int, rows: int, keys_at: Callable[[Sequence[int]], Sequence[str]]
) -> Sequence[KeyRange]:
    """Ranges of about `rows` of `total` keys each, which cover the key space; `keys_at` gives the keys at places in their order, from 0."""
    parts = max(1, round(total / rows))
    places = [total * part // parts for part in range(parts + 1)]
    edges = [None, *keys_at(places[1:-1]), None]
    return [
        KeyRange(namespace, start, end, right - left)
        for start, end, left, right in zip(edges, edges[1:], places, places[1:], strict=False)
    ]
