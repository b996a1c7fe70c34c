"""Query set of a migration: a recorded query file, and records held out of every namespace, asked of both sides."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vectorferry.core.filters import Filter, parse_filter
from vectorferry.core.keys import order_hash
from vectorferry.core.model import KeyRange, VectorKind
from vectorferry.core.vector_columns import array_of, arrow_type, floats_of, kind_of_type, values_of
from vectorferry.engine.checks.query_file import HELD_OUT, RECORDED, content_of, recorded_queries
from vectorferry.engine.checks.searched_vectors import SearchedVector, dense_dimensions, searched_vectors, unnamed
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.listing import pages_of
from vectorferry.engine.transfer.part_reader import Pages
from vectorferry.engine.transfer.staged import planned_namespaces
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import chunks, refuse_invalid

PATH = "queries.parquet"
_NOTE = "queries.json"
_CANDIDATES = 4  # how many ids are drawn for each held-out record: some records have no dense vector
_WINDOW = 2_000
_GROUP_ROWS = 1_000
_PLACES = ("query", "namespace", "own_id", "filter", "recorded")


@dataclass(frozen=True)
class Queries:
    """n queries, in order. `own_ids` are records that are left out, `filters` canonical JSON, `kinds` labels, `recorded` whether they
    come from a file, `numbers` their places in the whole query set.

    `vectors` are all of one kind, see `core.model.Queries`; None where only the rest was read.
    """

    namespaces: Sequence[str]
    vectors: Any
    own_ids: Sequence[str | None]
    filters: Sequence[str | None]
    recorded: Sequence[bool]
    kinds: Sequence[str]
    numbers: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.namespaces)

    def of(self, rows: Sequence[int]) -> Any:
        """What some of the queries ask with, as a search takes it; `rows` count from 0 in these queries."""
        if isinstance(self.vectors, np.ndarray):
            return self.vectors[list(rows)]
        return [self.vectors[row] for row in rows]

    def groups(self) -> Iterator[tuple[str, Filter | None, list[int]]]:
        """(namespace, filter, rows): what can be asked in one call."""
        groups: dict[tuple[str, str | None], list[int]] = {}
        for row, place in enumerate(zip(self.namespaces, self.filters, strict=True)):
            groups.setdefault(place, []).append(row)
        for (namespace, text), rows in groups.items():
            yield namespace, None if text is None else parse_filter(orjson.loads(text)), rows


@dataclass(frozen=True, slots=True)
class QueryNote:
    """How many queries were prepared; `key` stands for all that they were made of."""

    key: str
    queries: int


def prepare_queries(session: Session, plan: Plan) -> int:
    """Write the plan's queries to staging, once for the same settings and query file; returns how many there are.

    Each vector that the target searches has its own; recorded ones ask by dense vectors, see `query_file`. Raises PreflightFailed naming
    the query file where it is missing or damaged, or asks what the source cannot answer.
    """
    every = {vector.column: vector for vector in (unnamed(plan), *searched_vectors(session, plan))}
    return sum(_prepare(session, plan, vector) for vector in every.values())


def _prepare(session: Session, plan: Plan, vector: SearchedVector) -> int:
    staged = vector.folder(session.staged(plan))
    settings = session.spec.checks.recall
    content = content_of(settings.queries) if settings.queries else b""
    key = xxhash.xxh3_64_hexdigest(b"%d:%b" % (settings.sample, content))
    if is_prepared(staged) and (noted := query_note(staged)).key == key:
        return noted.queries
    recorded = _recorded(session, plan, content, vector) if vector.spec.kind is VectorKind.DENSE else ()
    queries = _write(staged, vector, chain(recorded, _held_out(session, plan, vector)))
    staged.write_json(_NOTE, {"key": key, "queries": queries, "kinds": True})
    return queries


def is_prepared(staged: Staging) -> bool:
    """Whether queries lie in the folder of a vector."""
    return staged.exists(_NOTE) and staged.exists(PATH)


def query_note(staged: Staging) -> QueryNote:
    """What was prepared in the folder of a vector; raises StagingCorrupt where nothing was."""
    found = staged.read_json(_NOTE)
    return QueryNote(found["key"], found["queries"])


def read_queries(staged: Staging, where: pc.Expression | None = None, *, vectors: bool = True) -> Queries:
    """The queries that were prepared in the folder of a vector, or those of some rows; raises StagingCorrupt where there are none.

    The vectors of all namespaces together may be larger than memory: `query_windows` reads a few namespaces at a time.
    """
    table = staged.read_table(
        PATH, [*_PLACES, *_labels(staged), *(["vector"] if vectors else [])], where
    ).combine_chunks()
    numbers, *places = (table.column(name).to_pylist() for name in _PLACES)
    namespaces, own_ids, filters, recorded = places
    asked = _vectors_of(table) if vectors else None
    return Queries(namespaces, asked, own_ids, filters, recorded, _kinds_of(table, recorded), numbers)


def _labels(staged: Staging) -> tuple[str, ...]:
    # The queries of a plan that an earlier release made have no kinds.
    return ("kind",) if staged.read_json(_NOTE).get("kinds") else ()


def _kinds_of(table: pa.Table, recorded: Sequence[bool]) -> list[str]:
    if "kind" not in table.column_names:
        return [RECORDED if each else HELD_OUT for each in recorded]
    kinds: list[str] = table.column("kind").to_pylist()
    return kinds


def _vectors_of(table: pa.Table) -> Any:
    batches = table.to_batches()
    if not batches:
        return np.empty((0, 0), np.float32)
    column = batches[0].column("vector")
    kind = kind_of_type(column.type)
    return floats_of(column) if kind is VectorKind.DENSE else values_of(kind, column)


def window_size(session: Session) -> int:
    """How many namespaces are read at a time: their held-out queries are about two thousand."""
    return max(1, _WINDOW // max(1, session.spec.checks.recall.sample))


def read_window(staged: Staging, namespaces: Sequence[str], *, vectors: bool = True) -> Queries:
    """The queries of a few namespaces; row groups without any are not read."""
    name = pc.field("namespace")
    among = name.isin(list(namespaces)) & (name >= min(namespaces)) & (name <= max(namespaces))
    return read_queries(staged, among, vectors=vectors)


def query_windows(
    session: Session, staged: Staging, namespaces: Sequence[str], *, vectors: bool = True
) -> Iterator[Queries]:
    """All queries of these namespaces, a few namespaces at a time."""
    for some in chunks(namespaces, window_size(session)):
        yield read_window(staged, some, vectors=vectors)


def filtered_queries(staged: Staging) -> Queries:
    """The queries that have a filter, without their vectors."""
    return read_queries(staged, pc.field("filter").is_valid(), vectors=False)


def _write(staged: Staging, vector: SearchedVector, found: Iterable[Queries]) -> int:
    """Write queries as they come, in row groups of several namespaces; returns how many there were."""
    schema = pa.schema(
        [
            ("query", pa.int32()),
            ("namespace", pa.string()),
            ("vector", arrow_type(vector.spec)),
            ("own_id", pa.string()),
            ("filter", pa.string()),
            ("recorded", pa.bool_()),
            ("kind", pa.string()),
        ]
    )
    return staged.write_table(PATH, schema, in_groups(_batches(vector, found, schema))).rows


def _batches(vector: SearchedVector, found: Iterable[Queries], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    first = 0
    for part in found:
        columns = [
            pa.array(range(first, first + len(part)), pa.int32()),
            pa.array(part.namespaces, pa.string()),
            array_of(vector.spec.kind, list(part.vectors), vector.spec.dimension),
            pa.array(part.own_ids, pa.string()),
            pa.array(part.filters, pa.string()),
            pa.array(part.recorded, pa.bool_()),
            pa.array(part.kinds, pa.string()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        first += len(part)


def in_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches: each becomes a row group, of which a file should not have one a namespace or request."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _GROUP_ROWS:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


def _recorded(session: Session, plan: Plan, content: bytes, vector: SearchedVector) -> Iterator[Queries]:
    path = session.spec.checks.recall.queries
    if path is None:
        return
    recorded = recorded_queries(
        path,
        content,
        moved=frozenset(planned_namespaces(plan)),
        dimensions=dense_dimensions(plan),
        chosen=session.spec.namespaces,
    )
    found = recorded[vector.spec.name]
    rows = len(found.namespaces)
    if rows:
        yield Queries(found.namespaces, found.vectors, found.own_ids, found.filters, [True] * rows, found.kinds)


def _held_out(session: Session, plan: Plan, vector: SearchedVector) -> Iterator[Queries]:
    if vector.column == "vector" and vector.spec.dimension is None:
        return
    namespaces, pages = planned_namespaces(plan), pages_of(session, plan)
    for done, namespace in enumerate(namespaces):
        part = _held_out_of(session, pages, namespace, vector)
        if len(part):
            yield part
        session.report(StepProgress("queries", namespace, done + 1, len(namespaces), unit="namespaces"))


def _held_out_of(session: Session, pages: Pages, namespace: str, vector: SearchedVector) -> Queries:
    wanted = session.spec.checks.recall.sample
    span = KeyRange(namespace)
    listed = pages(span)
    rows, drawn = _draw(namespace, session.source.list_ids(span) if listed is None else listed, wanted * _CANDIDATES)
    fetched = drawn[:wanted]
    batch = session.source.fetch(namespace, fetched)
    if batch.column(vector.column).null_count:
        fetched, batch = drawn, session.source.fetch(namespace, drawn)
    refuse_invalid(batch)  # a query that holds NaN would be kept, and fail every run to come
    having = batch.filter(_usable(batch.column(vector.column)))
    # The only record that can be found is its own only neighbour: it may find itself.
    alone = len(having) == 1 and len(fetched) == rows
    batch = having.slice(0, wanted)
    ids = batch.column("id").to_pylist()
    own: list[str | None] = [None] * len(ids) if alone else [*ids]
    nothing = [None] * len(ids)
    column, kind = batch.column(vector.column), vector.spec.kind
    vectors = floats_of(column) if kind is VectorKind.DENSE else values_of(kind, column)
    return Queries([namespace] * len(ids), vectors, own, nothing, [False] * len(ids), [HELD_OUT] * len(ids))


def _usable(column: pa.Array) -> pa.Array:
    """Which rows have a vector that asks something: a multi or sparse one with nothing in it asks nothing."""
    kind = kind_of_type(column.type)
    if kind is VectorKind.DENSE:
        return column.is_valid()
    lists = pc.struct_field(column, "indices") if kind is VectorKind.SPARSE else column
    return pc.fill_null(pc.greater(pc.list_value_length(lists), 0), False)


def _draw(namespace: str, pages: Iterable[Sequence[str]], most: int) -> tuple[int, list[str]]:
    """How many ids there are, and the `most` of them whose keys hash lowest, in that order."""
    rows, best = 0, list[tuple[int, str]]()
    for page in pages:
        rows += len(page)
        best = heapq.nsmallest(most, [*best, *((order_hash(namespace, id_), id_) for id_ in page)])
    return rows, [id_ for _, id_ in best]
