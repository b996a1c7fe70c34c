"""A table of others as a store: its own columns are the record, its own key the id; what is no part of a record is never written.

`layout` says which column is what, `table_rows` what a value becomes, `table_sql` how the database is asked.
"""

# ruff: noqa: S608 (names are quoted by the layout; every value is a parameter)

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import pyarrow as pa

from vectorferry.core.errors import AlreadyExists, NotFound, RecordError, Refused, Unsupported
from vectorferry.core.filters import Filter
from vectorferry.core.keys import key_of
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    Footprint,
    Held,
    Inventory,
    KeyRange,
    LengthCount,
    Metric,
    Neighbours,
    Queries,
    Rejection,
    Vectors,
    VectorSpec,
    WriteResult,
)
from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import Capabilities, StoreOptions
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.obstacles import refuse_obstacles, refuse_vector, searched_vector
from vectorferry.stores.pgvector.catalog import Relation, SearchIndex, relation_of
from vectorferry.stores.pgvector.layout import Layout, Stored, layout_of
from vectorferry.stores.pgvector.postgres_store import INDEXED_ROWS, LISTED_IDS, PostgresStore
from vectorferry.stores.pgvector.quoting import quoted
from vectorferry.stores.pgvector.requirements import (
    unusable,
)
from vectorferry.stores.pgvector.sessions import Session, Sessions
from vectorferry.stores.pgvector.sql import (
    SCORES,
    index_settings,
    row_bytes,
)
from vectorferry.stores.pgvector.statements import execute, lift_timeout, rows_of, sendable
from vectorferry.stores.pgvector.table_keys import (
    after,
    between,
    id_of,
    in_order,
    key_names,
    key_texts,
    lookup_names,
    of_ids,
    within,
)
from vectorferry.stores.pgvector.table_making import CAPABILITIES, NewTable
from vectorferry.stores.pgvector.table_rows import (
    Writer,
    batch_of_rows,
    capabilities_of,
    selected,
)
from vectorferry.stores.pgvector.table_search import TableSearch
from vectorferry.stores.pgvector.table_sql import (
    counts,
    doubled,
    filtered,
    versions,
)
from vectorferry.stores.pgvector.table_writes import TableWrites
from vectorferry.stores.row_limits import (
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    without,
    wrong_dimension,
)
from vectorferry.stores.splitting import even_ranges

T = TypeVar("T")

_SORTED_IDS = 500_000  # where no index has the order of ids, each page sorts all that are left
_TELL_APART = "name columns that tell all rows apart with `table.key`"


@dataclass(frozen=True, slots=True)
class _Known:
    """A table as it was last looked at; `dimensions` are those of the dense vectors by their names, where anybody knows them."""

    layout: Layout
    dimensions: Mapping[str, int]

    @property
    def dimension(self) -> int | None:
        """That of the vector without a name; None where there is none, or nobody knows."""
        return self.dimensions.get("")

    @property
    def named(self) -> dict[str, VectorSpec]:
        """The vectors with a name."""
        return {
            each.name: VectorSpec(
                each.name,
                each.kind,
                self.dimensions.get(each.name),
                each.metric,
                _settings(each.index),
            )
            for each in self.layout.named
        }

    @property
    def definition(self) -> CollectionDefinition:
        """The vectors that it has, as they could be made again."""
        return CollectionDefinition(self.dimension, self.layout.metric or Metric.COSINE, named=self.named)


class TableStore(PostgresStore):
    """A table as a collection; `open` connects lazily."""

    def __init__(
        self, sessions: Sessions, name: str, table: Table, options: StoreOptions, caller: Caller | None = None
    ) -> None:
        super().__init__(sessions, name, options, caller)
        self._table = table
        self._lock = threading.Lock()
        self._found: _Known | None = None
        self._new = NewTable(name, table, options.index)
        self._searches = TableSearch(self.name, self._vectors)
        self._writes = TableWrites(self.name, self._vectors, self._do)

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "TableStore":
        """The table of that name, its columns as `options.table` says; nothing is created and nothing is sent."""
        table = options.table or Table()
        sessions = Sessions(connection, deadline=options.deadline, store=_named(collection, table))
        return cls(sessions, collection, table, options, caller)

    @property
    def name(self) -> str:
        """Product and table for messages."""
        return _named(self._collection, self._table)

    @property
    def capabilities(self) -> Capabilities:
        """What the columns of the table hold; of one that is not there, what a new one would."""
        try:
            layout = self._known().layout
        except NotFound:
            return self._new.capabilities(self._server())
        except Refused:
            return CAPABILITIES  # `obstacles` and `describe` tell why
        return replace(CAPABILITIES, **capabilities_of(layout, CAPABILITIES))

    def describe(self) -> CollectionInfo:
        """The table with exact row counts. Raises Refused for what keeps it from being read, with the ways out."""
        self._found = None
        known = self._known()
        layout = known.layout
        self._refuse_ambiguous(layout)
        return CollectionInfo(
            self._collection,
            known.dimension,
            layout.metric or Metric.COSINE,
            {name: rows for name, rows, _ in self._counts(layout)},
            sparse=layout.sparse is not None,
            fields=layout.fields,
            index=_settings(layout.index),
            notes=layout.notes,
            named=known.named,
        )

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Counted by the server in one query, whatever `most` is; of a view, keys that several rows have are told."""
        del most
        known = self._known()
        found = {name: Held(rows, vectors) for name, rows, vectors in self._counts(known.layout)}
        held = {name: found.get(name, Held(0, 0)) for name in namespaces}
        unread = tuple(self._doubled(known.layout, namespaces))
        return Inventory(held, dict(self._lengths(known.layout, namespaces)), unread)

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """What keeps the table from being used, or a new one from being made."""
        if definition is None:
            return list(unusable(self._server())) or self._do(self._problems)
        return self._new.obstacles(definition, self._server())

    def create(self, definition: CollectionDefinition) -> None:
        """Create a table like an application's own: key, namespace, a column for each declared field, metadata as jsonb, and the vector."""
        self._found = None
        if self._do(self._relation) is not None:
            raise AlreadyExists("the table exists", store=self.name)
        refuse_obstacles(self.obstacles(definition), definition, self._new.capabilities(self._server()), self.name)
        self._do(lambda session: self._new.create(session, definition), retry=False)

    def drop(self) -> None:
        """Drop the table with everything in it."""

        def drop(session: Session) -> None:
            relation = self._relation(session)
            if relation is not None:
                lift_timeout(session)
                kind = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}.get(relation.kind, "TABLE")
                execute(f"DROP {kind} {quoted(relation.schema)}.{quoted(relation.name)}", [], session)

        self._do(drop)
        self._found = None

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        layout = self._known().layout
        clause, values = within(layout, namespace)
        return int(self._read(f"SELECT count(*) FROM {layout.table} WHERE {clause}", values, unbounded=True)[0][0])

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in key order, each page a statement of its own that begins after the last one's end."""
        layout = self._known().layout
        size = LISTED_IDS if layout.in_native_order else _SORTED_IDS
        for rows in self._pages(layout, key_texts(layout), span, size):
            for page in chunks(rows, LISTED_IDS):
                yield [id_of(layout.key, row) for row in page]

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at keys that are there."""
        layout = self._known().layout
        return even_ranges(namespace, self.count(namespace), rows, partial(self._keys_at, layout, namespace))

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in key order by the key's own index; where that has another order, by `ids`, which are listed where they are None."""
        known = self._known()
        if known.layout.in_native_order:
            for rows in self._pages(known.layout, selected(known.layout), span, batch_rows):
                yield batch_of_rows(self.name, known.layout, span.namespace, rows, known.dimensions)
            return
        for page in self.list_ids(span) if ids is None else ids:
            for part in chunks(page, min(batch_rows, CAPABILITIES.max_fetch_ids)):
                found = self.fetch(span.namespace, part)
                if len(found):
                    yield found

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`."""
        known = self._known()
        layout, found = known.layout, dict[str, Any]()
        for part in chunks(list(dict.fromkeys(ids)), CAPABILITIES.max_fetch_ids):
            clause, values = of_ids(layout, namespace, part)
            rows = self._read(f"SELECT {selected(layout)} FROM {layout.table} WHERE {clause}", values)
            self._refuse_doubled(layout, namespace, rows)
            for row in rows:
                found[id_of(layout.key, row[: len(layout.key)])] = row
        there = [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]
        return batch_of_rows(self.name, layout, namespace, there, known.dimensions)

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the columns do not hold as it is."""
        refuse_invalid(batch)
        able = self.capabilities
        limits = unsupported_rows(batch, able, partial=partial)
        try:
            known = self._known()
        except NotFound:
            return first_reasons(batch, limits)
        own = Writer(known.layout).reasons(batch, partial=partial)
        unnamed = known.layout.vector is not None
        unplaced = unplaced_vectors(batch, known.named, unnamed=unnamed)
        return first_reasons(batch, wrong_dimension(batch, known.dimension), unplaced, own, limits)

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put rows by one INSERT … ON CONFLICT, all of a slice in one transaction or none; other columns stay as they are."""
        layout = self._known().layout
        rejected = list(self.rejections(batch))
        kept = without(batch, rejected)
        refused: list[Rejection] = []
        rows = INDEXED_ROWS if layout.index else CAPABILITIES.max_batch_rows
        for part in cut(kept, rows, CAPABILITIES.max_batch_bytes):
            refused += self._writes.put(layout, part)
        if len(self._known().dimensions) < len(layout.dense):
            self._found = None  # the first vectors may have told it
        if refused:
            reasons = {(each.namespace, each.id): each.reason for each in refused}
            keys = zip(batch.column("namespace").to_pylist(), batch.column("id").to_pylist(), strict=True)
            rejected += [Rejection(row, *key, reasons[key]) for row, key in enumerate(keys) if key in reasons]
        return WriteResult(len(batch) - len(rejected), tuple(sorted(rejected, key=lambda each: each.row)))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a row's columns under its lock, in one transaction."""
        patch = patch_of(namespace, id_, vector, metadata)
        layout = self._known().layout
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        self._do(lambda session: self._writes.merge(session, layout, patch))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id, some thousand at a time."""
        layout = self._known().layout
        for part in chunks(ids, LISTED_IDS):
            clause, values = of_ids(layout, namespace, part)
            self._do(partial(execute, f"DELETE FROM {layout.table} WHERE {clause}", values))

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
        """The k nearest: exact where there is no index or few candidates, else by the index, and exact where that finds too few."""
        known = self._known()
        refuse_vector(vector, known.named, self.name)
        if known.layout.vector and not vector and known.dimension is None:
            return Neighbours(
                ((),) * len(queries), ((),) * len(queries)
            )  # nobody knows the dimension: there is no vector yet
        searched = self._searched(known, searched_vector(known.definition, vector, queries, self.name))
        found = self._do(
            lambda session: self._searches.nearest(
                session, known.layout, searched, namespace, (queries, k, where, effort)
            )
        )
        score, keys = SCORES[searched.metric], len(known.layout.key)
        hits: list[list[tuple[str, float]]] = [[] for _ in range(len(queries))]
        for row in found:
            hits[row[0] - 1].append((id_of(known.layout.key, row[1 : 1 + keys]), score(row[-1])))
        return Neighbours.of(hits)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the filter, the first in key order."""
        layout = self._known().layout
        clause, values = within(layout, namespace)
        more, operands = filtered(layout, where)
        query = f"SELECT {key_texts(layout)} FROM {layout.table} WHERE {clause} AND {more} ORDER BY {in_order(layout)} LIMIT %s"
        return frozenset(id_of(layout.key, row) for row in self._read(query, [*values, *operands, limit]))

    def change_token(self, namespace: str) -> str | None:
        """By the versions of the namespace's rows; None for views, and where names lie in another table."""
        layout = self._known().layout
        if not layout.relation.is_table or layout.lookup is not None:
            return None
        clause, values = within(layout, namespace)
        oid = layout.relation.oid
        return str(self._read(versions(layout, clause), [oid, oid, oid, *values], unbounded=True)[0][0])

    def capacity(self, *, count: bool = True) -> Capacity:
        """The size of the whole database on disk, without its logs; PostgreSQL tells no limit, and needs no index in memory."""
        relation = self._do(self._relation)
        return self._capacity("%s::bigint::oid", relation.oid if relation else None, what="table", count=count)

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """See `row_bytes`."""
        dimension = definition.dimension or 0
        index = index_settings({**self._options.index, **definition.index}, dimension)
        return Footprint(None, row_bytes(dimension, payload, index))

    def marker(self, name: str) -> str | None:
        """Not supported: nothing is written to a table of others but records."""
        del name
        raise Unsupported("there are no markers in a table of others", store=self.name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Not supported."""
        del name, text
        raise Unsupported("there are no markers in a table of others", store=self.name)

    # Talking to the database

    def _read(self, query: str, values: Sequence[Any], *, unbounded: bool = False) -> list[Any]:
        def read(session: Session) -> list[Any]:
            if unbounded:
                lift_timeout(session)
            return rows_of(session, query, values)

        return self._do(read)

    def _known(self) -> _Known:
        """The table as it is; raises NotFound, and Refused for what keeps it from being used."""
        with self._lock:
            if self._found is None:
                self._found = self._do(self._look)
            return self._found

    def _relation(self, session: Session) -> Relation | None:
        return relation_of(partial(rows_of, session), self._collection, self._table.schema_)

    def _problems(self, session: Session) -> Sequence[str]:
        relation = self._relation(session)
        return [] if relation is None else layout_of(relation, self._table, self._options)[1]

    def _look(self, session: Session) -> _Known:
        relation = self._relation(session)
        if relation is None:
            where = f"in the schema {self._table.schema_!r}" if self._table.schema_ else "where the connection looks"
            raise NotFound(
                f"there is no table or view of that name {where}; say the schema as `table.schema`", store=self.name
            )
        layout, problems = layout_of(relation, self._table, self._options)
        if layout is None:
            raise Refused("; ".join(problems), store=self.name)
        lift_timeout(session)
        found = {each.name: each.dimension or _usual_length(session, layout, each) for each in layout.dense}
        return _Known(layout, {name: dimension for name, dimension in found.items() if dimension})

    def _counts(self, layout: Layout) -> list[tuple[str, int, int]]:
        values = [] if layout.namespace else [layout.constant]
        return [(name, rows, vectors) for name, rows, vectors in self._read(counts(layout), values, unbounded=True)]

    def _doubled(self, layout: Layout, namespaces: Sequence[str]) -> Iterator[str]:
        if layout.relation.is_table:
            return
        values = [] if layout.namespace else [layout.constant]
        found = self._read(doubled(layout), [*values, sendable(namespaces)], unbounded=True)
        if found:
            first = [f"{row[0] or '(default)'}/{id_of(layout.key, row[1:-2])!r} has {row[-2]}" for row in found]
            yield f"{found[0][-1]} keys stand for several rows each ({', '.join(first)}): {_TELL_APART}"

    def _lengths(self, layout: Layout, namespaces: Sequence[str]) -> Iterator[tuple[int, LengthCount]]:
        """How many vectors have how many floats, 0 standing for no vector, and the first three ids of each."""
        if layout.vector is None:
            return
        counted: dict[int, dict[str, int]] = {}
        first: dict[int, list[str]] = {}
        length = f"coalesce(vector_dims({quoted(layout.vector.name)}), 0)"
        keys = key_names(layout)
        for namespace in namespaces:
            clause, values = within(layout, namespace)
            query = (
                f"SELECT length, rows, {keys} FROM (SELECT {length} AS length, count(*) OVER (PARTITION BY {length}) AS rows,"
                f" row_number() OVER (PARTITION BY {length} ORDER BY {in_order(layout)}) AS place, {key_texts(layout)}"
                f" FROM {layout.table} WHERE {clause}) AS seen WHERE place <= 3 ORDER BY length, place"
            )
            for floats, rows, *key in self._read(query, values, unbounded=True):
                counted.setdefault(floats, {})[namespace] = rows
                first.setdefault(floats, []).append(f"{namespace or '(default)'}/{id_of(layout.key, key)}")
        for floats, rows_of_each in counted.items():
            yield (
                floats,
                LengthCount(
                    sum(rows_of_each.values()), tuple(first[floats][:3]) if not floats or len(counted) > 1 else ()
                ),
            )

    def _pages(self, layout: Layout, columns: str, span: KeyRange, size: int) -> Iterator[list[Any]]:
        """Rows of a range in key order, `size` at a time; the key's columns come first. Raises RecordError for a key of several rows."""
        clause, values = within(layout, span.namespace)
        limits, edges = between(layout, span)
        behind, last = "true", list[Any]()
        # One row more than is given shows a key that is on both sides of a page's end.
        asked = size if layout.relation.is_table else size + 1
        while True:
            query = f"SELECT {columns} FROM {layout.table} WHERE {clause} AND {limits} AND {behind} ORDER BY {in_order(layout)} LIMIT %s"
            rows = self._read(query, [*values, *edges, *last, asked])
            if not layout.relation.is_table:
                self._refuse_doubled(layout, span.namespace, rows)
            if rows:
                yield rows[:size]
            if len(rows) < asked:
                return
            behind, last = after(layout, rows[size - 1][: len(layout.key)])

    def _refuse_doubled(self, layout: Layout, namespace: str, rows: Sequence[Any]) -> None:
        keys = Counter(tuple(row[: len(layout.key)]) for row in rows)
        if key := next((key for key, times in keys.items() if times > 1), None):
            where = f"{self.name}, namespace {namespace or '(default)'}"
            raise RecordError(f"{where}: several rows have the key {id_of(layout.key, key)!r}: {_TELL_APART}")

    def _keys_at(self, layout: Layout, namespace: str, places: Sequence[int]) -> list[str]:
        if not places:
            return []
        clause, values = within(layout, namespace)
        keys = key_names(layout)
        query = (
            f"SELECT {keys} FROM (SELECT {key_texts(layout)}, row_number() OVER (ORDER BY {in_order(layout)}) - 1 AS place"
            f" FROM {layout.table} WHERE {clause}) AS listed WHERE place = ANY (%s) ORDER BY place"
        )
        rows = self._read(query, [*values, list(places)], unbounded=True)
        return [key_of(layout.key_order, namespace, id_of(layout.key, row)) for row in rows]

    def _searched(self, known: _Known, spec: VectorSpec) -> Stored:
        vectors = (*known.layout.dense, *known.layout.sparse_vectors)
        found = next((each for each in vectors if (each.name, each.kind) == (spec.name, spec.kind)), None)
        if found is None:
            raise Unsupported(f"the table has no {spec.kind} vector without a name", store=self.name)
        return found

    # New tables, and refusals

    def _refuse_ambiguous(self, layout: Layout) -> None:
        """Refuse keys that a view gives without a value, and namespaces that are two in the table and one in records."""
        problems = list(chain(self._without_key(layout), self._two_namespaces(layout)))
        if problems:
            raise Refused("; ".join(problems), store=self.name)

    def _without_key(self, layout: Layout) -> Iterator[str]:
        if layout.relation.is_table:
            return
        empty = " OR ".join(f"{quoted(column.name)} IS NULL" for column in layout.key)
        if self._read(f"SELECT 1 FROM {layout.table} WHERE {layout.visible} AND ({empty}) LIMIT 1", [], unbounded=True):
            yield "rows have NULL in their key: leave them out with `table.where`"

    def _two_namespaces(self, layout: Layout) -> Iterator[str]:
        column = layout.namespace
        if column is None:
            return
        name = quoted(column.name)
        if layout.lookup is not None:
            table, _, named = lookup_names(layout)
            if self._read(f"SELECT 1 FROM {table} GROUP BY {named} HAVING count(*) > 1 LIMIT 1", []):
                yield f"several rows of {layout.lookup.table} have one {layout.lookup.name}: namespaces need names of their own"
        elif not column.not_null and column.base in ("text", "varchar"):
            query = f"SELECT 1 FROM {layout.table} WHERE {name} = '' AND {layout.visible} LIMIT 1"
            if self._read(query, [], unbounded=True):
                yield f"{column.name} is '' in some rows and may be NULL in others, both the default namespace: keep to one of them"


def _named(collection: str, table: Table) -> str:
    return f"pgvector {table.schema_ + '.' if table.schema_ else ''}{collection}"


def _usual_length(session: Session, layout: Layout, stored: Stored) -> int | None:
    """The dimension that most vectors have, in a column whose type allows any; None where there are none."""
    name = quoted(stored.column.name)
    query = f"SELECT vector_dims({name}), count(*) FROM {layout.table} WHERE {name} IS NOT NULL AND {layout.visible} GROUP BY 1"
    return max(((rows, length) for length, rows in rows_of(session, query, [])), default=(0, None))[1]


def _settings(index: SearchIndex | None) -> dict[str, Any]:
    """An index in the words that `create` takes."""
    if index is None or index.method != "hnsw":
        return {"type": "none"}
    return {"type": "hnsw", "m": 16, "ef_construction": 64, **index.settings}
