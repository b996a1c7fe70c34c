"""PostgreSQL with pgvector as a store: one table a collection, whole records in it, exact or HNSW search.

A table `<collection>` holds namespace, id, vector, sparse and metadata, the last as canonical JSON text, which is the truth, and once
more as the generated jsonb column `fields`, which filters read; named vectors have columns of their own. `vectorferry_collections` holds
metric, dimension, declared fields, index and named vectors of each.
"""

# ruff: noqa: S608 (the SQL is put together from constants; every value is a parameter)

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
import orjson
import pyarrow as pa
from psycopg import sql

from vectorferry.core.datasets import DatasetName
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
    VectorKind,
    Vectors,
    VectorSpec,
    WriteResult,
)
from vectorferry.core.records import canonical_json, dimension_of, parse_json, short_hash, vectors_of
from vectorferry.core.stored_json import as_canonical
from vectorferry.core.vector_columns import Named, column_name, floats_of, present
from vectorferry.core.vector_columns import from_json as vectors_from_json
from vectorferry.core.vector_columns import to_json as vectors_to_json
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import Host, postgres_host
from vectorferry.stores.base import Capabilities, StoreOptions
from vectorferry.stores.batching import chunks, cut, refuse_invalid
from vectorferry.stores.caller import Caller
from vectorferry.stores.markers import marker_in, with_marker
from vectorferry.stores.obstacles import dense_queries, refuse_obstacles, refuse_vector, searched_vector, wrong_shape
from vectorferry.stores.pgvector.binary import batch_of, copy_data, places_of
from vectorferry.stores.pgvector.filters import compile_filter, field_key
from vectorferry.stores.pgvector.named_vectors import (
    KINDS,
    column_of,
    column_type,
    fields_of,
    in_order,
    index_bytes,
    misnamed,
    nearest_multi,
    with_settings,
    wrong_indexes,
)
from vectorferry.stores.pgvector.postgres_store import INDEXED_ROWS, LISTED_IDS, PostgresStore
from vectorferry.stores.pgvector.requirements import (
    NAMESAKES,
    TABLES,
    absent,
    unmakeable,
    unusable,
)
from vectorferry.stores.pgvector.sessions import Session, Sessions
from vectorferry.stores.pgvector.sql import (
    CATALOG,
    CATALOG_COLUMNS,
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
    SCORES,
    SET_METADATA,
    SET_VECTOR,
    WIDEN_CATALOG,
    bounds,
    index_settings,
    indexed,
    nearest,
    row_bytes,
    wrong_settings,
)
from vectorferry.stores.pgvector.statements import (
    EXACT_ROWS,
    MAX_EFFORT,
    Tuning,
    execute,
    lift_timeout,
    plain_text,
    rows_of,
    sendable,
)
from vectorferry.stores.pgvector.table_store import TableStore
from vectorferry.stores.row_limits import (
    Reason,
    first_reasons,
    patch_of,
    unplaced_vectors,
    unsupported_rows,
    without,
    wrong_dimension,
)
from vectorferry.stores.splitting import even_ranges

T = TypeVar("T")
Wanted: TypeAlias = tuple[int, Filter | None, int | None]
"""k, filter and effort of a search."""

_MAX_NAME_BYTES = 63
_CAPABILITIES = Capabilities(
    product="pgvector",
    efforts=(1, MAX_EFFORT),
    # Namespace and id share one index entry, which PostgreSQL limits to 2704 bytes.
    max_id_bytes=2048,
    max_namespace_bytes=512,
    max_dimension=16_000,
    max_indexed_dimension=MAX_HNSW_DIMENSION,
    markers=True,
    named_vectors=KINDS,
    searched_kinds=frozenset({VectorKind.DENSE, VectorKind.MULTI}),
)


class PgvectorStore(PostgresStore):
    """A collection as a table; `open` connects lazily."""

    def __init__(
        self, sessions: Sessions, collection: str, options: StoreOptions, caller: Caller | None = None
    ) -> None:
        super().__init__(sessions, collection, options, caller)
        self._lock = threading.Lock()
        self._known: CollectionDefinition | None = None
        self._tuning = Tuning()

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

    @classmethod
    def dataset(cls, connection: Connection, collection: str, options: StoreOptions) -> DatasetName:
        """`database.schema.table` at host and port; a schema that neither spec nor name says is taken for `public`."""
        host = postgres_host(connection)
        schema = (options.table.schema_ if options.table else None) or "public"
        # A folder of sockets is this machine; of several hosts the first one stands for all.
        name = "localhost" if host.name.startswith(("/", "@")) or not host.name else host.name.partition(",")[0]
        place = Host(name).at(host.port or 5432)
        return DatasetName(f"postgres://{place}", f"{connection.schema}.{schema}.{collection}")

    @property
    def name(self) -> str:
        """Product and collection for messages."""
        return f"pgvector {self._collection}"

    @property
    def capabilities(self) -> Capabilities:
        """The same for every collection."""
        return _CAPABILITIES

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
            named=definition.named,
        )

    def inventory(self, namespaces: Sequence[str], *, most: int) -> Inventory:
        """Counted by the server in one query, whatever `most` is; the column's type holds all vectors to one length."""
        del most
        definition, wanted = self._definition(), [sendable(namespaces)]
        dimension, named = definition.dimension or 0, in_order(definition.named)
        counts = sql.SQL("").join(sql.SQL(", count({})").format(_column(spec)) for spec in named)
        found: dict[str, Held] = {}
        for name, rows, vectors, *each in self._read_all(HELD, wanted, unbounded=True, counts=counts):
            found[name] = Held(rows, vectors, dict(zip(map(column_name, named), each, strict=True)))
        vectors = sum(held.vectors or 0 for held in found.values())
        lengths = {dimension: LengthCount(vectors)} if vectors else {}
        if dimension and (lacking := sum(held.rows for held in found.values()) - vectors):
            first = self._read_all(FIRST_WITHOUT_VECTOR, wanted, unbounded=True)
            lengths[0] = LengthCount(lacking, tuple(f"{name or '(default)'}/{id_}" for name, id_ in first))
        return Inventory({name: found.get(name, Held(0, 0, {})) for name in namespaces}, lengths)

    def obstacles(self, definition: CollectionDefinition | None = None) -> Sequence[str]:
        """What keeps the table from being made: its name, dimension or index; an old server or extension, a missing right, a taken name."""
        if definition is None:
            return list(unusable(self._server()))
        asked, dimension = {**self._options.index, **definition.index}, definition.dimension or 0
        found = [
            *self._wrong_name(),
            *wrong_shape(definition, _CAPABILITIES),
            *(wrong_settings(asked, dimension) if dimension else ()),
            *misnamed(definition.named),
            *wrong_indexes(definition.named),
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
        asked = {**self._options.index, **definition.index} if definition.dimension else {"type": "none"}
        made = replace(
            definition, index=index_settings(asked, definition.dimension or 0), named=with_settings(definition)
        )
        self._do(lambda session: self._create(session, made), retry=False)
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
        for rows in self._pages("id", span, LISTED_IDS):
            yield [row[0] for row in rows]

    def split(self, namespace: str, rows: int) -> Sequence[KeyRange]:
        """Ranges of equal size, cut at ids that are there."""
        return even_ranges(namespace, self.count(namespace), rows, partial(self._ids_at, namespace))

    def scan(
        self, span: KeyRange, *, batch_rows: int = 1000, ids: Iterable[Sequence[str]] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Records in key order, each batch a statement of its own; `ids` are not needed."""
        del ids
        definition = self._definition()
        for rows in self._pages("id, vector, sparse, metadata{named}", span, batch_rows):
            yield self._batch(span.namespace, rows, definition)

    def fetch(self, namespace: str, ids: Sequence[str]) -> pa.RecordBatch:
        """The records found, in the order of `ids`."""
        definition = self._definition()
        query = "SELECT id, vector, sparse, metadata{named} FROM {table} WHERE namespace = %s AND id = ANY (%s)"
        found: dict[str, Any] = {}
        for part in chunks(list(dict.fromkeys(ids)), _CAPABILITIES.max_fetch_ids):
            found.update((row[0], row) for row in self._read_all(query, [namespace, sendable(part)]))
        rows = [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]
        return self._batch(namespace, rows, definition)

    def _batch(
        self, namespace: str, rows: Sequence[tuple[Any, ...]], definition: CollectionDefinition
    ) -> pa.RecordBatch:
        """A batch of rows as they are selected: id, vector, sparse, metadata and the named vectors."""
        batch = batch_of(self.name, namespace, [row[:4] for row in rows], definition.dimension or 0)
        places = places_of(self.name, namespace, [row[0] for row in rows]) if definition.named else []
        for number, spec in enumerate(in_order(definition.named), 4):
            column = column_of(spec, [row[number] for row in rows], places)
            batch = batch.append_column(pa.field(column_name(spec), column.type), column)
        return batch

    def rejections(self, batch: pa.RecordBatch, *, partial: bool = False) -> Sequence[Rejection]:
        """What the limits and PostgreSQL's text forbid, and vectors that the collection has not, or has with another dimension."""
        refuse_invalid(batch)
        made = self._made()
        return first_reasons(
            batch,
            _with_nul(batch),
            wrong_dimension(batch, None if made is None else made.dimension),
            () if made is None else unplaced_vectors(batch, made.named, unnamed=made.dimension is not None),
            self._beyond_half(batch, made),
            unsupported_rows(batch, self.capabilities, partial=partial),
        )

    def upsert(self, batch: pa.RecordBatch) -> WriteResult:
        """Put rows by COPY into a staging table and one INSERT, all of a slice in one transaction or none."""
        definition = self._definition()
        rejected = self.rejections(batch)
        kept = without(batch, rejected)
        indexes = [definition.index, *(spec.index for spec in definition.named.values())]
        indexed = sum(index["type"] == "hnsw" for index in indexes)
        rows = max(INDEXED_ROWS // indexed, 1) if indexed else _CAPABILITIES.max_batch_rows
        for part in cut(kept, rows, _CAPABILITIES.max_batch_bytes):
            self._do(partial(self._put, part, definition))
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
        for part in chunks(ids, LISTED_IDS):
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
        """The k nearest: exact where there is no index or few candidates, else by HNSW, which goes on until it has k.

        Multi vectors are compared one by one, by MaxSim. Raises Unsupported for sparse ones, which are kept and not searched.
        """
        definition = self._definition()
        refuse_vector(vector, definition.named, self.name)
        spec = searched_vector(definition, vector, queries, self.name)
        if spec.kind is VectorKind.SPARSE:
            raise Unsupported("sparse vectors are kept, and cannot be searched", store=self.name)
        wanted, hits = (k, where, effort), [list[tuple[str, float]]() for _ in range(len(queries))]
        if spec.kind is VectorKind.MULTI:
            for line, query in zip(hits, queries, strict=True):
                found = self._do(partial(self._search_multi, spec, namespace, query, wanted))
                line += [(id_, float(score)) for id_, score in found]
        else:
            dense, score = dense_queries(queries, self.name), SCORES[spec.metric]
            for place, id_, distance in self._do(partial(self._search, spec, namespace, dense, wanted)):
                hits[place - 1].append((id_, score(distance)))
        return Neighbours.of(hits)

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass the filter, the first in key order."""
        clause, values = compile_filter(where)
        query = f"SELECT id FROM {{table}} WHERE namespace = %s AND {clause} ORDER BY id LIMIT %s"
        return frozenset(row[0] for row in self._read_all(query, [namespace, *values, limit]))

    def change_token(self, namespace: str) -> str | None:
        """See ROW_VERSIONS: the server reads the namespace's rows, and sends a line."""
        return str(self._read_all(ROW_VERSIONS, [self._collection, namespace], unbounded=True)[0][0])

    def capacity(self, *, count: bool = True) -> Capacity:
        """The size of the whole database on disk, without its logs; PostgreSQL tells no limit, and needs no index in memory."""
        table = "to_regclass(quote_ident(%s))"
        return self._capacity(table, plain_text(self._collection), what="collection", count=count)

    def footprint(self, definition: CollectionDefinition, payload: float) -> Footprint:
        """See `row_bytes`."""
        dimension = definition.dimension or 0
        index = (
            index_settings({**self._options.index, **definition.index}, dimension) if dimension else {"type": "none"}
        )
        return Footprint(None, row_bytes(dimension, payload, index) + index_bytes(definition.named))

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

    # Talking to the database

    def _sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        return sql.SQL(text).format(table=_identifier(self._collection), **parts)

    def _read_all(
        self, text: str, values: Sequence[Any], *, unbounded: bool = False, **parts: sql.Composable
    ) -> list[Any]:
        more = parts
        if "{table}" in text:
            # A table of others is no collection, whatever its columns are called.
            more = {"named": _listed(self._definition().named), **parts}

        def read(session: Session) -> list[Any]:
            if unbounded:
                lift_timeout(session)
            return rows_of(session, self._sql(text, **more), [plain_text(value) for value in values])

        return self._do(read)

    def _definition(self) -> CollectionDefinition:
        with self._lock:
            if self._known is None:
                self._known = self._do(self._read_definition)
            return self._known

    def _comment(self, session: Session) -> str:
        query = "SELECT coalesce(obj_description(to_regclass(quote_ident(%s)), 'pg_class'), '')"
        return str(rows_of(session, query, [self._collection])[0][0])

    def _made(self) -> CollectionDefinition | None:
        try:
            return self._definition()
        except NotFound:
            return None

    def _read_definition(self, session: Session) -> CollectionDefinition:
        columns = {name for (name,) in rows_of(session, CATALOG_COLUMNS, [CATALOG])}
        named = "named::text" if "named" in columns else "NULL"
        query = f"SELECT dimension, metric, fields::text, index::text, {named} FROM {CATALOG} WHERE name = %s"
        rows = rows_of(session, query, [self._collection]) if columns else []
        if not rows:
            raise NotFound(absent(self._collection, rows_of(session, NAMESAKES, [self._collection])), store=self.name)
        dimension, metric, fields, index, named = rows[0]
        types = {name: FieldType(kind) for name, kind in orjson.loads(fields).items()}
        vectors = vectors_from_json(orjson.loads(named or "null") or {})
        return CollectionDefinition(dimension, Metric(metric), types, orjson.loads(index), vectors)

    def _create(self, session: Session, definition: CollectionDefinition) -> None:
        lift_timeout(session)
        # Two that create their first collection at once would both make the catalog, and one of them fail.
        session.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [CATALOG])
        session.execute("CREATE EXTENSION IF NOT EXISTS vector")
        session.execute(CREATE_CATALOG)
        self._add_to_catalog(session, definition)
        vector = "vector" if definition.dimension is None else f"vector({definition.dimension})"
        typed = _listed(definition.named, typed=True, before=False)
        session.execute(self._sql(CREATE_TABLE.format(vector=vector), named=typed), [])
        for field in definition.fields:
            query = "CREATE INDEX ON {table} USING gin ((fields -> {key}) jsonb_path_ops)"
            session.execute(self._sql(query, key=sql.Literal(field_key(field).replace("%", "%%"))), [])
        for spec in (_unnamed(definition), *in_order(definition.named)):
            if spec.index["type"] == "hnsw":
                what = indexed(spec.metric, spec.dimension or 0)
                settings = f"m = {spec.index['m']}, ef_construction = {spec.index['ef_construction']}"
                query = f"CREATE INDEX ON {{table}} USING hnsw ({what}) WITH ({settings})"
                session.execute(self._sql(query, column=_column(spec)), [])

    def _add_to_catalog(self, session: Session, definition: CollectionDefinition) -> None:
        values = {
            "name": self._collection,
            "dimension": definition.dimension,
            "metric": definition.metric.value,
            "fields": orjson.dumps(dict(definition.fields)).decode(),
            "index": orjson.dumps(dict(definition.index)).decode(),
        }
        if definition.named or definition.dimension is None:
            for widen in WIDEN_CATALOG:
                session.execute(widen)
            values["named"] = orjson.dumps(vectors_to_json(definition.named)).decode()
        places = ", ".join(["%s"] * len(values))
        query = f"INSERT INTO {CATALOG} ({', '.join(values)}) VALUES ({places}) ON CONFLICT DO NOTHING"
        if not session.execute(query, list(values.values())).rowcount:
            raise AlreadyExists("the collection exists", store=self.name)

    def _drop(self, session: Session) -> None:
        lift_timeout(session)
        session.execute(self._sql("DROP TABLE IF EXISTS {table}"), [])
        if rows_of(session, "SELECT to_regclass(%s) IS NOT NULL", [CATALOG])[0][0]:
            session.execute(f"DELETE FROM {CATALOG} WHERE name = %s", [self._collection])

    def _put(self, batch: pa.RecordBatch, definition: CollectionDefinition, session: Session) -> None:
        named = in_order(definition.named)
        oid = self._vectors.number(session) if named else 0
        data = copy_data(batch, [fields_of(spec, batch, oid) for spec in named])
        staging = sql.Identifier(_staging_of(definition.named))
        create = sql.SQL(CREATE_STAGING).format(staging=staging, typed=_listed(definition.named, typed=True))
        session.execute(create, [])
        with session.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(staging)) as copy:
            copy.write(data)
        excluded = sql.SQL("").join(
            sql.SQL(", {column} = excluded.{column}").format(column=_column(spec)) for spec in named
        )
        insert = self._sql(INSERT_STAGED, staging=staging, named=_listed(definition.named), excluded=excluded)
        written = session.execute(insert, []).rowcount
        if written != len(batch):
            raise PartialWrite(f"{written} of {len(batch)} rows were written", store=self.name)

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

    def _search_multi(
        self, spec: VectorSpec, namespace: str, query: Vectors, wanted: Wanted, session: Session
    ) -> list[Any]:
        """Rows of (id, score), best first."""
        k, where, _ = wanted
        clause, values = _candidates(namespace, where)
        search = self._sql(nearest_multi(spec.metric, clause), column=_column(spec))
        return rows_of(session, search, [self._vectors.parameter(session, query), *values, k])

    def _search(
        self, spec: VectorSpec, namespace: str, queries: Vectors, wanted: Wanted, session: Session
    ) -> list[Any]:
        """Rows of (query's place from 1, id, distance), best first."""
        k, where, effort = wanted
        clause, values = _candidates(namespace, where)
        vectors = self._vectors.parameter(session, queries)

        def run(*, exact: bool) -> list[Any]:
            return rows_of(
                session,
                self._sql(nearest(spec.metric, clause, spec.dimension or 0, exact=exact), column=_column(spec)),
                [vectors, *values, k],
            )

        if spec.index["type"] == "hnsw" and self._are_many(session, spec, clause, values):
            self._tuning.set_up(session, k, effort)
            found = run(exact=False)
            if len(found) == k * len(queries):
                return found
        return run(exact=True)

    def _are_many(self, session: Session, spec: VectorSpec, clause: str, values: list[Any]) -> bool:
        query = f"SELECT count(*) > {EXACT_ROWS} FROM (SELECT 1 FROM {{table}} WHERE {clause} LIMIT {EXACT_ROWS + 1}) AS candidates"
        return bool(rows_of(session, self._sql(query, column=_column(spec)), values)[0][0])

    # Refusals

    def _wrong_name(self) -> Iterator[str]:
        if self._collection == CATALOG or not 0 < len(self._collection.encode()) <= _MAX_NAME_BYTES:
            yield f"{self._collection!r} is no name of a collection: it has 1 to {_MAX_NAME_BYTES} bytes and is not {CATALOG}"
        if "." in self._collection:
            yield (
                f"{self._collection!r} looks like a schema and a table: name the table only, and the schema as `schema` "
                "in the connection's extra"
            )

    def _exists(self) -> bool:
        return self._made() is not None

    def _beyond_half(self, batch: pa.RecordBatch, made: CollectionDefinition | None) -> Iterator[Reason]:
        """Rows that an index over half-precision numbers cannot have, which the database would refuse with all others of their batch."""
        index = index_settings(self._options.index, dimension_of(batch.schema) or 0) if made is None else made.index
        indexed = {"vector": index["type"]}
        if made is not None:
            indexed |= {column_name(spec): spec.index["type"] for spec in made.named.values()}
        for column, kind in indexed.items():
            if kind == "hnsw" and column in batch.schema.names:
                yield from _beyond(column, batch.column(column))


def _beyond(name: str, column: pa.Array) -> Iterator[Reason]:
    vectors = floats_of(column)
    if MAX_VECTOR_DIMENSION < vectors.shape[1] <= MAX_HNSW_DIMENSION:
        large = (np.abs(vectors).max(axis=1) > MAX_HALF) & present(column)
        what = "the vector" if name == "vector" else f"the vector {name.partition(':')[2]!r}"
        for row in large.nonzero()[0]:
            yield int(row), f"{what} has a component beyond ±{MAX_HALF:.0f}, which the index cannot hold"


def _candidates(namespace: str, where: Filter | None) -> tuple[str, list[Any]]:
    """The clause for the records that a search may find, with its values."""
    clause, values = compile_filter(where) if where else ("true", [])
    return f"namespace = %s AND {{column}} IS NOT NULL AND {clause}", [plain_text(namespace), *values]


def _unnamed(definition: CollectionDefinition) -> VectorSpec:
    return VectorSpec("", VectorKind.DENSE, definition.dimension, definition.metric, definition.index)


def _identifier(name: str) -> sql.Identifier:
    # psycopg takes a percent sign in a name for a placeholder, unless it is doubled; so queries always have parameters.
    return sql.Identifier(name.replace("%", "%%"))


def _column(spec: VectorSpec) -> sql.Identifier:
    return _identifier(column_name(spec)) if spec.name else sql.Identifier("vector")


def _listed(named: Named, *, typed: bool = False, before: bool = True) -> sql.Composed:
    """The columns of the named vectors for a list, a comma `before` each or after it; nothing where there are none."""
    parts = [
        sql.SQL(" ").join([_column(spec), *([sql.SQL(column_type(spec))] if typed else [])]) for spec in in_order(named)
    ]
    around = (sql.SQL(", "), sql.SQL("")) if before else (sql.SQL(" "), sql.SQL(","))
    return sql.Composed([sql.Composed([around[0], part, around[1]]) for part in parts])


def _staging_of(named: Named) -> str:
    """The table that rows are copied to, which a session keeps: another one for other columns."""
    columns = [f"{column_name(spec)} {column_type(spec)}" for spec in in_order(named)]
    return f"vectorferry_staging_{short_hash(columns)}" if columns else "vectorferry_staging"


def _with_nul(batch: pa.RecordBatch) -> Iterator[Reason]:
    columns = (batch.column(name).to_pylist() for name in ("namespace", "id"))
    for row, texts in enumerate(zip(*columns, strict=True)):
        if any("\0" in text for text in texts):
            yield row, "PostgreSQL's text cannot hold the character U+0000"
