"""LanceDB store: one table as a collection, ours or of others, on a path or an object store.

The engine runs in this process. Every write makes a version of the table; what reads more than once pins one. There is no primary key:
keys that several rows have are refused where they are met, and told by `inventory`.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.query import ColumnOrdering

from vectorferry.core.errors import (
    AlreadyExists,
    DatabaseMissing,
    FilterError,
    NotFound,
    PartialWrite,
    RecordError,
    Refused,
    RetryableError,
    Unavailable,
    Unsupported,
)
from vectorferry.core.filters import Filter, fields_of, matches
from vectorferry.core.keys import key_of, number_of, number_of_key
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    Held,
    Inventory,
    KeyOrder,
    KeyRange,
    Metric,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    VectorKind,
    Vectors,
    VectorSpec,
    WriteResult,
)
from vectorferry.core.records import parse_json
from vectorferry.core.similarity import dense_scores
from vectorferry.core.vector_columns import VectorColumn, floats_of, present, vector_array
from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import Capabilities, StoreOptions, VectorStore
from vectorferry.stores.batching import by_namespace, chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.lancedb.client import Database, DeltaTable
from vectorferry.stores.lancedb.filters import NEVER, compile_filter
from vectorferry.stores.lancedb.indexing import (
    DISTANCES,
    INDEXED_ROWS,
    NONE,
    compact,
    index_settings,
    indexed_columns,
    make_indexes,
    metrics_of,
    not_indexed,
    wrong_settings,
)
from vectorferry.stores.lancedb.quoting import listed, literal, quoted
from vectorferry.stores.lancedb.rows import Reader, Writer, id_array, ids_of, kinds_held, rows_of, taken
from vectorferry.stores.lancedb.schema import Layout, VectorIn, layout_of, new_columns, new_schema
from vectorferry.stores.obstacles import dense_queries, refuse_obstacles, refuse_vector, searched_vector, wrong_shape
from vectorferry.stores.row_limits import (
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    without,
    wrong_dimension,
)

T = TypeVar("T")
LANCEDB = Capabilities(
    product="lancedb",
    max_batch_rows=5_000,
    max_batch_bytes=64 << 20,
    named_vectors=frozenset(VectorKind),
    searched_kinds=frozenset({VectorKind.DENSE}),
    unique_keys=False,
    snapshot_scans=True,
    indexes_later=True,
    typed_fields=True,
)
"""What a native table holds."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_LISTED_IDS = 10_000
_WINDOW = 200_000  # ids that a scan sorts at a time
_READ_BYTES, _READ_ROWS = 32 << 20, 20_000
_FAILURES = 5  # of an object store in the midst of one scan
_DOUBTFUL = 20_000  # rows that a filter looks at one by one
_REFINED = 10  # candidates that are compared exactly, as a multiple of k
_COMPACTED_AFTER, _COMPACTED_AT_LEAST = 64, 256  # writes of this object
_EACH_INDEX_ENTRY = 160.0  # m = 20 neighbours of 4 bytes, both ways


@dataclass(frozen=True, slots=True)
class _Asked:
    """A search: the vector, queries, k, effort, and the condition on rows."""

    vector: VectorIn
    queries: Vectors
    k: int
    effort: int | None
    clause: str


class LanceStore(VectorStore):
    """A table as a collection; `open` reads nothing."""

    def __init__(
        self, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> None:
        self._name = collection
        self._options = options
        self._table = options.table or Table()
        self._database = Database(connection, deadline=options.deadline, store=self.name)
        self._call = caller or Caller()
        self._lock = threading.Lock()
        self._found: Layout | None = None
        self._schema: pa.Schema | None = None
        self._writes, self._compact_at = 0, _COMPACTED_AFTER

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "LanceStore":
        """The table of that name in the database at the connection's `uri`; nothing is created and nothing is read."""
        return cls(connection, collection, options, caller)

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """The tables, each with its vectors."""
        database = Database(connection, deadline=deadline, store="lancedb")
        told = {name: _told(database, name) for name in database.names()}
        return {name: words for name, words in told.items() if words is not None}

    @property
    def name(self) -> str:
        """Product and table for messages."""
        return f"lancedb {self._name}"

    @property
    def capabilities(self) -> Capabilities:
        """What the columns of the table hold; of one that is not there, what a new one would."""
        try:
            layout = self._layout()
        except (NotFound, DatabaseMissing):
            return replace(
                LANCEDB,
                **self._namespaces(new_columns(self._table, CollectionDefinition(None, Metric.COSINE)).namespace),
            )
        except Refused:
            return LANCEDB  # `obstacles` and `describe` tell why
        return self._able(layout)

    @property
    def usage(self) -> Usage:
        """Operations counted by the caller."""
        return self._call.usage

    def describe(self) -> CollectionInfo:
        """The table with exact row counts, all of one version."""
        self._found = None
        table = self._pinned()
        layout = self._layout()
        counts = self._do(lambda: _counts(table, layout))
        unnamed = layout.unnamed
        if self._options.written and layout.namespace is not None and None in counts:
            raise Refused(
                f"{layout.namespace.name} is null in {counts[None]} rows, which no put would replace: give it a value there, '' for the "
                "default namespace",
                store=self.name,
            )
        namespaces: dict[str, int] = {}
        for name, rows in counts.items():
            namespaces[name or ""] = namespaces.get(name or "", 0) + rows
        return CollectionInfo(
            self._name,
            unnamed.dimension if unnamed else None,
            unnamed.metric if unnamed else Metric.COSINE,
            namespaces,
            sparse=layout.sparse is not None,
            fields=layout.fields,
            index=unnamed.index if unnamed else {},
            notes=layout.notes,
            named=layout.named,
        )

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Counted in one version, whatever `most` is; keys that several rows have are `unread`."""
        del most
        table, layout = self._pinned(), self._layout()
        held = {name: self._do(partial(_held, table, layout, name)) for name in namespaces}
        found = (self._do(partial(_odd_keys, table, layout, name)) for name in namespaces)
        return Inventory(held, unread=tuple(sentence for sentences in found for sentence in sentences))

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """What keeps the table from being used, or a new one from being made."""
        if definition is not None:
            return self._unmakeable(definition)
        try:
            self._found = None
            self._layout()
        except Refused as error:
            return [str(error).removeprefix(f"{self.name}: ")]
        except (NotFound, DatabaseMissing):
            self._do(self._database.names)
        return []

    def create(self, definition: CollectionDefinition) -> None:
        """Create a native table: key, namespace, vectors, a column for each declared field, and one for all other metadata."""
        self._found = None
        refuse_obstacles(self.obstacles(definition), definition, LANCEDB, self.name)
        with contextlib.suppress(NotFound):
            self._do(self._open)
            raise AlreadyExists("the table exists", store=self.name)
        settings = {each.name: index_settings({**self._options.index, **each.index}) for each in _dense_of(definition)}
        schema = new_schema(self._table, definition, settings)
        self._call(lambda: self._database.create(self._name, schema), retry=False)

    def drop(self) -> None:
        """Drop the table with everything in it."""
        self._found = None
        with contextlib.suppress(NotFound):
            self._call(lambda: self._database.drop(self._name))

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        layout = self._layout_now()
        return int(self._do(lambda: self._open().count_rows(_within(layout, namespace))))

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in key order, all of one version. Raises RecordError for a key that several rows have."""
        table, layout = self._pinned(), self._layout()
        for page in self._pages(table, layout, span, [layout.id.name], _WINDOW, _LISTED_IDS):
            yield ids_of(layout, page)

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at keys that are there."""
        layout = self._layout()
        ids = [id_ for page in self.list_ids(KeyRange(namespace)) for id_ in page]
        parts = max(1, round(len(ids) / rows))
        places = [len(ids) * part // parts for part in range(parts + 1)]
        edges = [None, *(key_of(layout.key_order, namespace, ids[place]) for place in places[1:-1]), None]
        return [
            KeyRange(namespace, start, end, right - left)
            for start, end, left, right in zip(edges, edges[1:], places, places[1:], strict=False)
        ]

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in key order, or those of `ids`, all of the version at which the scan began."""
        table, layout = self._pinned(), self._layout()
        reader, size = Reader(self.name, layout), _rows_at_once(layout, batch_rows)
        pages = (
            self._pages(table, layout, span, layout.columns, size, batch_rows)
            if ids is None
            else (self._read(table, layout, span.namespace, part) for page in ids for part in chunks(page, size))
        )
        for found in pages:
            for start in range(0, found.num_rows, batch_rows):
                yield reader.batch(span.namespace, found.slice(start, batch_rows))

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`, all of one version."""
        table, layout = self._pinned(), self._layout()
        wanted = list(dict.fromkeys(ids))
        parts = [self._read(table, layout, namespace, part) for part in chunks(wanted, LANCEDB.max_fetch_ids)]
        rows = pa.concat_tables(parts) if parts else self._read(table, layout, namespace, [])
        return Reader(self.name, layout).batch(namespace, rows)

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the columns do not hold as it is."""
        refuse_invalid(batch)
        try:
            layout = self._layout()
        except (NotFound, DatabaseMissing):
            return first_reasons(batch, unsupported_rows(batch, self.capabilities, partial=partial))
        return first_reasons(
            batch,
            wrong_dimension(batch, layout.definition.dimension),
            unplaced_vectors(batch, layout.named, unnamed=layout.unnamed is not None),
            Writer(layout).reasons(batch, partial=partial),
            unsupported_rows(batch, self._able(layout), partial=partial),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put rows by merge_insert on the key, each slice in one version; other columns of the table stay as they are."""
        layout = self._layout_now()
        rejected = self.rejections(batch)
        for part in cut(without(batch, rejected), LANCEDB.max_batch_rows, LANCEDB.max_batch_bytes):
            self._put(layout, part)
        return WriteResult(len(batch) - len(rejected), tuple(rejected))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a row's columns in one version, if its overflow or struct still is what it was when it was read; else look again."""
        patch = patch_of(namespace, id_, vector, metadata)
        layout = self._layout_now()
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        changes = parse_json(metadata)
        if not changes and vector is None:
            return
        writer = Writer(layout)
        while True:
            held, there = self._held_beside(layout, namespace, id_)
            if not there:
                return
            columns = writer.patch(changes, held) if changes else {}
            if vector is not None and layout.unnamed is not None:
                given = vector_array(np.asarray(vector, np.float32)[np.newaxis])
                columns[layout.unnamed.column] = given.cast(layout.unnamed.type)
            if self._change(layout, namespace, id_, columns, held):
                return

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id, some thousand at a time."""
        layout = self._layout_now()
        for part in chunks(list(dict.fromkeys(ids)), _LISTED_IDS):
            clause = f"{_within(layout, namespace)} AND {_of_ids(layout, part)}"
            self._delete(clause)

    def search(
        self,
        namespace: str,
        queries: Queries,
        k: int,
        *,
        where: Filter | None = None,
        effort: int | None = None,
        vector: str = "",
    ) -> Neighbours:
        """The k nearest: all rows are compared where they are few, else the index is asked, and all where it finds too few."""
        layout = self._layout()
        refuse_vector(vector, layout.named, self.name)
        spec = searched_vector(layout.definition, vector, queries, self.name)
        asked = dense_queries(queries, self.name) if spec.kind is VectorKind.DENSE else None
        found = next((each for each in layout.vectors if (each.name, each.kind) == (spec.name, spec.kind)), None)
        if found is None or asked is None:
            raise Unsupported(f"{spec.kind} vectors are kept, and not searched", store=self.name)
        table = self._pinned()
        clause = _within(layout, namespace)
        if where is not None:
            clause = f"{clause} AND {self._filtered(table, layout, namespace, where)}"
        clause = f"{clause} AND {quoted(found.column)} IS NOT NULL"
        return self._nearest(table, layout, _Asked(found, asked, k, effort, clause))

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the filter, the first in key order."""
        table, layout = self._pinned(), self._layout()
        clause = f"{_within(layout, namespace)} AND {self._filtered(table, layout, namespace, where)}"
        rows = self._do(lambda: _select(table, [layout.id.name], clause, limit, ordered=layout.id.name))
        return frozenset(ids_of(layout, rows))

    def pending_index(self) -> int:
        """Rows that the index does not have yet; what is missing is made first, for nobody else makes it.

        Search finds rows that no index has: it compares them one by one.
        """
        layout = self._layout()
        if not self._options.written or not layout.native:
            return 0
        table = self._do(self._open)
        if self._do(table.count_rows) < INDEXED_ROWS:
            return 0
        self._call(lambda: make_indexes(self._database, table, layout))
        return self._do(lambda: not_indexed(self._open(), layout))

    def change_token(self, namespace: str) -> str | None:
        """By the row ids of the namespace and the version that last wrote each; of a table of others, by its newest version."""
        table, layout = self._pinned(), self._layout()
        if not (layout.native and layout.born):
            return self._do(lambda: _version_token(table))
        return f"{layout.born}:{self._do(lambda: _rows_token(table, _within(layout, namespace)))}"

    def capacity(self, *, count: bool = True) -> Capacity:
        """The bytes of the table's newest version; nothing else is measured, and nobody knows a limit."""
        try:
            table = self._do(self._open)
        except (NotFound, DatabaseMissing):
            return Capacity(0 if count else None)
        size = int(self._do(lambda: table.stats()["total_bytes"]))
        note = "bytes are those of the table's newest version: older ones stay for seven days"
        return Capacity(self._do(table.count_rows) if count else None, disk=size or None, note=note)

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """The record's own size, twice until older versions are removed; over it a byte a dimension and its neighbours in the index."""
        dimension = definition.dimension or 0
        none = {**self._options.index, **definition.index}.get("type") == NONE
        return Footprint(None, 2 * payload + (0.0 if none else dimension + _EACH_INDEX_ENTRY))

    def alias_target(self, alias: str) -> str | None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def refuse_alias(self, alias: str) -> None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def marker(self, name: str) -> str | None:
        """Not supported."""
        del name
        raise Unsupported("there are no markers", store=self.name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Not supported."""
        del name, text
        raise Unsupported("there are no markers", store=self.name)

    def close(self) -> None:
        """Nothing to release: the engine holds no connection between calls."""

    # The table

    def _do(self, work: Callable[[], T], *, retry: bool = True) -> T:
        """What some reading work gives, paced, metered and tried again."""
        return self._call(lambda: self._database.run(work), retry=retry)

    def _open(self) -> DeltaTable:
        if not _NAME.fullmatch(self._name):
            raise NotFound("no table can have such a name", store=self.name)
        table = self._database.table(self._name)
        with self._lock:
            # Dropped and made anew, or altered, since its columns were looked at.
            if self._found is not None and not table.schema.equals(self._schema, check_metadata=True):
                self._found = None
        return table

    def _pinned(self) -> DeltaTable:
        """The table at one version, whatever is written meanwhile."""

        def pin() -> DeltaTable:
            table = self._open()
            table.checkout(table.version)
            return table

        return self._do(pin)

    def _layout(self) -> Layout:
        """The table's columns as they were last looked at; raises NotFound, and Refused for what keeps it from being used."""
        with self._lock:
            found = self._found
        if found is None:
            found = self._do(self._look)
        return found

    def _layout_now(self) -> Layout:
        """The table's columns as they are; what is written by others' columns would be lost."""
        self._do(self._open)
        return self._layout()

    def _look(self) -> Layout:
        table = self._open()
        layout, problems = layout_of(table.schema, metrics_of(table), self._table, self._options)
        if layout is None:
            raise Refused("; ".join(problems), store=self.name)
        with self._lock:
            self._found, self._schema = layout, table.schema
        return layout

    def _able(self, layout: Layout) -> Capabilities:
        named = frozenset(each.kind for each in layout.vectors if each.name)
        return replace(
            LANCEDB,
            key_order=layout.key_order,
            number_ids=layout.key_order is KeyOrder.NUMBER,
            sparse=layout.sparse is not None,
            named_vectors=LANCEDB.named_vectors if layout.native else named,
            vectorless=layout.unnamed is None or layout.unnamed.nullable,
            metadata_kinds=kinds_held(layout),
            probes=layout.native,
            merging_upserts=not layout.native,
            **self._namespaces(layout.namespace.name if layout.namespace is not None else None),
        )

    def _namespaces(self, column: str | None) -> dict[str, Any]:
        constant = self._table.namespace.constant if self._table.namespace else None
        return {"named_namespaces": bool(column or constant), "default_namespace": bool(column) or not constant}

    def _unmakeable(self, definition: CollectionDefinition) -> Sequence[str]:
        found = list(wrong_shape(definition, LANCEDB))
        for each in _dense_of(definition):
            found += wrong_settings({**self._options.index, **each.index}, each.dimension or 1)
        if not _NAME.fullmatch(self._name) or self._name in (".", ".."):
            found.append(f"{self._name!r} is no name of a table: it has 1 to 200 letters, digits, _, - and .")
        names = new_columns(self._table, definition).all
        lower = [name.lower() for name in names]
        if twice := [name for name in names if lower.count(name.lower()) > 1]:
            found.append(f"two things are to be kept in the column {twice[0]!r}: name columns otherwise under `table`")
        return list(dict.fromkeys(found))

    # Reading

    def _pages(
        self, table: DeltaTable, layout: Layout, span: KeyRange, columns: Sequence[str], size: int, batch_rows: int
    ) -> Iterator[pa.Table]:
        """Rows of a range in key order, `batch_rows` at a time, all of the table's pinned version; `size` are asked for at once.

        Each question begins with the last row of the one before, so that no key passes that is not one row's alone (RecordError); in the
        end there are as many rows as the version counts.
        """
        name, last, seen, failures = layout.id.name, None, 0, 0
        whole = f"{_within(layout, span.namespace)} AND {_between(layout, span)}"
        answered = size + 1
        while answered > size:
            clause = whole if last is None else f"{whole} AND {quoted(name)} >= {literal(last)}"
            answered = 0
            try:
                for rows in self._streamed(table, columns, clause, size + 1, name, batch_rows):
                    again = last is not None and not answered
                    ids = rows.column(name)
                    self._refuse_odd(span.namespace, ids if again or last is None else _behind(last, ids))
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
        there = self._do(lambda: table.count_rows(whole))
        if there != seen:
            raise Unavailable(
                f"{seen} rows were read of one version, which has {there}, in namespace {span.namespace!r}, "
                f"from {span.start!r} to {span.end!r}",
                store=self.name,
            )

    def _streamed(
        self, table: DeltaTable, columns: Sequence[str], clause: str, limit: int, ordered: str, batch_rows: int
    ) -> Iterator[pa.Table]:
        """The answer to one question as it comes: memory that was read is free for what follows."""
        query = _question(table, columns, clause, limit, ordered)
        batches = iter(self._do(lambda: query.to_batches(batch_rows)))
        while (batch := self._database.run(lambda: next(batches, None))) is not None:
            if len(batch):
                yield pa.Table.from_batches([batch])

    def _refuse_odd(self, namespace: str, ids: pa.ChunkedArray) -> None:
        """Refuse ids, in order, of which several are equal or one is null."""
        place = f"namespace {namespace or '(default)'}"
        if ids.null_count:
            raise RecordError(
                f"{self.name}, {place}: {ids.null_count} records have no id; give them one, or delete them"
            )
        if len(ids) > 1:
            same = pc.equal(ids.slice(0, len(ids) - 1), ids.slice(1))
            if pc.any(same).as_py():
                id_ = ids[pc.index(same, True).as_py()].as_py()
                raise RecordError(f"{self.name}, {place}, id {id_}: several records have this id; {MEND}")

    def _read(self, table: DeltaTable, layout: Layout, namespace: str, ids: Sequence[str]) -> pa.Table:
        """Rows by ids, in their order."""
        ids = [id_ for id_ in ids if layout.key_order is not KeyOrder.NUMBER or _is_number(id_)]
        clause = f"{_within(layout, namespace)} AND {_of_ids(layout, ids)}"
        # One more than there are to be, lest a doubled key be cut off.
        rows = self._do(lambda: _select(table, layout.columns, clause, 2 * len(ids) + 1))
        places = pc.index_in(id_array(layout, ids), value_set=_flat(rows.column(layout.id.name)))
        found = places.drop_null()
        if rows.num_rows > len(found):
            self._refuse_odd(namespace, pa.chunked_array([_flat(rows.column(layout.id.name)).sort()]))
        return taken(rows, found)

    def _held_beside(self, layout: Layout, namespace: str, id_: str) -> tuple[Any, bool]:
        """What a row's overflow or struct holds, and whether the row is there."""
        column = layout.together or layout.id.name
        clause = f"{_within(layout, namespace)} AND {_of_ids(layout, [id_])}"
        rows = self._do(lambda: _select(self._open(), [column], clause, 2))
        if rows.num_rows > 1:
            raise RecordError(
                f"{self.name}, namespace {namespace or '(default)'}, id {id_}: several records have this id; {MEND}"
            )
        held = rows.column(column)[0].as_py() if rows.num_rows and layout.together else None
        return held, rows.num_rows == 1

    # Writing

    def _put(self, layout: Layout, part: pa.RecordBatch) -> None:
        rows = Writer(layout).rows(part)
        updated, inserted = self._call(lambda: self._database.merge(self._open(), layout.on, rows))
        if updated + inserted < len(part):
            raise PartialWrite(f"{len(part)} rows were sent, {updated + inserted} acknowledged", store=self.name)
        if updated + inserted > len(part):
            for namespace, rows_of_one in by_namespace(part):
                self._keep_one(layout, namespace, rows_of_one.column("id").to_pylist())
        self._count_write()

    def _keep_one(self, layout: Layout, namespace: str, ids: Sequence[str]) -> None:
        """Delete all but one of the rows that have one key, which a put has just made the same record."""
        clause = f"{_within(layout, namespace)} AND {_of_ids(layout, ids)}"
        rows = self._do(lambda: _select(self._open(), [layout.id.name, "_rowid"], clause, None))
        seen: set[str] = set()
        more = [
            row
            for id_, row in zip(ids_of(layout, rows), rows.column("_rowid").to_pylist(), strict=True)
            if _again(id_, seen)
        ]
        if more:
            # By the key too: a row id of others may be another row's by now, and then one is left for the next put.
            self._delete(f"{clause} AND _rowid IN ({listed(more)})")

    def _delete(self, clause: str) -> None:
        self._call(lambda: self._database.delete(self._open(), clause))
        self._count_write()

    def _count_write(self) -> None:
        """Compact after so many writes, twice as many each time up to a limit: each makes a small file and a version."""
        with self._lock:
            self._writes += 1
            due = self._writes >= self._compact_at
            if due:
                self._writes, self._compact_at = 0, min(2 * self._compact_at, _COMPACTED_AT_LEAST)
        if due:
            native = self._layout().native
            try:
                self._call(lambda: compact(self._database, self._open(), native=native), retry=False)
            except Unavailable:
                # Another process was faster: nothing is lost, and the next try is soon.
                with self._lock:
                    self._compact_at = _COMPACTED_AFTER

    def _change(self, layout: Layout, namespace: str, id_: str, columns: Mapping[str, pa.Array], held: Any) -> bool:
        """Write columns of one row unless its overflow or struct is another one by now."""
        key: dict[str, pa.Array] = {layout.id.name: id_array(layout, [id_])}
        if layout.namespace is not None:
            key[layout.namespace.name] = pa.array([namespace], layout.namespace.type)
        only = _still(layout, held) if layout.together in columns else None
        rows = rows_of(layout, {**key, **columns})
        done = self._call(lambda: self._database.merge(self._open(), layout.on, rows, only=only, insert=False))
        self._count_write()
        return done[0] > 0

    # Searching

    def _filtered(self, table: DeltaTable, layout: Layout, namespace: str, where: Filter) -> str:
        """A filter as a condition; rows that no column tells are read, and named by their ids where they pass."""
        compiled = compile_filter(where, layout)
        if compiled.doubtful == NEVER:
            return f"({compiled.sure})"
        clause = f"{_within(layout, namespace)} AND ({compiled.doubtful})"
        names = [layout.id.name, *dict.fromkeys(each.path[0] for each in layout.keys)]
        names += [layout.overflow] if layout.overflow else []
        rows = self._do(lambda: _select(table, names, clause, _DOUBTFUL + 1))
        if rows.num_rows > _DOUBTFUL:
            raise FilterError(
                f"more than {_DOUBTFUL:,} records have {' or '.join(map(repr, _told_fields(where)))} where SQL does not see it: "
                "declare the field before the table is made"
            )
        ids = ids_of(layout, rows)
        texts = Reader(self.name, layout).metadata(namespace, ids, rows)
        passing = [id_ for id_, text in zip(ids, texts, strict=True) if matches(where, parse_json(text))]
        either = f" OR {_of_ids(layout, passing)}" if passing else ""
        return f"((NOT ({compiled.doubtful}) AND {compiled.sure}){either})"

    def _nearest(self, table: DeltaTable, layout: Layout, asked: _Asked) -> Neighbours:
        column = asked.vector.column
        candidates = self._do(lambda: table.count_rows(asked.clause))
        few = candidates <= INDEXED_ROWS
        there = not few and bool(self._do(lambda: indexed_columns(table)).get(column))
        lines = []
        for query in asked.queries:
            rows = self._do(partial(_search, table, layout, asked, query, indexed=there))
            if there and rows.num_rows < asked.k:
                rows = self._do(partial(_search, table, layout, asked, query, indexed=False))
            line = _ranked(layout, asked, query, rows)
            if few and asked.vector.metric is Metric.COSINE and (len(line) < asked.k or line[-1][1] <= 0):
                # LanceDB finds no vector of zeros under cosine: its similarity to all is 0.
                every = self._do(partial(_select, table, [layout.id.name, column], asked.clause, INDEXED_ROWS))
                line = _ranked(layout, asked, query, every)
            lines.append(line)
        return Neighbours(
            tuple(tuple(id_ for id_, _ in line) for line in lines),
            tuple(tuple(score for _, score in line) for line in lines),
        )


MEND = "keep one of them and delete the others in its database, then go on"


def _dense_of(definition: CollectionDefinition) -> list[VectorSpec]:
    unnamed = VectorSpec("", VectorKind.DENSE, definition.dimension, definition.metric, definition.index)
    dense = [each for each in definition.named.values() if each.kind is VectorKind.DENSE]
    return dense if definition.dimension is None else [unnamed, *dense]


def _told_fields(where: Filter) -> list[str]:
    return sorted(fields_of(where))


def _told(database: Database, name: str) -> str | None:
    """A table in a few words: its vectors, or why it cannot be read; None where it is gone, and an object store still lists its folder."""
    try:
        table = database.table(name)
    except NotFound:
        return None
    layout, problems = database.run(
        lambda: layout_of(table.schema, metrics_of(table), Table(), StoreOptions(written=False))
    )
    if layout is None:
        return problems[0]
    dense = (each for each in layout.vectors if each.kind is not VectorKind.SPARSE)
    vectors = (f"{each.name or 'vector'} of {each.dimension} dimensions, {each.metric}" for each in dense)
    return ", ".join(vectors) or "no vectors"


# --- Conditions


def _within(layout: Layout, namespace: str | None) -> str:
    """Rows of a namespace, or of all, that fulfil the spec's condition."""
    visible = f"({layout.where})" if layout.where else "true"
    if namespace is None:
        return visible
    if layout.namespace is None:
        return visible if namespace == layout.constant else NEVER
    column = quoted(layout.namespace.name)
    own = f"{column} = {literal(namespace)}"
    if not namespace and layout.namespace.nullable:
        own = f"({own} OR {column} IS NULL)"
    return f"{own} AND {visible}"


def _of_ids(layout: Layout, ids: Sequence[str]) -> str:
    values = [id_ for id_ in ids if layout.key_order is not KeyOrder.NUMBER or _is_number(id_)]
    return f"{quoted(layout.id.name)} IN ({listed(id_array(layout, values).to_pylist())})" if values else NEVER


def _within_ends(layout: Layout, span: KeyRange, rows: pa.Table) -> pa.Table:
    """Rows less those beside a range that begins or ends between two numbers."""
    if layout.key_order is KeyOrder.ID:
        return rows
    keys = (key_of(layout.key_order, span.namespace, id_) for id_ in ids_of(layout, rows))
    return rows.filter(pa.array([span.contains(key) for key in keys], pa.bool_()))


def _is_number(id_: str) -> bool:
    return number_of(id_) is not None


def _between(layout: Layout, span: KeyRange) -> str:
    """Rows of a range, and perhaps some beside it where its ends lie between keys."""
    column, parts = quoted(layout.id.name), []
    for edge, sign in ((span.start, ">="), (span.end, "<")):
        if edge is None:
            continue
        if layout.key_order is KeyOrder.ID:
            parts.append(f"{column} {sign} {literal(edge)}")
        elif (number := number_of_key(edge)) is not None:
            parts.append(f"{column} {sign} {literal(number)}")
    return " AND ".join(parts) or "true"


def _still(layout: Layout, held: Any) -> str:
    """The condition that a row's overflow or struct is what it was; told by the texts and whole numbers in it."""
    column = str(layout.together)
    found = {quoted(column): held}
    if isinstance(held, Mapping):
        found = {quoted(column, part): value for part, value in held.items()}
    told = [f"target.{name} {_same(value)}" for name, value in found.items() if _is_literal(value)]
    return " AND ".join(told) or "true"


def _is_literal(value: Any) -> bool:
    return value is None or isinstance(value, (str, int))


def _same(value: Any) -> str:
    return "IS NULL" if value is None else f"= {literal(value)}"


# --- Questions


def _select(
    table: DeltaTable, columns: Sequence[str], clause: str, limit: int | None, *, ordered: str | None = None
) -> pa.Table:
    return _question(table, columns, clause, limit, ordered).to_arrow()


def _question(table: DeltaTable, columns: Sequence[str], clause: str, limit: int | None, ordered: str | None) -> Any:
    query = table.search().select(list(columns)).where(clause)
    if ordered is not None:
        query = query.order_by([ColumnOrdering(column_name=ordered, ascending=True, nulls_first=True)])
    return query.limit(limit)


def _behind(last: Any, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids behind the last one that was given."""
    return pa.chunked_array([pa.array([last], ids.type), *ids.chunks])


def _again(id_: str, seen: "set[str]") -> bool:
    """Whether an id was seen before; from now on it is."""
    if id_ in seen:
        return True
    seen.add(id_)
    return False


def _flat(column: pa.ChunkedArray) -> pa.Array:
    made = column.combine_chunks()
    return pa.concat_arrays(made.chunks) if isinstance(made, pa.ChunkedArray) and made.num_chunks else made


def _rows_at_once(layout: Layout, batch_rows: int) -> int:
    size = 500 + sum(4 * (each.dimension or 100) for each in layout.vectors)
    rows = max(min(_READ_BYTES // size, _READ_ROWS), batch_rows)
    return rows - rows % batch_rows


def _counts(table: DeltaTable, layout: Layout) -> dict[str | None, int]:
    if layout.namespace is None:
        rows = int(table.count_rows(_within(layout, None)))
        return {layout.constant: rows} if rows else {}
    found: dict[str | None, int] = {}
    name = layout.namespace.name
    query = table.search().select([name]).where(_within(layout, None)).limit(None)
    for batch in query.to_batches(100_000):
        for each in pc.value_counts(batch.column(name)).to_pylist():
            found[each["values"]] = found.get(each["values"], 0) + each["counts"]
    return found


def _held(table: DeltaTable, layout: Layout, namespace: str) -> Held:
    clause = _within(layout, namespace)

    def having(each: VectorIn) -> int:
        return int(table.count_rows(f"{clause} AND {quoted(each.column)} IS NOT NULL"))

    named = {VectorColumn(each.kind, each.name).column: having(each) for each in layout.vectors if each.name}
    unnamed = layout.unnamed
    return Held(int(table.count_rows(clause)), having(unnamed) if unnamed else 0, named)


def _odd_keys(table: DeltaTable, layout: Layout, namespace: str) -> list[str]:
    """Sentences on keys that several rows of a namespace have, and on rows without one."""
    found, place = [], f"namespace {namespace or '(default)'}"
    ids = table.search().select([layout.id.name]).where(_within(layout, namespace)).limit(None).to_arrow().column(0)
    if ids.null_count:
        found.append(f"{place}: {ids.null_count} records have no id; give them one, or delete them")
    if len(pc.unique(ids)) + max(ids.null_count - 1, 0) == len(ids):
        return found
    counts = pc.value_counts(ids)
    several = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").drop_null().sort()
    if len(several):
        first = ", ".join(map(repr, several.slice(0, 3).to_pylist()))
        found.append(f"{place}: {len(several)} ids are those of several records, first {first}; {MEND}")
    return found


def _version_token(table: DeltaTable) -> str:
    newest = table.list_versions()[-1]
    return f"{table.version}:{newest['version']}:{newest['timestamp'].isoformat()}"


def _rows_token(table: DeltaTable, clause: str) -> str:
    """Rows, and two sums over hashes of each row's id and the version that last wrote it: row ids are never used again."""
    names = ["_rowid", "_row_last_updated_at_version"]
    rows, sums = 0, [0, 0]
    for batch in table.search().select(names).where(clause).limit(None).to_batches(100_000):
        ids, versions = (batch.column(name).to_numpy(zero_copy_only=False).astype(np.uint64) for name in names)
        for place, seed in enumerate((np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))):
            sums[place] += int(_mixed(_mixed(ids + seed) ^ versions * seed).sum(dtype=np.uint64))
        rows += len(batch)
    return f"{rows}:{sums[0] % (1 << 64):016x}{sums[1] % (1 << 64):016x}"


def _mixed(values: "np.ndarray[Any, np.dtype[np.uint64]]") -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """The finaliser of SplitMix64, https://doi.org/10.1145/2714064.2660195."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _search(table: DeltaTable, layout: Layout, asked: _Asked, query: Vectors, *, indexed: bool) -> pa.Table:
    """The rows that LanceDB finds nearest, each with its vector: what it measures is exact only without an index."""
    column = asked.vector.column
    found = table.search(query, vector_column_name=column).distance_type(DISTANCES[asked.vector.metric])
    found = found.where(asked.clause, prefilter=True).select([layout.id.name, column, "_distance"]).limit(asked.k)
    if not indexed:
        return found.bypass_vector_index().to_arrow()
    if asked.effort is not None:
        found = found.ef(max(asked.effort, asked.k)).nprobes(max(20, asked.effort // 10))
    return found.refine_factor(_REFINED).to_arrow()


def _ranked(layout: Layout, asked: _Asked, query: Vectors, rows: pa.Table) -> list[tuple[str, float]]:
    """Ids and exact scores, best first, equal ones by id."""
    if not rows.num_rows:
        return []
    column = _flat(rows.column(asked.vector.column))
    vectors = floats_of(column.cast(pa.list_(pa.float32(), asked.vector.dimension)))[present(column)]
    scores = dense_scores(asked.vector.metric, query[np.newaxis], vectors)[0]
    ids = ids_of(layout, rows)
    order = sorted(range(len(ids)), key=lambda place: (-scores[place], ids[place]))[: asked.k]
    return [(ids[place], float(scores[place])) for place in order]
