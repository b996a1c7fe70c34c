"""Postgres store: what a store of PostgreSQL is, whatever its tables look like: sessions, server, size on disk."""

from collections.abc import Callable
from typing import TypeVar

from vectorferry.core.model import Capacity, Usage
from vectorferry.stores.base import StoreOptions, VectorStore
from vectorferry.stores.caller import Caller
from vectorferry.stores.pgvector.requirements import SERVER, Server
from vectorferry.stores.pgvector.sessions import Session, Sessions
from vectorferry.stores.pgvector.sql import SIZES
from vectorferry.stores.pgvector.statements import VectorType, rows_of

T = TypeVar("T")

INDEXED_ROWS = 200
"""Rows a statement writes into an index: HNSW takes milliseconds a row, and a statement must end well within the deadline."""
LISTED_IDS = 10_000
"""Ids a page has, and a statement deletes."""


class PostgresStore(VectorStore):
    """The part of a store that is the same for our tables and for those of others; a namespace is a value in its records in both."""

    def __init__(self, sessions: Sessions, collection: str, options: StoreOptions, caller: Caller | None) -> None:
        self._sessions = sessions
        self._collection = collection
        self._options = options
        self._call = caller or Caller()
        self._vectors = VectorType()

    @property
    def usage(self) -> Usage:
        """Transactions counted by the caller."""
        return self._call.usage

    def server_version(self) -> str:
        """Of PostgreSQL and of the extension."""
        return str(self._server())

    def pending_index(self) -> int:
        """Always 0: rows enter the index in the transaction that writes them."""
        return 0

    def close(self) -> None:
        """Close idle sessions."""
        self._sessions.close()

    # Talking to the database

    def _do(self, work: Callable[[Session], T], *, retry: bool = True) -> T:
        return self._call(lambda: self._sessions.run(work), retry=retry)

    def _server(self) -> Server:
        """What the server says of itself now."""
        return self._do(lambda session: Server(*rows_of(session, SERVER, [self._collection])[0]))

    def _capacity(self, table: str, value: str | int | None, *, what: str, count: bool) -> Capacity:
        """The size of the whole database on disk, and of one table, by an expression that takes `value`; NULL where there is none."""
        query = SIZES.format(table=table)
        size, own, read_only = self._do(lambda session: rows_of(session, query, [value]))[0]
        rows = (0 if own is None else self.count()) if count else None
        return Capacity(rows, disk=size, read_only=read_only, note=f"{own or 0:,} bytes of it are this {what}")
