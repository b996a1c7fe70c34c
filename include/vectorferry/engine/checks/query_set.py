"""Query set of a migration: a recorded query file, and records held out of every namespace, asked of both sides."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from vectorferry.core.filters import Filter, parse_filter
from vectorferry.core.keys import order_hash
from vectorferry.core.model import KeyRange, Vectors
from vectorferry.core.records import vectors_of
from vectorferry.core.vector_columns import vector_array
from vectorferry.engine.checks.query_file import content_of, recorded_queries
from vectorferry.engine.session import Session, StepProgress
from vectorferry.engine.transfer.staged import listed_ids, planned_namespaces
from vectorferry.journal import Plan
from vectorferry.staging import Staging
from vectorferry.stores.batching import refuse_invalid

PATH = "queries.parquet"
_NOTE = "queries.json"
_CANDIDATES = 4  # how many ids are drawn for each held-out record: some records have no dense vector


@dataclass(frozen=True)
class Queries:
    """n queries, in order. `own_ids` are held-out records, `filters` canonical JSON, `key` stands for all of it."""

    namespaces: Sequence[str]
    vectors: Vectors
    own_ids: Sequence[str | None]
    filters: Sequence[str | None]
    recorded: Sequence[bool]
    key: str = ""

    def __len__(self) -> int:
        return len(self.namespaces)

    def groups(self) -> Iterator[tuple[str, Filter | None, list[int]]]:
        """(namespace, filter, query numbers): what can be asked in one call."""
        groups: dict[tuple[str, str | None], list[int]] = {}
        for number, place in enumerate(zip(self.namespaces, self.filters, strict=True)):
            groups.setdefault(place, []).append(number)
        for (namespace, text), numbers in groups.items():
            yield namespace, None if text is None else parse_filter(orjson.loads(text)), numbers


def prepare_queries(session: Session, plan: Plan) -> int:
    """Write the plan's queries to staging, once for the same settings and query file; returns how many there are.

    Raises PreflightFailed naming the query file where it is missing or damaged, or asks what the source cannot answer.
    """
    staged = session.staged(plan)
    settings = session.spec.checks.recall
    content = content_of(settings.queries) if settings.queries else b""
    key = xxhash.xxh3_64_hexdigest(b"%d:%b" % (settings.sample, content))
    if staged.exists(_NOTE) and staged.exists(PATH) and staged.read_json(_NOTE)["key"] == key:
        return int(staged.read_json(_NOTE)["queries"])
    found = [*_recorded(session, plan, content), *_held_out(session, plan)]
    _write(staged, plan, found)
    queries = sum(len(part) for part in found)
    staged.write_json(_NOTE, {"key": key, "queries": queries})
    return queries


def read_queries(staged: Staging) -> Queries:
    """The queries that were prepared; raises StagingCorrupt where there are none."""
    table = staged.read_table(PATH).combine_chunks()
    batches = table.to_batches()
    vectors = vectors_of(batches[0]) if batches else np.empty((0, 0), np.float32)
    columns = (table.column(name).to_pylist() for name in ("namespace", "own_id", "filter", "recorded"))
    namespaces, own_ids, filters, recorded = columns
    return Queries(namespaces, vectors, own_ids, filters, recorded, str(staged.read_json(_NOTE)["key"]))


def _write(staged: Staging, plan: Plan, found: Sequence[Queries]) -> None:
    dimension = plan.details["dimension"]
    vector = pa.list_(pa.float32(), dimension) if dimension else pa.null()
    schema = pa.schema(
        [
            ("query", pa.int32()),
            ("namespace", pa.string()),
            ("vector", vector),
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
            vector_array(part.vectors),
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


def _held_out(session: Session, plan: Plan) -> Iterator[Queries]:
    if plan.details["dimension"] is None:
        return
    namespaces = planned_namespaces(plan)
    for done, namespace in enumerate(namespaces):
        part = _held_out_of(session, plan, namespace)
        if len(part):
            yield part
        session.report(StepProgress("queries", namespace, done + 1, len(namespaces), unit="namespaces"))


def _held_out_of(session: Session, plan: Plan, namespace: str) -> Queries:
    wanted = session.spec.checks.recall.sample
    span = KeyRange(namespace)
    pages = listed_ids(session.staged(plan), plan, span)
    rows, drawn = _draw(namespace, session.source.list_ids(span) if pages is None else pages, wanted * _CANDIDATES)
    fetched = drawn[:wanted]
    batch = session.source.fetch(namespace, fetched)
    if batch.column("vector").null_count:
        fetched, batch = drawn, session.source.fetch(namespace, drawn)
    refuse_invalid(batch)  # a query that holds NaN would be kept, and fail every run to come
    dense = batch.filter(batch.column("vector").is_valid())
    # The only record that can be found is its own only neighbour: it may find itself.
    alone = len(dense) == 1 and len(fetched) == rows
    batch = dense.slice(0, wanted)
    ids = batch.column("id").to_pylist()
    own: list[str | None] = [None] * len(ids) if alone else [*ids]
    nothing = [None] * len(ids)
    return Queries([namespace] * len(ids), vectors_of(batch), own, nothing, [False] * len(ids))


def _draw(namespace: str, pages: Iterable[Sequence[str]], most: int) -> tuple[int, list[str]]:
    """How many ids there are, and the `most` of them whose keys hash lowest, in that order."""
    rows, best = 0, list[tuple[int, str]]()
    for page in pages:
        rows += len(page)
        best = heapq.nsmallest(most, [*best, *((order_hash(namespace, id_), id_) for id_ in page)])
    return rows, [id_ for _, id_ in best]
