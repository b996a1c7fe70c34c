"""Writing tables of others: rows by INSERT … ON CONFLICT, changes under a row's lock, and never a column that is no part of a record."""

# ruff: noqa: S608 (names are quoted by the layout; every value is a parameter)

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import psycopg
import pyarrow as pa

from vectorferry.core.errors import Refused
from vectorferry.core.model import Rejection
from vectorferry.core.records import canonical_json, parse_json, vectors_of
from vectorferry.core.stored_json import as_canonical
from vectorferry.core.vector_columns import dimension_of_type, floats_of
from vectorferry.stores.pgvector.layout import Layout
from vectorferry.stores.pgvector.quoting import quoted
from vectorferry.stores.pgvector.sessions import Session
from vectorferry.stores.pgvector.statements import VectorType, execute, rows_of
from vectorferry.stores.pgvector.table_keys import lookup_names, of_ids, texts_of
from vectorferry.stores.pgvector.table_rows import Writer, column_of, sparse_texts
from vectorferry.stores.pgvector.table_sql import assigned, put
from vectorferry.stores.row_limits import without

T = TypeVar("T")
BEYOND = "the row would not fulfil `table.where`, and so not be there"
_OF_ROWS = ("22", "23")  # SQLSTATE classes of what a row's own values cause: data exceptions, violated constraints


class Call(Protocol):
    """Runs some work in a transaction, and again where trying again may mend."""

    def __call__(self, work: Callable[[Session], T], /) -> T: ...  # noqa: D102


class NotVisible(Exception):
    """Rows that were put and do not fulfil the spec's condition, by their key's texts: the transaction is undone."""

    def __init__(self, keys: Sequence[tuple[str, ...]]) -> None:
        super().__init__("rows beyond the condition")
        self.keys = keys


class TableWrites:
    """Writes of one table; `name` is the store's for messages, `call` runs some work in a transaction."""

    def __init__(self, name: str, vectors: VectorType, call: Call) -> None:
        self._name = name
        self._vectors = vectors
        self._call = call

    def put(self, layout: Layout, batch: pa.RecordBatch) -> list[Rejection]:
        """Put a slice; returns the rows that the database alone can refuse, and puts all others."""
        while len(batch):
            try:
                return self._call(lambda session: self._insert(session, layout, batch))
            except NotVisible as error:
                gone = [row for row, key in enumerate(_keys(layout, batch)) if key in error.keys]
                hidden = [rejection(batch, row, BEYOND) for row in gone]
                return [*hidden, *self.put(layout, without(batch, hidden))]
            except Refused as error:
                if _state(error)[:2] not in _OF_ROWS:
                    raise
                if len(batch) == 1:
                    return [rejection(batch, 0, str(error.__cause__).split("\n", 1)[0])]
                half = len(batch) // 2
                return [*self.put(layout, batch.slice(0, half)), *self.put(layout, batch.slice(half))]
        return []

    def merge(self, session: Session, layout: Layout, patch: pa.RecordBatch) -> None:
        """Change a row's columns under its lock. Raises Refused where it would no longer fulfil the spec's condition."""
        namespace, id_ = (patch.column(name)[0].as_py() for name in ("namespace", "id"))
        clause, values = of_ids(layout, namespace, [id_])
        rest = f"coalesce({quoted(layout.metadata.name)}::text, '{{}}')" if layout.metadata else "'{}'"
        there = rows_of(session, f"SELECT {rest} FROM {layout.table} WHERE {clause} FOR UPDATE", values)
        if not there:
            return
        changes = parse_json(patch.column("metadata")[0].as_py())
        split = Writer(layout).split(changes, partial=True)
        columns = [each.column for each in layout.columns if each.key in changes]
        texts = [text for text, each in zip(split.columns, layout.columns, strict=True) if each.key in changes]
        if layout.metadata and changes:
            place = f"{self._name}, namespace {namespace or '(default)'}, id {id_}"
            kept = {k: v for k, v in parse_json(as_canonical(there[0][0], place)).items() if k not in changes}
            columns.append(layout.metadata)
            texts.append(canonical_json(kept | parse_json(split.rest or "{}")))
        if columns:
            execute(f"UPDATE {layout.table} SET {assigned(columns)} WHERE {clause}", [*texts, *values], session)
        if layout.vector and patch.column("vector").null_count == 0:
            dense = self._vectors.parameter(session, vectors_of(patch))
            name, cast = quoted(layout.vector.name), layout.vector.cast
            execute(f"UPDATE {layout.table} SET {name} = (%s)[1]::{cast} WHERE {clause}", [dense, *values], session)
        if not rows_of(session, f"SELECT 1 FROM {layout.table} WHERE {clause}", values):
            raise Refused(BEYOND, store=self._name)

    def _insert(self, session: Session, layout: Layout, batch: pa.RecordBatch) -> list[Rejection]:
        if layout.lookup is not None:
            _make_names(session, layout, batch)
        arrays: list[Any] = _arrays(layout, batch)
        for stored in layout.dense:
            dense, valid = self._dense(session, column_of(batch, stored), len(batch))
            arrays += [dense, valid]
        rows = rows_of(session, put(layout), arrays)
        put_keys = {tuple(row[:-1]): row[-1] for row in rows}
        if hidden := [key for key, visible in put_keys.items() if not visible]:
            raise NotVisible(hidden)
        reason = "a row of another namespace has this id, or a trigger of the table keeps the row out"
        return [rejection(batch, row, reason) for row, key in enumerate(_keys(layout, batch)) if key not in put_keys]

    def _dense(self, session: Session, column: pa.Array | None, rows: int) -> tuple[Any, list[bool]]:
        """Dense vectors as a parameter, and which of them are there."""
        if column is None or dimension_of_type(column.type) is None:
            return [None] * rows, [False] * rows
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        # What stands in the place of a vector that is not there may be no number at all.
        vectors = np.where(valid[:, np.newaxis], floats_of(column), np.float32(0))
        return self._vectors.parameter(session, vectors), valid.tolist()


def _arrays(layout: Layout, batch: pa.RecordBatch) -> list[Any]:
    """The texts of each written column, in the order of `written`."""
    writer = Writer(layout)
    keys = [writer.key(*key) for key in zip(*(batch.column(c).to_pylist() for c in ("namespace", "id")), strict=True)]
    splits = [writer.split(parse_json(text)) for text in batch.column("metadata").to_pylist()]
    arrays: list[Any] = [[key[0][place] for key in keys] for place in range(len(layout.key))]
    if layout.namespace:
        arrays.append([key[1] for key in keys])
    arrays += [sparse_texts(batch, each) for each in layout.sparse_vectors]
    if layout.metadata:
        arrays.append([each.rest for each in splits])
    arrays += [[each.columns[place] for each in splits] for place in range(len(layout.columns))]
    return arrays


def _keys(layout: Layout, batch: pa.RecordBatch) -> list[tuple[str, ...]]:
    return [texts_of(layout.key, id_) for id_ in batch.column("id").to_pylist()]


def _make_names(session: Session, layout: Layout, batch: pa.RecordBatch) -> None:
    """Have the batch's namespaces be there in the table that rows point to."""
    table, key, name = lookup_names(layout)
    names = sorted({*batch.column("namespace").to_pylist()} - {""})
    missing = (
        f"SELECT wanted FROM unnest(%s::text[]) AS asked (wanted)"
        f" WHERE NOT EXISTS (SELECT FROM {table} AS named WHERE named.{name} = wanted)"
    )
    if rows_of(session, missing, [names]):
        # Two that meet a new namespace at once would both make it.
        execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [table], session)
        execute(
            f"INSERT INTO {table} ({key}, {name}) SELECT gen_random_uuid(), wanted FROM ({missing}) AS lacking",
            [names],
            session,
        )


def rejection(batch: pa.RecordBatch, row: int, reason: str) -> Rejection:
    """A row of a batch that is not taken."""
    return Rejection(row, batch.column("namespace")[row].as_py(), batch.column("id")[row].as_py(), reason)


def _state(error: Refused) -> str:
    cause = error.__cause__
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""
