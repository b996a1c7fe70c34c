"""Searching tables of others: exact where there is no index or few candidates, else by the index, and exact where that finds too few."""

# ruff: noqa: S608 (names are quoted by the layout; every value is a parameter)

from collections.abc import Mapping
from typing import Any

from vectorferry.core.filters import Filter
from vectorferry.core.model import Queries, VectorKind
from vectorferry.stores.obstacles import dense_queries
from vectorferry.stores.pgvector.catalog import SearchIndex
from vectorferry.stores.pgvector.layout import Layout, Stored
from vectorferry.stores.pgvector.quoting import quoted
from vectorferry.stores.pgvector.sessions import Session
from vectorferry.stores.pgvector.statements import EXACT_ROWS, Tuning, VectorType, rows_of
from vectorferry.stores.pgvector.table_keys import within
from vectorferry.stores.pgvector.table_rows import sparse_text
from vectorferry.stores.pgvector.table_sql import filtered, nearest


class TableSearch:
    """Searches of one table; `name` is the store's for messages."""

    def __init__(self, name: str, vectors: VectorType) -> None:
        self._name = name
        self._vectors = vectors
        self._tuning = Tuning()

    def nearest(
        self,
        session: Session,
        layout: Layout,
        searched: Stored,
        namespace: str,
        wanted: tuple[Queries, int, Filter | None, int | None],
    ) -> list[Any]:
        """Rows of (query's place from 1, the key's texts, distance), best first; `wanted` are queries, k, filter and effort."""
        queries, k, where, effort = wanted
        clause, values = within(layout, namespace)
        more, operands = filtered(layout, where) if where else ("true", [])
        clause, values = f"{clause} AND {quoted(searched.column.name)} IS NOT NULL AND {more}", [*values, *operands]
        asked = self._queries(session, searched, queries)
        if searched.index and self._are_many(session, layout, clause, values):
            self._tune(session, searched.index, k, effort)
            found = rows_of(session, nearest(layout, searched, clause, exact=False), [asked, *values, k])
            if len(found) == k * len(queries):
                return found
        return rows_of(session, nearest(layout, searched, clause, exact=True), [asked, *values, k])

    def _queries(self, session: Session, searched: Stored, queries: Queries) -> Any:
        """What is asked, as the parameter of `nearest`."""
        if searched.kind is VectorKind.DENSE:
            return self._vectors.parameter(session, dense_queries(queries, self._name))
        texts = [sparse_text(query, searched.column.modifier) for query in queries if isinstance(query, Mapping)]
        return "{" + ",".join(f'"{text}"' for text in texts) + "}"

    def _tune(self, session: Session, index: SearchIndex, k: int, effort: int | None) -> None:
        if index.method == "hnsw":
            self._tuning.set_up(session, k, effort)
        elif effort is not None:
            session.execute(f"SET LOCAL ivfflat.probes = {max(int(effort), 1)}")

    def _are_many(self, session: Session, layout: Layout, clause: str, values: list[Any]) -> bool:
        query = f"SELECT count(*) > {EXACT_ROWS} FROM (SELECT 1 FROM {layout.table} WHERE {clause} LIMIT {EXACT_ROWS + 1}) AS candidates"
        return bool(rows_of(session, query, values)[0][0])
