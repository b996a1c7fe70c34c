"""Access to one table: opened anew for each use or pinned to a version, its columns looked at once and again when they change."""

import re
import threading
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from vectorferry.core.errors import NotFound, Refused
from vectorferry.spec.connections import Connection
from vectorferry.spec.table import Table
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.caller import Caller
from vectorferry.stores.lancedb.client import Database, DeltaTable
from vectorferry.stores.lancedb.indexing import metrics_of
from vectorferry.stores.lancedb.schema import Layout, layout_of

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
"""The names that a table can have."""


class TableAccess:
    """The table that a store is at; nothing is read before it is asked for. Thread-safe."""

    def __init__(self, connection: Connection, name: str, options: StoreOptions, call: Caller, store: str) -> None:
        self.database = Database(connection, deadline=options.deadline, store=store)
        self.call, self.store = call, store
        self._name, self._options, self._table = name, options, options.table or Table()
        self._lock = threading.Lock()
        self._found: Layout | None = None
        self._schema: pa.Schema | None = None

    def do(self, work: Callable[[], T]) -> T:
        """What some reading work gives, paced, metered and tried again."""
        return self.call(lambda: self.database.run(work))

    def forget(self) -> None:
        """Have the columns looked at anew."""
        with self._lock:
            self._found = None

    def open(self) -> DeltaTable:
        """The table at its newest version; raises NotFound. To be called within `do` or `call`."""
        if not NAME.fullmatch(self._name):
            raise NotFound("no table can have such a name", store=self.store)
        table = self.database.table(self._name)
        with self._lock:
            # Dropped and made anew, or altered, since its columns were looked at.
            if self._found is not None and not table.schema.equals(self._schema, check_metadata=True):
                self._found = None
        return table

    def pinned(self) -> DeltaTable:
        """The table at one version, whatever is written meanwhile."""

        def pin() -> DeltaTable:
            table = self.open()
            table.checkout(table.version)
            return table

        return self.do(pin)

    def layout(self) -> Layout:
        """The table's columns as they were last looked at; raises NotFound, and Refused for what keeps it from being used."""
        with self._lock:
            found = self._found
        if found is None:
            found = self.do(self._look)
        return found

    def layout_now(self) -> Layout:
        """The table's columns as they are; what is written by others' columns would be lost."""
        self.do(self.open)
        return self.layout()

    def _look(self) -> Layout:
        table = self.open()
        layout, problems = layout_of(table.schema, metrics_of(table), self._table, self._options)
        if layout is None:
            raise Refused("; ".join(problems), store=self.store)
        with self._lock:
            self._found, self._schema = layout, table.schema
        return layout
