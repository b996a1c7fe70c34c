"""Writer of one table: puts, changes and deletions of rows, each in one version, and compaction when many were written."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vectorferry.core.errors import PartialWrite, Unavailable
from vectorferry.core.model import Vectors
from vectorferry.core.vector_columns import vector_array
from vectorferry.stores.batching import by_namespace, chunks
from vectorferry.stores.lancedb.access import TableAccess
from vectorferry.stores.lancedb.conditions import of_ids, still, within
from vectorferry.stores.lancedb.indexing import compact
from vectorferry.stores.lancedb.questions import select
from vectorferry.stores.lancedb.quoting import listed
from vectorferry.stores.lancedb.reader import several_records
from vectorferry.stores.lancedb.rows import Writer, id_array, ids_of, rows_of
from vectorferry.stores.lancedb.schema import Layout

_DELETED_IDS = 10_000
_COMPACTED_AFTER, _COMPACTED_AT_LEAST = 64, 256  # writes of one store


class Compaction:
    """Compaction after so many writes of a store, twice as many each time up to a limit: each makes a small file and a version."""

    def __init__(self, access: TableAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._writes, self._compact_at = 0, _COMPACTED_AFTER

    def count_write(self) -> None:
        """Count a write, and compact where it is time."""
        with self._lock:
            self._writes += 1
            due = self._writes >= self._compact_at
            if due:
                self._writes, self._compact_at = 0, min(2 * self._compact_at, _COMPACTED_AT_LEAST)
        if due:
            access, native = self._access, self._access.layout().native
            try:
                access.call(lambda: compact(access.database, access.open(), native=native), retry=False)
            except Unavailable:
                # Another process was faster: nothing is lost, and the next try is soon.
                with self._lock:
                    self._compact_at = _COMPACTED_AFTER


class TableWriter:
    """Writes rows of a table as its layout says."""

    def __init__(self, access: TableAccess, layout: Layout, compaction: Compaction) -> None:
        self._access, self._layout, self._compaction = access, layout, compaction

    def put(self, part: pa.RecordBatch) -> None:
        """Put rows in one version, in the place of those that have their keys; other columns stay. Raises PartialWrite."""
        access, layout = self._access, self._layout
        rows = Writer(layout).rows(part)
        updated, inserted = access.call(lambda: access.database.merge(access.open(), layout.on, rows))
        if updated + inserted < len(part):
            raise PartialWrite(f"{len(part)} rows were sent, {updated + inserted} acknowledged", store=access.store)
        if updated + inserted > len(part):
            for namespace, rows_of_one in by_namespace(part):
                self._keep_one(namespace, rows_of_one.column("id").to_pylist())
        self._compaction.count_write()

    def _keep_one(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete all but one of the rows that have one key, which a put has just made the same record."""
        layout, clause = self._layout, self._of(namespace, ids)
        rows = self._access.do(lambda: select(self._access.open(), [layout.id.name, "_rowid"], clause, None))
        seen: set[str] = set()
        more = [
            row
            for id_, row in zip(ids_of(layout, rows), rows.column("_rowid").to_pylist(), strict=True)
            if _again(id_, seen)
        ]
        if more:
            # By the key too: a row id of others may be another row's by now, and then one is left for the next put.
            self._delete(f"{clause} AND _rowid IN ({listed(more)})")

    def update(self, namespace: str, id_: str, vector: Vectors | None, changes: Mapping[str, Any]) -> None:
        """Change a row's columns in one version, if its overflow or struct still is what it was when it was read; else look again."""
        if not changes and vector is None:
            return
        writer, unnamed = Writer(self._layout), self._layout.unnamed
        while True:
            held, there = self._held_beside(namespace, id_)
            if not there:
                return
            columns = writer.patch(changes, held) if changes else {}
            if vector is not None and unnamed is not None:
                given = vector_array(np.asarray(vector, np.float32)[np.newaxis])
                columns[unnamed.column] = given.cast(unnamed.type)
            if self._change(namespace, id_, columns, held):
                return

    def _held_beside(self, namespace: str, id_: str) -> tuple[Any, bool]:
        """What a row's overflow or struct holds, and whether the row is there."""
        access, layout = self._access, self._layout
        column, clause = layout.together or layout.id.name, self._of(namespace, [id_])
        rows = access.do(lambda: select(access.open(), [column], clause, 2))
        if rows.num_rows > 1:
            raise several_records(access.store, namespace, id_)
        held = rows.column(column)[0].as_py() if rows.num_rows and layout.together else None
        return held, rows.num_rows == 1

    def _change(self, namespace: str, id_: str, columns: Mapping[str, pa.Array], held: Any) -> bool:
        """Write columns of one row unless its overflow or struct is another one by now."""
        access, layout = self._access, self._layout
        key: dict[str, pa.Array] = {layout.id.name: id_array(layout, [id_])}
        if layout.namespace is not None:
            key[layout.namespace.name] = pa.array([namespace], layout.namespace.type)
        only = still(layout, held) if layout.together in columns else None
        rows = rows_of(layout, {**key, **columns})
        done = access.call(lambda: access.database.merge(access.open(), layout.on, rows, only=only, insert=False))
        self._compaction.count_write()
        return done[0] > 0

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete rows by their ids, some thousand at a time."""
        for part in chunks(list(dict.fromkeys(ids)), _DELETED_IDS):
            self._delete(self._of(namespace, part))

    def _delete(self, clause: str) -> None:
        self._access.call(lambda: self._access.database.delete(self._access.open(), clause))
        self._compaction.count_write()

    def _of(self, namespace: str, ids: Sequence[str]) -> str:
        return f"{within(self._layout, namespace)} AND {of_ids(self._layout, ids)}"


def _again(id_: str, seen: "set[str]") -> bool:
    """Whether an id was seen before; from now on it is."""
    if id_ in seen:
        return True
    seen.add(id_)
    return False
