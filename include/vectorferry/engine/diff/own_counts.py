"""Own counts: what a database counts by itself, by a path of its own, held against what was read of it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vectorferry.core.model import Difference, DifferenceKind, Held, Inventory
from vectorferry.stores.base import Capabilities

LOOKED_AT = 100_000
"""Vectors that are looked at, one by one, of a database that counts none; beyond it only records are counted."""
RECORDS, VECTORS = "records", "vectors"
_POLL = 1.0


class Countable(Protocol):
    """What is asked for its own counts: a store, or a backup of one. All as `VectorStore` says."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Whether it counts exactly, and after how long."""
        ...

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Its own counts."""
        ...


@dataclass(frozen=True, slots=True)
class Miscount:
    """Records, or vectors, of a namespace of which a database counts another number than was read of it."""

    store: str
    namespace: str
    what: str
    read: int
    counted: int

    def __str__(self) -> str:
        place = repr(self.namespace) if self.namespace else "(default)"
        return f"{self.store} counts {self.counted:,} {self.what} in namespace {place}, and {self.read:,} were read"

    @property
    def difference(self) -> Difference:
        """As evidence keeps it."""
        field = f"{self.what} that {self.store} counts"
        return Difference(DifferenceKind.RESULT, self.namespace, "", field, str(self.read), str(self.counted))


@dataclass(frozen=True, slots=True)
class OwnCounts:
    """What a database said of itself, and where that is not what was read."""

    told: Inventory
    wrong: tuple[Miscount, ...]


def doubled_keys(stores: Iterable[Countable], namespaces: Sequence[str]) -> tuple[str, ...]:
    """What databases that hold nobody to unique keys tell of those that several records have; the others are not asked.

    No record can be read that has such a key, nor is it known which of them is meant: what reads on would end at the first one.
    """
    loose = (store for store in stores if not store.capabilities.unique_keys)
    return tuple(f"{store.name}: {what}" for store in loose for what in store.inventory(namespaces, most=0).unread)


def nobody_wrote() -> int:
    """Where nothing writes, no record is at another number's place."""
    return 0


def own_counts(
    store: Countable, read: Mapping[str, Held], *, written: Callable[[], int] = nobody_wrote, most: int = LOOKED_AT
) -> OwnCounts:
    """Ask a database for its own counts of the namespaces that were read, and compare them with what was read.

    `written` tells, asked after the counts, how many records were written since: by so many a count may be off. A statistic that lags may
    be lower than what was read; one that is higher is asked for again until the store's visibility delay is over.
    """
    able, began = store.capabilities, time.monotonic()
    while True:
        told = store.inventory(list(read), most=most)
        wrong = _wrong(store.name, read, told, written(), exact=able.exact_count)
        if not wrong or able.exact_count or time.monotonic() - began >= able.visibility_delay:
            return OwnCounts(told, wrong)
        time.sleep(min(_POLL, able.visibility_delay))


def _wrong(name: str, read: Mapping[str, Held], told: Inventory, slack: int, *, exact: bool) -> tuple[Miscount, ...]:
    found = []
    for namespace, seen in read.items():
        counted = told.held[namespace]
        for what, is_read, is_held in (
            (RECORDS, seen.rows, counted.rows),
            (VECTORS, seen.vectors, counted.vectors),
            *_named(seen.named, counted.named),
        ):
            if is_read is None or is_held is None:
                continue
            if is_held > is_read + slack or (exact and is_held < is_read - slack):
                found.append(Miscount(name, namespace, what, is_read, is_held))
    return tuple(found)


def _named(seen: Mapping[str, int] | None, counted: Mapping[str, int] | None) -> Iterator[tuple[str, int, int]]:
    """What each named vector is called in messages, and how many of it were read and counted, where both are told."""
    for column in sorted({**(seen or {}), **(counted or {})}) if seen is not None and counted is not None else ():
        yield f"{VECTORS} {column!r}", (seen or {}).get(column, 0), (counted or {}).get(column, 0)
