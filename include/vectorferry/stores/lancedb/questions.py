"""Questions to a table, by the client's query: columns of the rows that fulfil a condition."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from lancedb.query import ColumnOrdering

from vectorferry.stores.lancedb.client import DeltaTable


def select(
    table: DeltaTable, columns: Sequence[str], clause: str, limit: int | None, *, ordered: str | None = None
) -> pa.Table:
    """The answer to `question` as a whole."""
    return question(table, columns, clause, limit, ordered).to_arrow()


def question(table: DeltaTable, columns: Sequence[str], clause: str, limit: int | None, ordered: str | None) -> Any:
    """The client's query for columns of the rows that fulfil a condition, in the order of one column; nothing is read yet."""
    query = table.search().select(list(columns)).where(clause)
    if ordered is not None:
        query = query.order_by([ColumnOrdering(column_name=ordered, ascending=True, nulls_first=True)])
    return query.limit(limit)


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column of an answer as one array."""
    made = column.combine_chunks()
    if not isinstance(made, pa.ChunkedArray):
        return made
    return pa.concat_arrays(made.chunks) if made.num_chunks else pa.nulls(0, made.type)
