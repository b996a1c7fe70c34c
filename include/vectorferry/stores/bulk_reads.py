"""Bulk reads from any store: ids by prefix in their bitwise order, and all ids that pass a filter."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Filter
from vectorferry.core.model import KeyOrder, KeyRange
from vectorferry.stores.base import Capabilities

_ALL = (1 << 31) - 1
_SURROGATES = range(0xD800, 0xE000)
_LAST = 0x10FFFF


class Lists(Protocol):
    """The calls of `VectorStore` that are made here."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def capabilities(self) -> Capabilities: ...  # noqa: D102

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]: ...  # noqa: D102

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]: ...  # noqa: D102


def ids_after(store: Lists, namespace: str, *, prefix: str = "", after: str | None = None) -> Iterator[Sequence[str]]:
    """Ids behind `after`, None for all, that start with `prefix`, in bitwise order, in pages.

    A store that is ordered by something else is read as a whole first: that costs as much as listing the namespace.
    """
    if store.capabilities.key_order is KeyOrder.ID:
        span = KeyRange(namespace, max(prefix, after or "") or None, _end_of(prefix))
        pages: Iterator[Sequence[str]] = store.list_ids(span)
    else:
        pages = iter([sorted(chain.from_iterable(store.list_ids(KeyRange(namespace))))])
    for page in pages:
        yield [id_ for id_ in page if (after is None or id_ > after) and id_.startswith(prefix)]


def all_matching(store: Lists, namespace: str, where: Filter) -> list[str]:
    """All ids that pass a filter, in bitwise order. Raises FilterError where the store may have left some out."""
    found = store.matching(namespace, where, _ALL)
    if len(found) == store.capabilities.max_matching:
        raise FilterError(
            f"{store.name}: {len(found):,} records or more pass the filter, as many as one search returns: narrow it"
        )
    return sorted(found)


def _end_of(prefix: str) -> str | None:
    """The first text behind all that start with `prefix`, None where there is none."""
    while prefix:
        following = ord(prefix[-1]) + 1
        if following <= _LAST:
            return prefix[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)
        prefix = prefix[:-1]
    return None
