"""PostgreSQL with pgvector as a store: one table a collection, whole records in it, exact or HNSW search.

A table `<collection>` holds namespace, id, vector, sparse and metadata, the last as canonical JSON text, which is the truth, and once
more as the generated jsonb column `fields`, which filters read. `vectorferry_collections` holds metric, dimension, declared
fields and index of each.
"""

# ruff: noqa: S608 (the SQL is put together from constants; every value is a parameter)

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa
from psycopg import sql

from vectorferry.core.errors import AlreadyExists, NotFound, PartialWrite, Refused, Unsupported
from vectorferry.core.filters import Filter
from vectorferry.core.model import (
    Capacity,
    CollectionDefinition,
    CollectionInfo,
    FieldType,
    Footprint,
    Held,
    Inventory,
    KeyRange,
    LengthCount,
    Metric,
    Neighbours,
    Queries,
    Rejection,
    Usage,
    Vectors,
    WriteResult,
)
from vectorferry.core.records import canonical_json, dimension_of, parse_json, vectors_of
from vectorferry.core.stored_json import as_canonical
from vectorferry.spec.connections import Connection
from vectorferry.stores.base import Capabilities, StoreOptions
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.markers import marker_in, with_marker
from vectorferry.stores.obstacles import dense_queries, refuse_obstacles, refuse_vector, wrong_shape
from vectorferry.stores.pgvector.binary import batch_of, copy_data
from vectorferry.stores.pgvector.filters import compile_filter, field_key
from vectorferry.stores.pgvector.requirements import (
    ITERATIVE_SCANS,
    NAMESAKES,
    SERVER,
    TABLES,
    Server,
    absent,
    unmakeable,
    unusable,
    version_of,
)
from vectorferry.stores.pgvector.sessions import Session, Sessions
from vectorferry.stores.pgvector.sql import (
    CATALOG,
    CREATE_CATALOG,
    CREATE_STAGING,
    CREATE_TABLE,
    FIRST_WITHOUT_VECTOR,
    HELD,
    INSERT_STAGED,
    LOCK_METADATA,
    MAX_HALF,
    MAX_HNSW_DIMENSION,
    MAX_VECTOR_DIMENSION,
    ROW_VERSIONS,
    SET_METADATA,
    SET_VECTOR,
    SIZES,
    bounds,
    index_settings,
    indexed,
    nearest,
    row_bytes,
    wrong_settings,
)
from vectorferry.stores.pgvector.statements import (
    VectorType,
    execute,
    lift_timeout,
    plain_text,
    rows_of,
    sendable,
    tune,
)
from vectorferry.stores.pgvector.table_store import TableStore
from vectorferry.stores.row_limits import Reason, first_reasons, patch_of, unsupported_rows, without, wrong_dimension

T = TypeVar("T")

EXACT_ROWS = 10_000
"""Up to so many candidate rows a search compares all of them: as fast as the index, and complete."""
_LISTED_IDS = 10_000
_INDEXED_ROWS = 200  # HNSW takes milliseconds a row; a statement must end well within the deadline
_MAX_NAME_BYTES = 63
_CAPABILITIES = Capabilities(
    product="pgvector",
    # Namespace and id share one index entry, which PostgreSQL limits to 2704 bytes.
    max_id_bytes=2048,
    max_namespace_bytes=512,
    max_dimension=16_000,
    max_indexed_dimension=MAX_HNSW_DIMENSION,
    markers=True,
)
_SCORES: Mapping[Metric, Callable[[float], float]] = {
    Metric.COSINE: lambda distance: 1.0 - distance,
    Metric.DOT: lambda distance: -distance,
    Metric.EUCLIDEAN: lambda distance: -distance * distance,
}


class PgvectorStore:
    """A collection as a table; `open` connects lazily."""

    def __init__(
        self, sessions: Sessions, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> None:
        self._sessions = sessions
        self._collection = collection
        self._options = options
        self._call = caller or Caller()
        self._lock = threading.Lock()
        self._known: CollectionDefinition | None = None
        self._vectors = VectorType()
        self._extension: tuple[int, ...] | None = None

    @classmethod
    def open(
        cls, connection: Connection, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> "PgvectorStore | TableStore":
        """The collection of that name in the connection's database, or a table as `options.table` says; nothing is created or sent."""
        if options.table is not None:
            return TableStore.open(connection, collection, options, caller)
        sessions = Sessions(connection, deadline=options.deadline, store=f"pgvector {collection}")
        return cls(sessions, collection, options, caller)

    @classmethod
    def collections(cls, connection: Connection, deadline: float) -> Mapping[str, str]:
        """Tables and views with a column of vectors, in any schema; those of another than the sessions' own have it in their name."""
        with closing(Sessions(connection, deadline=deadline, store=f"database {connection.schema}")) as sessions:
            return dict(sessions.run(lambda session: session.execute(TABLES).fetchall()))

    @property
    def name(self) -> str:
        """Product and collection for messages."""
        return f"pgvector {self._collection}"

    @property
    def capabilities(self) -> Capabilities:
        """The same for every collection."""
        return _CAPABILITIES

    @property
    def usage(self) -> Usage:
        """Transactions counted by the caller."""
        return self._call.usage

    def describe(self) -> CollectionInfo:
        """The collection with exact row counts."""
        self._known = None
        definition = self._definition()
        rows = self._read_all("SELECT namespace, count(*) FROM {table} GROUP BY namespace", [], unbounded=True)
        return CollectionInfo(
            self._collection,
            definition.dimension,
            definition.metric,
            dict(rows),
            sparse=True,
            fields=definition.fields,
            index=definition.index,
        )

    def empty_namespaces(self) -> Sequence[str]:
        """None: a namespace is a value in its records."""
        return ()

    def make_namespaces(self, namespaces: Sequence[str]) -> Sequence[str]:
        """None of them: a namespace is a value in its records."""
        return namespaces

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Counted by the server in one query, whatever `most` is; the column's type holds all vectors to one length."""
        del most
        wanted, dimension = [sendable(namespaces)], self._definition().dimension or 0
        found = {name: Held(rows, vectors) for name, rows, vectors in self._read_all(HELD, wanted, unbounded=True)}
        vectors = sum(held.vectors or 0 for held in found.values())
        lengths = {dimension: LengthCount(vectors)} if vectors else {}
        if lacking := sum(held.rows for held in found.values()) - vectors:
            first = self._read_all(FIRST_WITHOUT_VECTOR, wanted, unbounded=True)
            lengths[0] = LengthCount(lacking, tuple(f"{name or '(default)'}/{id_}" for name, id_ in first))
        return Inventory({name: found.get(name, Held(0, 0)) for name in namespaces}, lengths)

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """What keeps the table from being made: its name, dimension or index; an old server or extension, a missing right, a taken name."""
        if definition is None:
            return list(unusable(self._server()))
        asked, dimension = {**self._options.index, **definition.index}, definition.dimension or 0
        found = [
            *self._wrong_name(),
            *wrong_shape(definition, _CAPABILITIES),
            *wrong_settings(asked, dimension),
        ]
        if found:
            return found
        server, kind = self._server(), index_settings(asked, dimension)["type"]
        table = replace(server, taken=server.taken and not self._exists())
        found += unmakeable(table, self._collection, dimension, kind, MAX_VECTOR_DIMENSION)
        return [*unusable(server), *found]

    def create(self, definition: CollectionDefinition) -> None:
        """Create the table, an index for each declared field and, unless `index` says {type: none}, the HNSW index.

        `index` takes type (hnsw or none), m and ef_construction. Beyond 2000 dimensions the index is over half-precision numbers, beyond
        4000 there is none.
        """
        self._known = None
        if self._exists():
            raise AlreadyExists("the collection exists", store=self.name)
        refuse_obstacles(self.obstacles(definition), definition, _CAPABILITIES, self.name)
        index = index_settings({**self._options.index, **definition.index}, definition.dimension or 0)
        self._do(lambda session: self._create(session, definition, index), retry=False)
        self._known = None

    def drop(self) -> None:
        """Drop the table and its row in the catalog."""
        self._do(self._drop)
        self._known = None

    def count(self, namespace: str | None = None) -> int:
        """Exact number of rows."""
        if namespace is None:
            rows = self._read_all("SELECT count(*) FROM {table}", [], unbounded=True)
        else:
            rows = self._read_all("SELECT count(*) FROM {table} WHERE namespace = %s", [namespace], unbounded=True)
        return int(rows[0][0])

    def list_ids(self, span: KeyRange) -> Iterator[Sequence[str]]:
        """Ids in key order, each page a statement of its own that begins after the last one's end."""
        for rows in self._pages("id", span, _LISTED_IDS):
            yield [row[0] for row in rows]

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at ids that are there."""
        total = self.count(namespace)
        parts = max(1, round(total / rows))
        places = [total * part // parts for part in range(parts + 1)]
        edges = [None, *self._ids_at(namespace, places[1:-1]), None]
        return [
            KeyRange(namespace, start, end, right - left)
            for start, end, left, right in zip(edges, edges[1:], places, places[1:], strict=False)
        ]

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in key order, each batch a statement of its own; `ids` are not needed."""
        del ids
        dimension = self._definition().dimension or 0
        for rows in self._pages("id, vector, sparse, metadata", span, batch_rows):
            yield batch_of(self.name, span.namespace, rows, dimension)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`."""
        query = "SELECT id, vector, sparse, metadata FROM {table} WHERE namespace = %s AND id = ANY (%s)"
        found: dict[str, Any] = {}
        for part in chunks(list(dict.fromkeys(ids)), _CAPABILITIES.max_fetch_ids):
            found.update((row[0], row) for row in self._read_all(query, [namespace, sendable(part)]))
        rows = [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]
        return batch_of(self.name, namespace, rows, self._definition().dimension or 0)

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the limits and PostgreSQL's text forbid, and another dimension than the collection's."""
        refuse_invalid(batch)
        return first_reasons(
            batch,
            _with_nul(batch),
            wrong_dimension(batch, self._dimension()),
            self._beyond_half(batch),
            unsupported_rows(batch, self.capabilities, partial=partial),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put rows by COPY into a staging table and one INSERT, all of a slice in one transaction or none."""
        definition = self._definition()
        rejected = self.rejections(batch)
        kept = without(batch, rejected)
        rows = _INDEXED_ROWS if definition.index["type"] == "hnsw" else _CAPABILITIES.max_batch_rows
        for part in cut(kept, rows, _CAPABILITIES.max_batch_bytes):
            self._do(partial(self._put, copy_data(part), len(part)))
        return WriteResult(len(kept), tuple(rejected))

    def update(self, namespace: str, id_: str, *, vector: Vectors | None = None, metadata: str = "{}") -> None:
        """Change a record under the lock of its row, in one transaction."""
        patch = patch_of(namespace, id_, vector, metadata)
        self._definition()
        if rejected := self.rejections(patch, partial=True):
            raise Refused(rejected[0].reason, store=self.name)
        self._do(lambda session: self._merge(session, patch))

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id, some thousand at a time."""
        self._definition()
        query = self._sql("DELETE FROM {table} WHERE namespace = %s AND id = ANY (%s)")
        for part in chunks(ids, _LISTED_IDS):
            self._do(partial(execute, query, [plain_text(namespace), sendable(part)]))

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
        """The k nearest: exact where there is no index or few candidates, else by HNSW, which goes on until it has k."""
        refuse_vector(vector, (), self.name)
        queries = dense_queries(queries, self.name)
        self._refuse_dimension(queries.shape[1])
        definition = self._definition()
        found = self._do(lambda session: self._search(session, definition, namespace, queries, (k, where, effort)))
        score = _SCORES[definition.metric]
        hits: list[list[tuple[str, float]]] = [[] for _ in range(len(queries))]
        for place, id_, distance in found:
            hits[place - 1].append((id_, score(distance)))
        return Neighbours(
            tuple(tuple(id_ for id_, _ in line) for line in hits),
            tuple(tuple(value for _, value in line) for line in hits),
        )

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the filter, the first in key order."""
        clause, values = compile_filter(where)
        query = f"SELECT id FROM {{table}} WHERE namespace = %s AND {clause} ORDER BY id LIMIT %s"
        return frozenset(row[0] for row in self._read_all(query, [namespace, *values, limit]))

    def keyword(
        self, namespace: str, field: str, words: str, k: int, *, near: Vectors | None = None
    ) -> tuple[str, ...]:
        """Raises Unsupported: there is no index over words."""
        del namespace, field, words, k, near
        raise Unsupported("has no keyword search", store=self.name)

    def pending_index(self) -> int:
        """Always 0: rows enter the index in the transaction that writes them."""
        return 0

    def change_token(self, namespace: str) -> str | None:
        """See ROW_VERSIONS: the server reads the namespace's rows, and sends a line."""
        return str(self._read_all(ROW_VERSIONS, [self._collection, namespace], unbounded=True)[0][0])

    def capacity(self, *, count: bool = True) -> Capacity:
        """The size of the whole database on disk, without its logs; PostgreSQL tells no limit, and needs no index in memory."""
        size, own, read_only = self._read_all(SIZES, [self._collection])[0]
        rows = (0 if own is None else self.count()) if count else None
        return Capacity(rows, disk=size, read_only=read_only, note=f"{own or 0:,} bytes of it are this collection")

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """See `row_bytes`."""
        dimension = definition.dimension or 0
        index = index_settings({**self._options.index, **definition.index}, dimension)
        return Footprint(None, row_bytes(dimension, payload, index))

    def alias_target(self, alias: str) -> str | None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def refuse_alias(self, alias: str) -> None:
        """Raises Unsupported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def point_alias(self, alias: str) -> None:
        """Not supported."""
        del alias
        raise Unsupported("there are no aliases", store=self.name)

    def marker(self, name: str) -> str | None:
        """The text that was kept, in a line of the table's comment."""
        return marker_in(self._do(self._comment), name)

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text in a line of the table's comment; needs the table's owner."""
        self._definition()

        def keep(session: Session) -> None:
            comment = with_marker(self._comment(session), name, text)
            told = sql.Literal(comment.replace("%", "%%"))
            session.execute(self._sql("COMMENT ON TABLE {table} IS {told}", told=told), [])

        self._do(keep)

    def close(self) -> None:
        """Close idle sessions."""
        self._sessions.close()

    # Talking to the database

    def _do(self, work: Callable[[Session], T], *, retry: bool = True) -> T:
        return self._call(lambda: self._sessions.run(work), retry=retry)

    def _sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        # psycopg takes a percent sign in a name for a placeholder, unless it is doubled; so queries always have parameters.
        return sql.SQL(text).format(table=sql.Identifier(self._collection.replace("%", "%%")), **parts)

    def _read_all(self, text: str, values: Sequence[Any], *, unbounded: bool = False) -> list[Any]:
        if "{table}" in text:
            self._definition()  # a table of others is no collection, whatever its columns are called

        def read(session: Session) -> list[Any]:
            if unbounded:
                lift_timeout(session)
            return rows_of(session, self._sql(text), [plain_text(value) for value in values])

        return self._do(read)

    def _definition(self) -> CollectionDefinition:
        with self._lock:
            if self._known is None:
                self._known = self._do(self._read_definition)
            return self._known

    def _comment(self, session: Session) -> str:
        query = "SELECT coalesce(obj_description(to_regclass(quote_ident(%s)), 'pg_class'), '')"
        return str(rows_of(session, query, [self._collection])[0][0])

    def _dimension(self) -> int | None:
        try:
            return self._definition().dimension
        except NotFound:
            return None

    def _read_definition(self, session: Session) -> CollectionDefinition:
        query = f"SELECT dimension, metric, fields::text, index::text FROM {CATALOG} WHERE name = %s"
        there = rows_of(session, "SELECT to_regclass(%s) IS NOT NULL", [CATALOG])[0][0]
        rows = rows_of(session, query, [self._collection]) if there else []
        if not rows:
            raise NotFound(absent(self._collection, rows_of(session, NAMESAKES, [self._collection])), store=self.name)
        dimension, metric, fields, index = rows[0]
        types = {name: FieldType(kind) for name, kind in orjson.loads(fields).items()}
        return CollectionDefinition(dimension, Metric(metric), types, orjson.loads(index))

    def _create(self, session: Session, definition: CollectionDefinition, index: Mapping[str, Any]) -> None:
        lift_timeout(session)
        # Two that create their first collection at once would both make the catalog, and one of them fail.
        session.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [CATALOG])
        session.execute("CREATE EXTENSION IF NOT EXISTS vector")
        session.execute(CREATE_CATALOG)
        self._add_to_catalog(session, definition, index)
        session.execute(self._sql(CREATE_TABLE.format(dimension=definition.dimension)), [])
        for field in definition.fields:
            query = "CREATE INDEX ON {table} USING gin ((fields -> {key}) jsonb_path_ops)"
            session.execute(self._sql(query, key=sql.Literal(field_key(field).replace("%", "%%"))), [])
        if index["type"] == "hnsw":
            what = indexed(definition.metric, definition.dimension or 0)
            settings = f"m = {index['m']}, ef_construction = {index['ef_construction']}"
            session.execute(self._sql(f"CREATE INDEX ON {{table}} USING hnsw ({what}) WITH ({settings})"), [])

    def _add_to_catalog(self, session: Session, definition: CollectionDefinition, index: Mapping[str, Any]) -> None:
        query = f"INSERT INTO {CATALOG} VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
        texts = [orjson.dumps(dict(part)).decode() for part in (definition.fields, index)]
        added = session.execute(query, [self._collection, definition.dimension, definition.metric.value, *texts])
        if not added.rowcount:
            raise AlreadyExists("the collection exists", store=self.name)

    def _drop(self, session: Session) -> None:
        lift_timeout(session)
        session.execute(self._sql("DROP TABLE IF EXISTS {table}"), [])
        if rows_of(session, "SELECT to_regclass(%s) IS NOT NULL", [CATALOG])[0][0]:
            session.execute(f"DELETE FROM {CATALOG} WHERE name = %s", [self._collection])

    def _put(self, data: bytes, rows: int, session: Session) -> None:
        session.execute(CREATE_STAGING)
        with session.cursor().copy("COPY vectorferry_staging FROM STDIN (FORMAT binary)") as copy:
            copy.write(data)
        written = session.execute(self._sql(INSERT_STAGED), []).rowcount
        if written != rows:
            raise PartialWrite(f"{written} of {rows} rows were written", store=self.name)

    def _merge(self, session: Session, patch: pa.RecordBatch) -> None:
        key = [patch.column(name)[0].as_py() for name in ("namespace", "id")]
        for (stored,) in rows_of(session, self._sql(LOCK_METADATA), key):
            # What others wrote there must not be rounded on the way.
            whole = as_canonical(stored, f"{self.name}, namespace {key[0] or '(default)'}, id {key[1]}")
            merged = canonical_json(parse_json(whole) | parse_json(patch.column("metadata")[0].as_py()))
            session.execute(self._sql(SET_METADATA), [merged, *key])
            if patch.column("vector").null_count == 0:
                session.execute(self._sql(SET_VECTOR), [self._vectors.parameter(session, vectors_of(patch)), *key])

    def _pages(self, columns: str, span: KeyRange, size: int) -> Iterator[list[Any]]:
        """Rows of a range in id order, `size` at a time; the first column is the id."""
        end, limits = bounds(span)
        after: list[Any] = []
        while True:
            begin = [] if not after else ["id > %s"]
            clause = " AND ".join(["namespace = %s", *end, *begin])
            query = f"SELECT {columns} FROM {{table}} WHERE {clause} ORDER BY id LIMIT %s"
            rows = self._read_all(query, [span.namespace, *limits, *after, size])
            if rows:
                yield rows
            if len(rows) < size:
                return
            after = [rows[-1][0]]

    def _ids_at(self, namespace: str, places: Sequence[int]) -> list[str]:
        query = (
            "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM {table} WHERE namespace = %s) AS listed"
            " WHERE place = ANY (%s) ORDER BY id"
        )
        return [row[0] for row in self._read_all(query, [namespace, list(places)], unbounded=True)] if places else []

    def _search(
        self,
        session: Session,
        definition: CollectionDefinition,
        namespace: str,
        queries: Vectors,
        wanted: tuple[int, Filter | None, int | None],
    ) -> list[Any]:
        """Rows of (query's place from 1, id, distance), best first."""
        k, where, effort = wanted
        clause, values = compile_filter(where) if where else ("true", [])
        clause, values = f"namespace = %s AND vector IS NOT NULL AND {clause}", [plain_text(namespace), *values]
        vectors = self._vectors.parameter(session, queries)

        def run(*, exact: bool) -> list[Any]:
            return rows_of(
                session,
                self._sql(nearest(definition.metric, clause, definition.dimension or 0, exact=exact)),
                [vectors, *values, k],
            )

        if definition.index["type"] == "hnsw" and self._are_many(session, clause, values):
            tune(session, k, effort, iterates=self._iterates(session))
            found = run(exact=False)
            if len(found) == k * len(queries):
                return found
        return run(exact=True)

    def _iterates(self, session: Session) -> bool:
        """Whether the extension's searches can go on until they have enough; asked once."""
        if self._extension is None:
            [(version,)] = rows_of(session, "SELECT extversion FROM pg_extension WHERE extname = 'vector'", [])
            self._extension = version_of(version)
        return self._extension >= ITERATIVE_SCANS

    def _are_many(self, session: Session, clause: str, values: list[Any]) -> bool:
        query = f"SELECT count(*) > {EXACT_ROWS} FROM (SELECT 1 FROM {{table}} WHERE {clause} LIMIT {EXACT_ROWS + 1}) AS candidates"
        return bool(rows_of(session, self._sql(query), values)[0][0])

    # Refusals

    def _wrong_name(self) -> Iterator[str]:
        if self._collection == CATALOG or not 0 < len(self._collection.encode()) <= _MAX_NAME_BYTES:
            yield f"{self._collection!r} is no name of a collection: it has 1 to {_MAX_NAME_BYTES} bytes and is not {CATALOG}"
        if "." in self._collection:
            yield (
                f"{self._collection!r} looks like a schema and a table: name the table only, and the schema as `schema` "
                "in the connection's extra"
            )

    def _server(self) -> Server:
        """What the server says of itself now."""
        return self._do(lambda session: Server(*rows_of(session, SERVER, [self._collection])[0]))

    def _exists(self) -> bool:
        return self._dimension() is not None

    def _beyond_half(self, batch: pa.RecordBatch) -> Iterator[Reason]:
        """Rows that an index over half-precision numbers cannot have, which the database would refuse with all others of their batch."""
        dimension = dimension_of(batch.schema) or 0
        if not MAX_VECTOR_DIMENSION < dimension <= MAX_HNSW_DIMENSION or not self._has_index(dimension):
            return
        large = np.abs(vectors_of(batch)).max(axis=1) > MAX_HALF
        for row in (large & batch.column("vector").is_valid().to_numpy(zero_copy_only=False)).nonzero()[0]:
            yield int(row), f"the vector has a component beyond ±{MAX_HALF:.0f}, which the index cannot hold"

    def _has_index(self, dimension: int) -> bool:
        try:
            return bool(self._definition().index["type"] == "hnsw")
        except NotFound:
            return bool(index_settings(self._options.index, dimension)["type"] == "hnsw")

    def _refuse_dimension(self, dimension: int) -> None:
        expected = self._definition().dimension
        if dimension != expected:
            raise Refused(f"vectors have {dimension} dimensions, the collection {expected}", store=self.name)


def _with_nul(batch: pa.RecordBatch) -> Iterator[Reason]:
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id"))
    for row, texts in enumerate(zip(*columns, strict=True)):
        if any("\0" in text for text in texts):
            yield row, "PostgreSQL's text cannot hold the character U+0000"
