"""Search in a table at one version: the nearest by an index or by all rows, and the rows that pass a filter."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import Filter, fields_of, matches
from vectorferry.core.model import Metric, Neighbours, Vectors
from vectorferry.core.records import parse_json
from vectorferry.core.similarity import dense_scores
from vectorferry.core.vector_columns import floats_of, present
from vectorferry.stores.lancedb.access import TableAccess
from vectorferry.stores.lancedb.client import DeltaTable
from vectorferry.stores.lancedb.conditions import of_ids, within
from vectorferry.stores.lancedb.filters import NEVER, compile_filter
from vectorferry.stores.lancedb.indexing import DISTANCES, INDEXED_ROWS, indexed_columns
from vectorferry.stores.lancedb.questions import flat, select
from vectorferry.stores.lancedb.quoting import quoted
from vectorferry.stores.lancedb.rows import Reader, ids_of
from vectorferry.stores.lancedb.schema import Layout, VectorIn

_DOUBTFUL = 20_000  # rows that a filter looks at one by one
_REFINED = 10  # candidates that are compared exactly, as a multiple of k


@dataclass(frozen=True, slots=True)
class _Asked:
    """A search: the vector, queries, k, effort, and the condition on rows."""

    vector: VectorIn
    queries: Vectors
    k: int
    effort: int | None
    clause: str


class TableSearch:
    """Searches one pinned version of a table as its layout says."""

    def __init__(self, access: TableAccess, table: DeltaTable, layout: Layout) -> None:
        self._access, self._table, self._layout = access, table, layout

    def matching(self, namespace: str, where: Filter, limit: int) -> frozenset[str]:
        """Ids that pass a filter, the first in key order."""
        name = self._layout.id.name
        clause = self._clause(namespace, where)
        rows = self._access.do(lambda: select(self._table, [name], clause, limit, ordered=name))
        return frozenset(ids_of(self._layout, rows))

    def _clause(self, namespace: str, where: Filter | None) -> str:
        own = within(self._layout, namespace)
        return own if where is None else f"{own} AND {self._filtered(namespace, where)}"

    def _filtered(self, namespace: str, where: Filter) -> str:
        """A filter as a condition; rows that no column tells are read, and named by their ids where they pass."""
        access, layout = self._access, self._layout
        compiled = compile_filter(where, layout)
        if compiled.doubtful == NEVER:
            return f"({compiled.sure})"
        clause = f"{within(layout, namespace)} AND ({compiled.doubtful})"
        names = [layout.id.name, *dict.fromkeys(each.path[0] for each in layout.keys)]
        names += [layout.overflow] if layout.overflow else []
        rows = access.do(lambda: select(self._table, names, clause, _DOUBTFUL + 1))
        if rows.num_rows > _DOUBTFUL:
            raise FilterError(
                f"more than {_DOUBTFUL:,} records have {' or '.join(map(repr, sorted(fields_of(where))))} where SQL does not see it: "
                "declare the field before the table is made"
            )
        ids = ids_of(layout, rows)
        texts = Reader(access.store, layout).metadata(namespace, ids, rows)
        passing = [id_ for id_, text in zip(ids, texts, strict=True) if matches(where, parse_json(text))]
        either = f" OR {of_ids(layout, passing)}" if passing else ""
        return f"((NOT ({compiled.doubtful}) AND {compiled.sure}){either})"

    def nearest(
        self, namespace: str, vector: VectorIn, queries: Vectors, k: int, where: Filter | None, effort: int | None
    ) -> Neighbours:
        """The k nearest: all rows are compared where they are few, else the index is asked, and all where it finds too few."""
        clause = f"{self._clause(namespace, where)} AND {quoted(vector.column)} IS NOT NULL"
        asked = _Asked(vector, queries, k, effort, clause)
        candidates = self._access.do(lambda: self._table.count_rows(clause))
        few = candidates <= INDEXED_ROWS
        indexed = not few and bool(self._access.do(lambda: indexed_columns(self._table)).get(vector.column))
        lines = [self._line(asked, query, few=few, indexed=indexed) for query in queries]
        return Neighbours.of(lines)

    def _line(self, asked: _Asked, query: Vectors, *, few: bool, indexed: bool) -> list[tuple[str, float]]:
        """The nearest of one query, best first."""
        access, table, layout, column = self._access, self._table, self._layout, asked.vector.column
        rows = access.do(lambda: _found(table, layout, asked, query, indexed=indexed))
        if indexed and rows.num_rows < asked.k:
            rows = access.do(lambda: _found(table, layout, asked, query, indexed=False))
        line = _ranked(layout, asked, query, rows)
        if few and asked.vector.metric is Metric.COSINE and (len(line) < asked.k or line[-1][1] <= 0):
            # LanceDB finds no vector of zeros under cosine: its similarity to all is 0.
            every = access.do(lambda: select(table, [layout.id.name, column], asked.clause, INDEXED_ROWS))
            line = _ranked(layout, asked, query, every)
        return line


def _found(table: DeltaTable, layout: Layout, asked: _Asked, query: Vectors, *, indexed: bool) -> pa.Table:
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
    column = flat(rows.column(asked.vector.column))
    vectors = floats_of(column.cast(pa.list_(pa.float32(), asked.vector.dimension)))[present(column)]
    scores = dense_scores(asked.vector.metric, query[np.newaxis], vectors)[0]
    ids = ids_of(layout, rows)
    order = sorted(range(len(ids)), key=lambda place: (-scores[place], ids[place]))[: asked.k]
    return [(ids[place], float(scores[place])) for place in order]
