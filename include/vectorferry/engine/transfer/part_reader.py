"""Part reader: reads a collection in key order and cuts it into parts, going on after the last; exports and backups use it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from vectorferry.core.errors import RecordError
from vectorferry.core.keys import key_of
from vectorferry.core.model import KeyOrder, KeyRange
from vectorferry.core.records import dimension_of, keys_of, past
from vectorferry.core.vector_columns import Named, dimension_of_type, vector_columns, vector_fields
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import refuse_invalid

T = TypeVar("T")
R = TypeVar("R")

BATCH_ROWS = 1_000
Pages = Callable[[KeyRange], Iterable[Sequence[str]] | None]
"""The ids of a range, in pages; None where the store lists them for itself."""


def listed_by_the_store(span: KeyRange) -> None:
    """No ids: the store lists the range for itself."""
    del span


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part ends: in which of the ranges, and at which id."""

    span: int
    last: str


@dataclass(frozen=True, slots=True)
class PartReader:
    """How a collection is read: `rows` is about the size of a part, `dimension` that of every vector without a name, `named` all others."""

    store: VectorStore
    order: KeyOrder
    dimension: int | None
    rows: int
    pages: Pages = listed_by_the_store
    named: Named = field(default_factory=dict)

    def parts(
        self, spans: Sequence[KeyRange], after: Place | None = None
    ) -> Iterator[tuple[Place, list[pa.RecordBatch]]]:
        """Batches of some ranges in parts, each with where it ends; `after` is where the last part ended.

        Raises RecordError for records out of key order, or that no database should be sent.
        """
        first = after.span if after else 0
        at, waiting = first, list[pa.RecordBatch]()
        for number in range(first, len(spans)):
            for batch in self._batches(spans[number], after.last if after and number == first else None):
                waiting.append(batch)
                at = number  # where the part ends, so where the next attempt goes on: ranges after it may be empty
                if sum(map(len, waiting)) >= self.rows:
                    yield _end(at, waiting), waiting
                    waiting = []
        if waiting:
            yield _end(at, waiting), waiting

    def _batches(self, span: KeyRange, last: str | None) -> Iterator[pa.RecordBatch]:
        """Batches of a range after the record `last`, which is scanned once more and left out."""
        if last is not None:
            span = KeyRange(span.namespace, key_of(self.order, span.namespace, last), span.end, span.rows)
        found = self.store.scan(span, batch_rows=min(BATCH_ROWS, self.rows), ids=self.pages(span))
        for batch in self._ascending(found):
            self._refuse_wrong(batch)
            if len(kept := past(batch, last)):
                yield kept

    def _ascending(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, whose keys must ascend: who goes on after a key would lose what was stored under another."""
        last: str | None = None  # PostgreSQL takes an empty id, which is the first
        before = ""
        for batch in batches:
            for namespace, id_ in keys_of(batch):
                key = key_of(self.order, namespace, id_)
                if last is not None and key <= last:
                    raise RecordError(
                        f"{self.store.name}: namespace {namespace!r}, id {id_!r} comes out of key order after {before!r}: there is a "
                        "second record of one of these ids, or one of both was not stored under its own key; delete that one in the source"
                    )
                last, before = key, id_
            yield batch

    def _refuse_wrong(self, batch: pa.RecordBatch) -> None:
        found = dimension_of(batch.schema)
        if found != self.dimension:
            raise RecordError(f"{self.store.name}: vectors have {found} dimensions, expected are {self.dimension}")
        refuse_other_vectors(self.store.name, batch, self.named)
        refuse_invalid(batch)


def refuse_other_vectors(store: str, batch: pa.RecordBatch, named: Named) -> None:
    """Raise RecordError where a batch has other named vectors than those that were planned: what is left out would be lost."""
    wanted = {field.name: field.type for field in vector_fields(named)}
    found = {each.column: batch.schema.field(each.column).type for each in vector_columns(batch.schema)}
    for column in sorted(wanted.keys() ^ found.keys()):
        what = "is there now, and was not" if column in found else "was there, and is gone"
        raise RecordError(
            f"{store}: the vector {column!r} {what} when this was planned; begin anew with what there is now"
        )
    for column, kind in wanted.items():
        if found[column] != kind:
            now, then = dimension_of_type(found[column]), dimension_of_type(kind)
            raise RecordError(f"{store}: the vectors {column!r} have {now} dimensions, expected are {then}")


def _end(span: int, batches: Sequence[pa.RecordBatch]) -> Place:
    return Place(span, batches[-1].column("id")[-1].as_py())


def write_behind(parts: Iterable[T], write: Callable[[T], R]) -> Iterator[R]:
    """Write each part on another thread while the next one is read; results in order."""
    with ThreadPoolExecutor(1, thread_name_prefix="parts") as pool:
        writing: Future[R] | None = None
        for part in parts:
            if writing is not None:
                yield writing.result()
            writing = pool.submit(write, part)
        if writing is not None:
            yield writing.result()
