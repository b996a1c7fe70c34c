"""Sender: puts batches into a store, several at a time, and tells of each which rows were acknowledged and which rejected."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa

from vectorferry.core.errors import RetryableError
from vectorferry.core.model import Rejection, WriteResult
from vectorferry.engine.parallel import AdaptiveWindow, send_all
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import by_namespace, cut
from vectorferry.stores.caller import permitted_by
from vectorferry.stores.row_limits import without


class Room(Protocol):
    """Whether a database takes more; `backpressure.CapacityGate` is one."""

    def wait(self, check: Callable[[], None], tell: Callable[[str], None]) -> bool:
        """Return once it takes more, whether or not that had to be waited for; raises where it is waited for no longer."""
        ...

    def blocked_since(self, since: float) -> bool:
        """Whether it took no more at some time after `since` (time.monotonic)."""
        ...


class Unlimited:
    """Room for everything."""

    def wait(self, check: Callable[[], None], tell: Callable[[str], None]) -> bool:
        """Never waits."""
        del check, tell
        return False

    def blocked_since(self, since: float) -> bool:
        """Never."""
        del since
        return False


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to be sent at once, under a number; `again`: they may have been sent before."""

    number: int
    rows: pa.RecordBatch
    again: bool = False


@dataclass(frozen=True, slots=True)
class SentBatch:
    """What became of a batch: the number of rows acknowledged, and the rows that the store rejected, by their position in it."""

    batch: Batch
    acknowledged: int
    rejected: tuple[Rejection, ...]


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Sender:
    """How batches get into a store, at most `in_flight` at a time, fewer while the database asks for less.

    `check` is called before each request and raises where this worker may send no more. `room` is waited for before each batch, `tell`
    says why. `judge` is given what the store rejects of a batch before anything of it is sent, and may raise.
    """

    store: VectorStore
    in_flight: int
    check: Callable[[], None] = _nothing
    room: Room = field(default_factory=Unlimited)
    tell: Callable[[str], None] = _nothing
    judge: Callable[[Sequence[Rejection]], None] = _nothing

    def send(self, batches: Iterable[Batch], on_result: Callable[[SentBatch], None]) -> None:
        """Send all, in order; `on_result` gets what became of each on this thread, in the order in which the answers come.

        The first error stops new sends and is raised once what is in flight was answered.
        """
        send_all(batches, self._send, on_result, AdaptiveWindow(self.in_flight), lambda: self.store.usage.throttled)

    def _send(self, batch: Batch) -> SentBatch:
        began = time.monotonic()
        self.room.wait(self.check, self.tell)
        try:
            with permitted_by(self.check):
                result = put(self.store, batch.rows, again=batch.again, judge=self.judge)
        except RetryableError:
            # A database that becomes read-only fails the writes in flight: they are sent again once it takes them.
            if not self.room.blocked_since(began):
                raise
            return self._send(replace(batch, again=True))
        return SentBatch(batch, result.acknowledged, result.rejected)


def numbered(batches: Iterable[pa.RecordBatch], max_rows: int, max_bytes: int) -> Iterator[Batch]:
    """Batches cut by rows and bytes, numbered from 0: the same rows under the same numbers whenever the limits are the same."""
    pieces = (piece for batch in batches for piece in cut(batch, max_rows, max_bytes))
    return (Batch(number, rows) for number, rows in enumerate(pieces))


def put(
    store: VectorStore, rows: pa.RecordBatch, *, again: bool, judge: Callable[[Sequence[Rejection]], None] = _nothing
) -> WriteResult:
    """Put the rows that the store does not reject. What may have been sent before (`again`) is deleted first where the store needs that.

    `judge` is given the rejections that are known before anything is sent.
    """
    rejected = store.rejections(rows)
    judge(rejected)
    fitting = without(rows, rejected)
    if not len(fitting):
        return WriteResult(0, tuple(rejected))
    if again and store.capabilities.resend_after_delete:
        # A put whose client went away may be stored without its index, and the same put again would leave it so.
        for namespace, part in by_namespace(fitting):
            store.delete(namespace, part.column("id").to_pylist())
    result = store.upsert(fitting)
    places = sorted(set(range(len(rows))) - {each.row for each in rejected})
    late = (replace(each, row=places[each.row]) for each in result.rejected)
    return WriteResult(result.acknowledged, (*rejected, *late))
