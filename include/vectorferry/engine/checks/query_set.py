"""Query set of a migration: a recorded query file, and records held out of every namespace, asked of both sides."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from vectorferry.engine.checks.query_file import content_of, recorded_queries
from vectorferry.engine.checks.searched_vectors import SearchedVector, searched_vectors, unnamed
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.listing import pages_of
from vectorferry.engine.transfer.part_reader import Pages
from vectorferry.engine.transfer.staged import planned_namespaces
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import refuse_invalid

PATH = "queries.parquet"
_NOTE = "queries.json"
_CANDIDATES = 4  # how many ids are drawn for each held-out record: some records have no dense vector


@dataclass(frozen=True)
class Queries:
    """n queries, in order. `own_ids` are held-out records, `filters` canonical JSON, `key` stands for all of it.

    `vectors` are all of one kind, see `core.model.Queries`.
    """

    namespaces: Sequence[str]
    vectors: Any
    own_ids: Sequence[str | None]
    filters: Sequence[str | None]
    recorded: Sequence[bool]
    key: str = ""

    def __len__(self) -> int:
        return len(self.namespaces)

    def of(self, numbers: Sequence[int]) -> Any:
        """What some of the queries ask with, as a search takes it."""
        if isinstance(self.vectors, np.ndarray):
            return self.vectors[list(numbers)]
        return [self.vectors[number] for number in numbers]

    def groups(self) -> Iterator[tuple[str, Filter | None, list[int]]]:
        """(namespace, filter, query numbers): what can be asked in one call."""
        groups: dict[tuple[str, str | None], list[int]] = {}
        for number, place in enumerate(zip(self.namespaces, self.filters, strict=True)):
            groups.setdefault(place, []).append(number)
        for (namespace, text), numbers in groups.items():
            yield namespace, None if text is None else parse_filter(orjson.loads(text)), numbers


def prepare_queries(session: Session, plan: Plan) -> int:
    """Write the plan's queries to staging, once for the same settings and query file; returns how many there are.

    Each vector that the target searches has its own; recorded ones ask by the dense vector without a name. Raises PreflightFailed naming
    the query file where it is missing or damaged, or asks what the source cannot answer.
    """
    every = {vector.column: vector for vector in (unnamed(plan), *searched_vectors(session, plan))}
    return sum(_prepare(session, plan, vector) for vector in every.values())


def _prepare(session: Session, plan: Plan, vector: SearchedVector) -> int:
    staged = vector.folder(session.staged(plan))
    settings = session.spec.checks.recall
    content = content_of(settings.queries) if settings.queries else b""
    key = xxhash.xxh3_64_hexdigest(b"%d:%b" % (settings.sample, content))
    if staged.exists(_NOTE) and staged.exists(PATH) and staged.read_json(_NOTE)["key"] == key:
        return int(staged.read_json(_NOTE)["queries"])
    recorded = _recorded(session, plan, content) if vector.column == "vector" else ()
    found = [*recorded, *_held_out(session, plan, vector)]
    _write(staged, vector, found)
    queries = sum(len(part) for part in found)
    staged.write_json(_NOTE, {"key": key, "queries": queries})
    return queries


def read_queries(staged: Staging) -> Queries:
    """The queries that were prepared in the folder of a vector; raises StagingCorrupt where there are none."""
    table = staged.read_table(PATH).combine_chunks()
    batches = table.to_batches()
    vectors: Any = np.empty((0, 0), np.float32)
    if batches:
        column = batches[0].column("vector")
        kind = kind_of_type(column.type)
        vectors = floats_of(column) if kind is VectorKind.DENSE else values_of(kind, column)
    columns = (table.column(name).to_pylist() for name in ("namespace", "own_id", "filter", "recorded"))
    namespaces, own_ids, filters, recorded = columns
    return Queries(namespaces, vectors, own_ids, filters, recorded, str(staged.read_json(_NOTE)["key"]))


def _write(staged: Staging, vector: SearchedVector, found: Sequence[Queries]) -> None:
    spec = vector.spec
    schema = pa.schema(
        [
            ("query", pa.int32()),
            ("namespace", pa.string()),
            ("vector", arrow_type(spec)),
            ("own_id", pa.string()),
            ("filter", pa.string()),
            ("recorded", pa.bool_()),
        ]
    )
    batches, first = [], 0
    for part in found:
        columns = [
            pa.array(range(first, first + len(part)), pa.int32()),
            pa.array(part.namespaces, pa.string()),
            array_of(spec.kind, list(part.vectors), spec.dimension),
            pa.array(part.own_ids, pa.string()),
            pa.array(part.filters, pa.string()),
            pa.array(part.recorded, pa.bool_()),
        ]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        first += len(part)
    staged.write_table(PATH, schema, batches)


def _recorded(session: Session, plan: Plan, content: bytes) -> Iterator[Queries]:
    path = session.spec.checks.recall.queries
    if path is None:
        return
    found = recorded_queries(
        path,
        content,
        moved=frozenset(planned_namespaces(plan)),
        dimension=plan.details["dimension"],
        chosen=session.spec.namespaces,
    )
    rows = len(found.namespaces)
    if rows:
        yield Queries(found.namespaces, found.vectors, [None] * rows, found.filters, [True] * rows)


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
    return Queries([namespace] * len(ids), vectors, own, nothing, [False] * len(ids))


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
