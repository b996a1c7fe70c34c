"""Client of an SQLite file: reads and writes its two tables, a transaction and a connection for each call."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import orjson

from vectorferry.core.errors import AlreadyExists, NotFound, Refused, StoreError, Unavailable
from vectorferry.core.model import CollectionDefinition, FieldType, Metric
from vectorferry.core.records import canonical_json, parse_json

Row = tuple[Any, ...]
_AWAY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_LOCKED}
# Text is compared by its bytes, as the protocol wants it: that is SQLite's default collation.
_TABLES = (
    "create table if not exists collections (name text primary key, definition text not null) without rowid",
    """create table if not exists records (collection text, namespace text, id text, vector blob, sparse text,
        metadata text not null, primary key (collection, namespace, id)) without rowid""",
)


class SqliteClient:
    """One file by its path; `store` names the collection in errors. Methods raise StoreErrors only, and may be called by any thread."""

    def __init__(self, path: str, store: str) -> None:
        self._path = path
        self._store = store

    def create(self, collection: str, definition: CollectionDefinition) -> None:
        """Add a collection. Raises AlreadyExists."""
        text = orjson.dumps(definition, option=orjson.OPT_NON_STR_KEYS).decode()
        with self._transaction() as db:
            if db.execute("select 1 from collections where name = ?", (collection,)).fetchone():
                raise AlreadyExists("the collection exists", store=self._store)
            db.execute("insert into collections values (?, ?)", (collection, text))

    def drop(self, collection: str) -> None:
        """Remove a collection and its records; one that is not there is no error."""
        with self._transaction() as db:
            db.execute("delete from records where collection = ?", (collection,))
            db.execute("delete from collections where name = ?", (collection,))

    def definition(self, collection: str) -> CollectionDefinition:
        """What the collection was created with. Raises NotFound."""
        found = self.read("select definition from collections where name = ?", collection)
        if not found:
            raise NotFound("no such collection", store=self._store)
        raw = orjson.loads(found[0][0])
        fields = {name: FieldType(kind) for name, kind in raw["fields"].items()}
        return CollectionDefinition(raw["dimension"], Metric(raw["metric"]), fields, raw["index"])

    def read(self, sql: str, *values: str) -> list[Row]:
        """All rows of a query."""
        with self._transaction("begin") as db:
            return db.execute(sql, values).fetchall()

    def put(self, collection: str, rows: Sequence[Row]) -> int:
        """Replace whole records, each (namespace, id, vector, sparse, metadata); returns how many the database took."""
        with self._transaction() as db:
            sql = "insert or replace into records values (?, ?, ?, ?, ?, ?)"
            return db.executemany(sql, [(collection, *row) for row in rows]).rowcount

    def merge(self, collection: str, row: Row) -> None:
        """Change a record: a vector replaces its own where there is one, metadata is merged over its own."""
        namespace, id_, vector, _, metadata = row
        sql = (
            "update records set vector = coalesce(?, vector), metadata = merged(metadata, ?) "
            "where collection = ? and namespace = ? and id = ?"
        )
        with self._transaction() as db:
            db.execute(sql, (vector, metadata, collection, namespace, id_))

    def delete(self, collection: str, namespace: str, ids: Sequence[str]) -> None:
        """Delete by id."""
        with self._transaction() as db:
            sql = "delete from records where collection = ? and namespace = ? and id = ?"
            db.executemany(sql, [(collection, namespace, id_) for id_ in ids])

    @contextmanager
    def _transaction(self, begin: str = "begin immediate") -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as db:
                db.create_function("merged", 2, _merged, deterministic=True)
                for table in _TABLES:
                    db.execute(table)
                db.execute(begin)
                yield db
                db.execute("commit")
        except sqlite3.Error as error:
            raise self._meaning(error) from error

    def _meaning(self, error: sqlite3.Error) -> StoreError:
        away = getattr(error, "sqlite_errorcode", None) in _AWAY
        return (Unavailable if away else Refused)(f"{self._path}: {error}", store=self._store)


def _merged(old: str, new: str) -> str:
    return canonical_json(parse_json(old) | parse_json(new))
