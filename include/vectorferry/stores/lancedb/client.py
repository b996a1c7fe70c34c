"""Client: opens a database of LanceDB on a path or an object store, and gives each of its errors its meaning.

LanceDB is an engine in this process: nothing is sent anywhere but to the files, and what failed is not going on somewhere.
"""

import re
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import lancedb
import orjson
import pyarrow as pa

from vectorferry.core.errors import (
    AlreadyExists,
    ConnectionMissing,
    DatabaseMissing,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
)
from vectorferry.spec.connections import Connection

T = TypeVar("T")
DeltaTable = Any
"""An open table of LanceDB's client, whose types say less than its documentation."""
_STABLE_ROW_IDS: Mapping[str, str] = {"new_table_enable_stable_row_ids": "true"}
# Of the client's texts: it raises ValueError, RuntimeError and OSError, and no code tells them apart.
_NOT_LET_IN = (
    r"Permission denied|Operation not permitted|Read-only file system|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"
    r"|Unauthenticated|\b40[13] |Forbidden|CredentialsNotLoaded|no valid credentials"
)
_AWAY = (
    r"error sending request|Connection refused|connection error|connect error|dns error|tcp connect|\b50[0234] |No space left"
    r"|Too many open files"
)
_MEANINGS: tuple[tuple[re.Pattern[str], type[StoreError]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), kind)
    for words, kind in (
        (r"Table '.*' already exists|Dataset already exists", AlreadyExists),
        (r"Table '.*' was not found|Dataset at path .* was not found", NotFound),
        (r"NoSuchBucket", DatabaseMissing),
        (_NOT_LET_IN, Unauthorized),
        (r"SlowDown|TooManyRequests|\b429 ", RateLimited),
        (r"commit conflict|concurrent|preempted|retryable", Unavailable),
        (_AWAY, Unavailable),
        (r"timed? ?out|deadline", OutcomeUnknown),
    )
)


class Database:
    """One database, opened when it is first asked for; every call raises StoreErrors only. Thread-safe."""

    def __init__(self, connection: Connection, *, deadline: float, store: str) -> None:
        self._uri = uri_of(connection)
        self._options = storage_options(connection, deadline)
        self._deadline = timedelta(seconds=deadline)
        self._store = store
        self._lock = threading.Lock()
        self._opened: Any = None

    def run(self, work: Callable[[], T]) -> T:
        """What some work with the client gives; its errors become ours."""
        try:
            return work()
        except (ValueError, RuntimeError, OSError) as error:
            raise meaning_of(error, self._store) from error

    def names(self) -> list[str]:
        """The names of all tables."""

        def read() -> list[str]:
            made, database, token = list[str](), self._database(), None
            while True:
                found = database.list_tables(page_token=token, limit=1000)
                made += found.tables
                token = found.page_token
                if not token:
                    return made

        return self.run(read) if self.is_there() else []

    def table(self, name: str) -> DeltaTable:
        """A table at its newest version; raises NotFound."""
        if not self.is_there():
            raise NotFound(f"there is no folder {self._uri}, and so no table", store=self._store)
        return self.run(lambda: self._database().open_table(name))

    def create(self, name: str, schema: pa.Schema) -> DeltaTable:
        """A new, empty table. Raises AlreadyExists."""
        return self.run(
            lambda: self._database(making=True).create_table(name, schema=schema, storage_options=dict(_STABLE_ROW_IDS))
        )

    def drop(self, name: str) -> None:
        """Drop a table with everything in it; raises NotFound."""
        if not self.is_there():
            raise NotFound(f"there is no folder {self._uri}, and so no table", store=self._store)
        self.run(lambda: self._database().drop_table(name))

    def merge(
        self, table: DeltaTable, keys: list[str], rows: pa.Table, *, only: str | None = None, insert: bool = True
    ) -> tuple[int, int]:
        """Put rows by their key, the others of a table's columns left alone; returns how many were updated and inserted.

        `only` is a condition on the row that is there. Null vectors stay null: the client's word for that, which for NaN would mean
        losing it, is safe for batches that hold none.
        """

        def merge() -> tuple[int, int]:
            made = table.merge_insert(keys).when_matched_update_all(where=only)
            made = made.when_not_matched_insert_all() if insert else made
            done = made.execute(rows, on_bad_vectors="null", timeout=self._deadline)
            return int(done.num_updated_rows), int(done.num_inserted_rows)

        return self.run(merge)

    def is_there(self) -> bool:
        """Whether the database's folder is there: the client would make it, and a mistyped path read as empty."""
        return "://" in self._uri or Path(self._uri).is_dir()

    def _database(self, *, making: bool = False) -> Any:
        with self._lock:
            if self._opened is None:
                assert making or self.is_there()
                self._opened = lancedb.connect(
                    self._uri, storage_options=dict(self._options) or None, read_consistency_interval=timedelta(0)
                )
            return self._opened


def uri_of(connection: Connection) -> str:
    """Where the database lies: `uri` of the extra, or the schema. Raises ConnectionMissing."""
    uri = str(connection.extra.get("uri") or connection.schema)
    if not uri or ("://" not in uri and not Path(uri).is_absolute()):
        raise ConnectionMissing(
            f"connection {connection.name!r} needs `uri` in its extra: an absolute path, or s3://bucket/prefix and the like"
        )
    return uri


def storage_options(connection: Connection, deadline: float) -> dict[str, str]:
    """What the object store needs: `storage_options` of the extra over the keys of an aws connection; nothing for a path."""
    if "://" not in uri_of(connection):
        return {}
    extra, given = connection.extra, connection.extra.get("storage_options") or {}
    try:
        given = orjson.loads(given) if isinstance(given, str) else given
    except ValueError:
        given = None
    if not isinstance(given, Mapping):
        raise ConnectionMissing(f"connection {connection.name!r}: storage_options is no mapping of names to values")
    aws = {
        "aws_access_key_id": connection.login or extra.get("aws_access_key_id"),
        "aws_secret_access_key": connection.password or extra.get("aws_secret_access_key"),
        "aws_session_token": extra.get("aws_session_token"),
        "region": extra.get("region_name"),
        "endpoint": extra.get("endpoint_url"),
    }
    # The object store's own retries are few and short: the caller retries, paced and metered.
    times = {
        "connect_timeout": "5s",
        "timeout": f"{deadline:g}s",
        "client_max_retries": "1",
        "client_retry_timeout": f"{min(deadline, 10.0):.0f}",
    }
    return times | {key: str(value) for key, value in {**aws, **given}.items() if value}


def meaning_of(error: Exception, store: str) -> StoreError:
    """An error of the client as one of ours; its text tells what it is, for no code does."""
    text = str(error)
    kind = next((kind for words, kind in _MEANINGS if words.search(text)), Refused)
    if kind is Refused and isinstance(error, PermissionError):
        kind = Unauthorized
    return kind(_first_line(text), store=store)


def _first_line(text: str) -> str:
    # What follows is the place in the vendor's own sources.
    return text.split(", /", 1)[0].split("\n", 1)[0][:500]
