"""Client: opens a database of LanceDB on a path or an object store, and gives each of its errors its meaning.

LanceDB is an engine in this process: nothing is sent anywhere but to the files, and what failed is not going on somewhere.
"""

import re
import threading
import time
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
from vectorferry.stores.lancedb.turns import Turns, turns_at

T = TypeVar("T")
DeltaTable = Any
"""An open table of LanceDB's client, whose types say less than its documentation."""
_SHORTEST = timedelta(milliseconds=100)
_STABLE_ROW_IDS: Mapping[str, str] = {"new_table_enable_stable_row_ids": "true"}
# The client raises ValueError, RuntimeError and OSError, and only their texts tell what happened: status and code of an object store where
# it answered, else what the engine says.
_STATUS, _CODE = re.compile(r"status: (\d{3})"), re.compile(r"<Code>(\w+)</Code>(?:<Message>([^<]*))?")
_OF_STATUS: Mapping[int, type[StoreError]] = {401: Unauthorized, 403: Unauthorized, 429: RateLimited}
_OF_CODE: Mapping[str, type[StoreError]] = {"NoSuchBucket": DatabaseMissing, "SlowDown": RateLimited}
_NEVER_SENT = re.compile(r"kind: Connect|Connection refused|dns error")
_MEANINGS: tuple[tuple[re.Pattern[str], type[StoreError]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), kind)
    for words, kind in (
        (r"Table '.*' already exists|Dataset already exists", AlreadyExists),
        (r"Table '.*' was not found|Dataset at path .* was not found", NotFound),
        (r"Permission denied|Operation not permitted|Read-only file system|CredentialsNotLoaded", Unauthorized),
        (r"commit conflict|concurrent transaction|preempted|retryable|No space left|Too many open files", Unavailable),
        (r"timed? ?out|HttpError|connection|deadline", OutcomeUnknown),
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

    def run(self, work: Callable[[], T], *, writing: bool = False) -> T:
        """What some work with the client gives; its errors become ours (see `meaning_of`)."""
        try:
            return work()
        except (ValueError, RuntimeError, OSError) as error:
            raise meaning_of(error, self._store, writing=writing) from error

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
        database = self.run(lambda: self._database(making=True))
        options = dict(_STABLE_ROW_IDS)
        return self.run(lambda: database.create_table(name, schema=schema, storage_options=options), writing=True)

    def drop(self, name: str) -> None:
        """Drop a table with everything in it; raises NotFound."""
        if not self.is_there():
            raise NotFound(f"there is no folder {self._uri}, and so no table", store=self._store)
        database = self.run(self._database)
        self.run(lambda: database.drop_table(name), writing=True)

    def merge(
        self, table: DeltaTable, keys: list[str], rows: pa.Table, *, only: str | None = None, insert: bool = True
    ) -> tuple[int, int]:
        """Put rows by their key, the others of a table's columns left alone; returns how many were updated and inserted.

        `only` is a condition on the row that is there. Null vectors stay null: the client's word for that, which for NaN would mean
        losing it, is safe for batches that hold none.
        """

        began = time.monotonic()

        def merge() -> tuple[int, int]:
            left = self._deadline - timedelta(seconds=time.monotonic() - began)
            made = table.merge_insert(keys).when_matched_update_all(where=only)
            made = made.when_not_matched_insert_all() if insert else made
            # By an index over the key's columns the engine inserts what another writer has inserted meanwhile, and cannot put some columns.
            done = made.use_index(False).execute(rows, on_bad_vectors="null", timeout=max(left, _SHORTEST))
            return int(done.num_updated_rows), int(done.num_inserted_rows)

        with self.turns(table).writing():
            return self.run(merge, writing=True)

    def delete(self, table: DeltaTable, clause: str) -> None:
        """Delete the rows that fulfil a condition."""
        with self.turns(table).writing():
            self.run(lambda: table.delete(clause), writing=True)

    def turns(self, table: DeltaTable) -> Turns:
        """Who writes a table in this process, and who compacts it."""
        return turns_at(self._uri, table.name)

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


def meaning_of(error: Exception, store: str, *, writing: bool) -> StoreError:
    """An error of the client as one of ours. What only reads has written nothing, whatever became of it."""
    text = str(error)
    kind = _kind_of(text, error)
    if kind is OutcomeUnknown and (not writing or _NEVER_SENT.search(text)):
        kind = Unavailable
    return kind(_told(text), store=store)


def _kind_of(text: str, error: Exception) -> type[StoreError]:
    status, code = _STATUS.search(text), _CODE.search(text)
    if code is not None and code[1] in _OF_CODE:
        return _OF_CODE[code[1]]
    if status is not None:
        number = int(status[1])
        return _OF_STATUS.get(number, OutcomeUnknown if number >= 500 else Refused)
    if isinstance(error, PermissionError):
        return Unauthorized
    return next((kind for words, kind in _MEANINGS if words.search(text)), Refused)


def _told(text: str) -> str:
    """What a person should read: the object store's own words, or the engine's without the place in its sources."""
    if (code := _CODE.search(text)) is not None:
        return f"the object store answers {code[1]}: {code[2] or 'without a word'}"
    if _NEVER_SENT.search(text):
        return "the object store cannot be reached"
    return text.split(", /", 1)[0].split(", location:", 1)[0].split("\n", 1)[0][:500]
