"""Merged store: a target that has all namespaces of its source in one, shown namespace by namespace."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.filters import Filter, Group
from vectorferry.core.mapping import Merge, RecordMapping
from vectorferry.core.model import CollectionInfo, Held, Inventory, KeyRange, Rejection, Vectors, WriteResult
from vectorferry.core.records import keys_of
from vectorferry.stores.base import VectorStore
from vectorferry.stores.batching import chunks, refuse_invalid
from vectorferry.stores.mapped import MappedStore
from vectorferry.stores.row_limits import first_reasons, without

_ROWS = 1000


class MergedStore(MappedStore):
    """A mapped store whose namespaces are values of a metadata key of records that lie in one place.

    Ids must be unique over all namespaces of the source, which the plan looks at. A record is deleted only as its own namespace's.
    Which namespaces there are, and how many records each has, only the records tell: each such question reads the whole place.
    """

    def __init__(self, store: VectorStore, mapping: RecordMapping, merge: Merge) -> None:
        super().__init__(store, mapping)
        self._merge = merge

    def describe(self) -> CollectionInfo:
        """The collection, with the namespaces that its records name, counted one by one."""
        return replace(super().describe(), namespaces=dict(self._tally()))

    def empty_namespaces(self) -> Sequence[str]:
        """None: a namespace is a value in its records."""
        return ()

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """Returns all of them."""
        return namespaces

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """How many records name each namespace, as `unread` where the database counts more of them in one place than can be read there."""
        tally = self._tally()
        places = sorted({self.namespace_there(name) for name in namespaces})
        counted = self.whole.inventory(places, most=most)
        unread = [*counted.unread]
        for place in places:
            read = sum(rows for name, rows in tally.items() if self.namespace_there(name) == place)
            # A statistic that lags may have more than there is by now.
            if self.capabilities.exact_count and (held := counted.held[place].rows) > read:
                unread.append(f"{held} records are counted in namespace {place!r}, and {read} could be read there")
        return Inventory({name: Held(tally[name]) for name in namespaces}, counted.lengths, tuple(unread))

    def count(self, namespace: str | None = None) -> int:
        """As the store's, or the records that name a namespace, counted one by one."""
        return self.whole.count() if namespace is None else self._tally(self.namespace_there(namespace))[namespace]

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids of the records that name the namespace, in the order of the place where they lie."""
        return (batch.column("id").to_pylist() for batch in self.scan(span))

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """One range."""
        del rows
        return [KeyRange(namespace, rows=self.count(namespace))]

    def scan(
        self, span: KeyRange, *, batch_rows: int = _ROWS, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records that name the namespace, among all that lie in its place."""
        for batch in super().scan(span, batch_rows=batch_rows, ids=ids):
            if len(mine := self._of(span.namespace, batch)):
                yield mine

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found that name the namespace."""
        return self._of(namespace, super().fetch(namespace, ids))

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """As a mapped store, and records whose id another one of the batch has in the same place."""
        refuse_invalid(batch)
        twice = first_reasons(batch, self._twice(batch))
        rest = super().rejections(without(batch, twice), partial=partial)
        return first_reasons(batch, _reasons(twice), _placed(batch, twice, rest))

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """As a mapped store. A record of another namespace with the same id is replaced: the source has unique ids, so that it is none."""
        refuse_invalid(batch)
        twice = first_reasons(batch, self._twice(batch))
        result = super().upsert(without(batch, twice))
        return WriteResult(
            result.acknowledged, tuple(first_reasons(batch, _reasons(twice), _placed(batch, twice, result.rejected)))
        )

    def update(self, namespace: str, id_: str, **changes: object) -> None:
        """As a mapped store, where the id is this namespace's."""
        if len(self.fetch(namespace, [id_])):
            super().update(namespace, id_, **changes)  # type: ignore[arg-type]

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete those of the ids that are this namespace's."""
        for page in chunks(ids, _ROWS):
            if mine := self.fetch(namespace, page).column("id").to_pylist():
                super().delete(namespace, mine)

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None, vector: str = ""
    ) -> tuple[str, ...]:
        """As a mapped store, of the records that name the namespace: more are asked for until there are enough of them."""
        asked, most = k, max(k, self.capabilities.max_top_k)
        while True:
            found = super().keyword(namespace, field, words, asked, near=near, vector=vector)
            mine = set(self.fetch(namespace, found).column("id").to_pylist())
            if len(mine) >= k or len(found) < asked or asked == most:
                return tuple(id_ for id_ in found if id_ in mine)[:k]
            asked = min(4 * asked, most)

    def _filter_there(self, namespace: str, where: Filter | None) -> Filter | None:
        mine = self._merge.condition(namespace)
        there = super()._filter_there(namespace, where)
        return mine if there is None else Group("$and", (mine, there))

    def _tally(self, place: str | None = None) -> Counter[str]:
        """Records by the namespace that they name, in one place or in all."""
        found = Counter[str]()
        for name in self.whole.describe().namespaces if place is None else (place,):
            for batch in self.whole.scan(KeyRange(name), batch_rows=_ROWS):
                found.update(self._mapping.to_source(batch).column("namespace").to_pylist())
        return found

    def _of(self, namespace: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pc.equal(batch.column("namespace"), namespace))

    def _twice(self, batch: pa.RecordBatch) -> Iterator[tuple[int, str]]:
        seen: dict[tuple[str, str], str] = {}
        for row, (namespace, id_) in enumerate(keys_of(batch)):
            other = seen.setdefault((self.namespace_there(namespace), id_), namespace)
            if other != namespace:
                yield (
                    row,
                    f"mapping.namespaces: {other or '(default)'!r} has a record of the same id, and both are to lie in one namespace",
                )


def _reasons(found: Iterable[Rejection]) -> Iterator[tuple[int, str]]:
    return ((each.row, each.reason) for each in found)


def _placed(
    batch: pa.RecordBatch, left_out: Sequence[Rejection], rest: Iterable[Rejection]
) -> Iterator[tuple[int, str]]:
    """Rejections of a batch less some rows, by the rows of the whole batch."""
    places = sorted(set(range(len(batch))) - {each.row for each in left_out})
    return ((places[each.row], each.reason) for each in rest)
