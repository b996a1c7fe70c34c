"""Reader of a table at one version: pages of rows in the order of their keys, rows by ids, counts, and keys that several rows have."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vectorferry.core.errors import RecordError, RetryableError, Unavailable
from vectorferry.core.keys import key_of
from vectorferry.core.model import Held, KeyOrder, KeyRange
from vectorferry.core.vector_columns import VectorColumn
from vectorferry.stores.batching import chunks
from vectorferry.stores.lancedb.access import TableAccess
from vectorferry.stores.lancedb.client import DeltaTable
from vectorferry.stores.lancedb.conditions import between, of_ids, possible, within
from vectorferry.stores.lancedb.questions import flat, question, select
from vectorferry.stores.lancedb.quoting import literal, quoted
from vectorferry.stores.lancedb.rows import Reader, id_array, ids_of, taken
from vectorferry.stores.lancedb.schema import Layout, VectorIn
from vectorferry.stores.lancedb.tokens import rows_token, version_token

MAX_FETCH = 1000
_LISTED_IDS = 10_000
_WINDOW = 200_000  # ids that a scan sorts at a time
_READ_BYTES, _READ_ROWS = 32 << 20, 20_000
_FAILURES = 5  # of an object store in the midst of one scan
_MEND = "keep one of them and delete the others in its database, then go on"


class TableReader:
    """Reads one pinned version of a table as its layout says."""

    def __init__(self, access: TableAccess, table: DeltaTable, layout: Layout) -> None:
        self._access, self._table, self.layout = access, table, layout
        self._store = access.store

    # --- Counting

    def counts(self) -> dict[str | None, int]:
        """Rows of each value of the column of namespaces, null among them."""
        return self._access.do(lambda: _counts(self._table, self.layout))

    def held(self, namespace: str) -> Held:
        """Rows of a namespace, and those that have each vector."""
        return self._access.do(lambda: _held(self._table, self.layout, namespace))

    def odd_keys(self, namespace: str) -> list[str]:
        """Sentences on keys that several rows of a namespace have, and on rows without one."""
        return self._access.do(lambda: _odd_keys(self._table, self.layout, namespace))

    def change_token(self, namespace: str) -> str:
        """By the row ids of the namespace and the version that last wrote each; of a table of others, by its newest version."""
        table, layout = self._table, self.layout
        if not (layout.native and layout.born):
            return self._access.do(lambda: version_token(table))
        return f"{layout.born}:{self._access.do(lambda: rows_token(table, within(layout, namespace)))}"

    # --- Pages

    def ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids of a key range in pages, in key order. Raises RecordError for a key that several rows have."""
        for page in self._pages(span, [self.layout.id.name], _WINDOW, _LISTED_IDS):
            yield ids_of(self.layout, page)

    def records(self, span: KeyRange, batch_rows: int, ids: Iterable[Sequence[str]] | None) -> Iterator[pa.RecordBatch]:
        """Records of a key range in key order, or those of `ids`, in batches."""
        reader, size = Reader(self._store, self.layout), _rows_at_once(self.layout, batch_rows)
        pages = (
            self._pages(span, self.layout.columns, size, batch_rows)
            if ids is None
            else (self._rows(span.namespace, part) for page in ids for part in chunks(page, size))
        )
        for found in pages:
            for start in range(0, found.num_rows, batch_rows):
                yield reader.batch(span.namespace, found.slice(start, batch_rows))

    def _pages(self, span: KeyRange, columns: Sequence[str], size: int, batch_rows: int) -> Iterator[pa.Table]:
        """Rows of a range in key order, `batch_rows` at a time, all of the table's pinned version; `size` are asked for at once.

        Each question begins with the last row of the one before, so that no key passes that is not one row's alone (RecordError); in the
        end there are as many rows as the version counts.
        """
        layout = self.layout
        name, last, seen, failures = layout.id.name, None, 0, 0
        whole = f"{within(layout, span.namespace)} AND {between(layout, span)}"
        answered = size + 1
        while answered > size:
            clause = whole if last is None else f"{whole} AND {quoted(name)} >= {literal(last)}"
            answered = 0
            try:
                for rows in self._streamed(columns, clause, size + 1, name, batch_rows):
                    again = last is not None and not answered
                    ids = rows.column(name)
                    _refuse_odd(self._store, span.namespace, ids if again or last is None else _behind(last, ids))
                    page, last = rows.slice(again), ids[-1].as_py()
                    answered, seen = answered + rows.num_rows, seen + page.num_rows
                    if page.num_rows:
                        yield _within_ends(layout, span, page)
            except RetryableError:
                # What was given stays given: the next question begins behind it.
                failures += 1
                if failures > _FAILURES:
                    raise
                answered = size + 1
        there = self._access.do(lambda: self._table.count_rows(whole))
        if there != seen:
            raise Unavailable(
                f"{seen} rows were read of one version, which has {there}, in namespace {span.namespace!r}, "
                f"from {span.start!r} to {span.end!r}",
                store=self._store,
            )

    def _streamed(
        self, columns: Sequence[str], clause: str, limit: int, ordered: str, batch_rows: int
    ) -> Iterator[pa.Table]:
        """The answer to one question as it comes: memory that was read is free for what follows."""
        query = question(self._table, columns, clause, limit, ordered)
        batches = iter(self._access.do(lambda: query.to_batches(batch_rows)))
        while (batch := self._access.database.run(lambda: next(batches, None))) is not None:
            if len(batch):
                yield pa.Table.from_batches([batch])

    # --- Records by id

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, each once."""
        parts = [self._rows(namespace, part) for part in chunks(list(dict.fromkeys(ids)), MAX_FETCH)]
        rows = pa.concat_tables(parts) if parts else self._rows(namespace, [])
        return Reader(self._store, self.layout).batch(namespace, rows)

    def _rows(self, namespace: str, ids: Sequence[str]) -> pa.Table:
        """Rows by ids, in their order."""
        layout, ids = self.layout, possible(self.layout, ids)
        clause = f"{within(layout, namespace)} AND {of_ids(layout, ids)}"
        # One more than there are to be, lest a doubled key be cut off.
        rows = self._access.do(lambda: select(self._table, layout.columns, clause, 2 * len(ids) + 1))
        places = pc.index_in(id_array(layout, ids), value_set=flat(rows.column(layout.id.name)))
        found = places.drop_null()
        if rows.num_rows > len(found):
            _refuse_odd(self._store, namespace, pa.chunked_array([flat(rows.column(layout.id.name)).sort()]))
        return taken(rows, found)


def _refuse_odd(store: str, namespace: str, ids: pa.ChunkedArray) -> None:
    """Refuse ids, in order, of which several are equal or one is null, by RecordError."""
    if ids.null_count:
        raise RecordError(
            f"{store}, {_place(namespace)}: {ids.null_count} records have no id; give them one, or delete them"
        )
    if len(ids) > 1:
        same = pc.equal(ids.slice(0, len(ids) - 1), ids.slice(1))
        if pc.any(same).as_py():
            id_ = ids[pc.index(same, True).as_py()].as_py()
            raise several_records(store, namespace, id_)


def several_records(store: str, namespace: str, id_: str) -> RecordError:
    """The error that a key is several records'."""
    return RecordError(f"{store}, {_place(namespace)}, id {id_}: several records have this id; {_MEND}")


def _place(namespace: str) -> str:
    return f"namespace {namespace or '(default)'}"


def _within_ends(layout: Layout, span: KeyRange, rows: pa.Table) -> pa.Table:
    """Rows less those beside a range that begins or ends between two numbers."""
    if layout.key_order is KeyOrder.ID:
        return rows
    keys = (key_of(layout.key_order, span.namespace, id_) for id_ in ids_of(layout, rows))
    return rows.filter(pa.array([span.contains(key) for key in keys], pa.bool_()))


def _behind(last: Any, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids behind the last one that was given."""
    return pa.chunked_array([pa.array([last], ids.type), *ids.chunks])


def _rows_at_once(layout: Layout, batch_rows: int) -> int:
    size = 500 + sum(4 * (each.dimension or 100) for each in layout.vectors)
    rows = max(min(_READ_BYTES // size, _READ_ROWS), batch_rows)
    return rows - rows % batch_rows


def _counts(table: DeltaTable, layout: Layout) -> dict[str | None, int]:
    if layout.namespace is None:
        rows = int(table.count_rows(within(layout, None)))
        return {layout.constant: rows} if rows else {}
    found: dict[str | None, int] = {}
    name = layout.namespace.name
    query = table.search().select([name]).where(within(layout, None)).limit(None)
    for batch in query.to_batches(100_000):
        for each in pc.value_counts(batch.column(name)).to_pylist():
            found[each["values"]] = found.get(each["values"], 0) + each["counts"]
    return found


def _held(table: DeltaTable, layout: Layout, namespace: str) -> Held:
    clause = within(layout, namespace)

    def having(each: VectorIn) -> int:
        return int(table.count_rows(f"{clause} AND {quoted(each.column)} IS NOT NULL"))

    named = {VectorColumn(each.kind, each.name).column: having(each) for each in layout.vectors if each.name}
    unnamed = layout.unnamed
    return Held(int(table.count_rows(clause)), having(unnamed) if unnamed else 0, named)


def _odd_keys(table: DeltaTable, layout: Layout, namespace: str) -> list[str]:
    """Sentences on keys that several rows of a namespace have, and on rows without one."""
    found, place = [], _place(namespace)
    ids = table.search().select([layout.id.name]).where(within(layout, namespace)).limit(None).to_arrow().column(0)
    if ids.null_count:
        found.append(f"{place}: {ids.null_count} records have no id; give them one, or delete them")
    if len(pc.unique(ids)) + max(ids.null_count - 1, 0) == len(ids):
        return found
    counts = pc.value_counts(ids)
    several = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").drop_null().sort()
    if len(several):
        first = ", ".join(map(repr, several.slice(0, 3).to_pylist()))
        found.append(f"{place}: {len(several)} ids are those of several records, first {first}; {_MEND}")
    return found
