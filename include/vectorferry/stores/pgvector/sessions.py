"""Sessions on one PostgreSQL database, and the meaning of its errors."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from vectorferry.core.errors import (
    AlreadyExists,
    DatabaseMissing,
    NotFound,
    OutcomeUnknown,
    Refused,
    StoreError,
    Unauthorized,
    Unavailable,
)
from vectorferry.core.server_words import database_missing, login_refused
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import postgres_host

T = TypeVar("T")
Session = psycopg.Connection[tuple[Any, ...]]

_CONNECT_SECONDS = 5
_AS_TEXT = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=1"
# SQLSTATE or its class (https://www.postgresql.org/docs/current/errcodes-appendix.html); the longest match decides.
_MEANINGS: Mapping[str, type[StoreError]] = {
    "08": Unavailable,
    "28": Unauthorized,
    "3D000": DatabaseMissing,
    "3F000": DatabaseMissing,
    "40": Unavailable,
    "42501": Unauthorized,
    "42P01": NotFound,
    "42P07": AlreadyExists,
    "53": Unavailable,
    "55P03": Unavailable,
    "57": Unavailable,
    "58": Unavailable,
}


class Sessions:
    """Open sessions to one database, reused; as many as there are threads that ask at once. Thread-safe."""

    def __init__(self, connection: Connection, *, deadline: float, store: str) -> None:
        self._parameters = _parameters(connection, deadline)
        self._store = store
        self._lock = threading.Lock()
        self._idle: list[Session] = []

    def run(self, work: Callable[[Session], T]) -> T:
        """Do some work in one transaction and commit it.

        Whatever fails before COMMIT is sent was definitely not written. A lost connection after that is OutcomeUnknown.
        """
        with self._lease() as session:
            try:
                session.execute("BEGIN")
                result = work(session)
            except psycopg.Error as error:
                raise _translated(error, self._store) from error
            self._commit(session)
            return result

    def close(self) -> None:
        """Close the sessions that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _commit(self, session: Session) -> None:
        try:
            session.execute("COMMIT")
        except psycopg.Error as error:
            meaning = _translated(error, self._store)
            if isinstance(meaning, Unavailable):
                raise OutcomeUnknown(f"the answer to COMMIT is missing: {error}", store=self._store) from error
            raise meaning from error

    @contextmanager
    def _lease(self) -> Iterator[Session]:
        session = self._take()
        try:
            yield session
        except BaseException:
            self._discard(session)
            raise
        self._give_back(session)

    def _take(self) -> Session:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return psycopg.connect(**self._parameters)
        except psycopg.OperationalError as error:
            raise _not_connected(error, self._store) from error

    def _give_back(self, session: Session) -> None:
        with self._lock:
            self._idle.append(session)

    def _discard(self, session: Session) -> None:
        """After an error: close the session, which rolls back; if it was lost, the idle ones are as likely to be."""
        lost = session.broken
        session.close()
        if lost:
            self.close()


def _search_path(connection: Connection) -> str:
    # New tables go to the first; the extension's types live in public, or where the connection says.
    places = (
        connection.extra.get("schema") or "public",
        "public",
        connection.extra.get("extension_schema") or "public",
    )
    return ",".join(dict.fromkeys(map(str, places)))


def _parameters(connection: Connection, deadline: float) -> dict[str, Any]:
    milliseconds = int(deadline * 1000)
    tls = {key: value for key, value in connection.extra.items() if key.startswith("ssl")}
    host = postgres_host(connection)
    return {
        "host": host.name,
        "port": host.port or 5432,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema or connection.login,
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": milliseconds,
        # One schema, named: by default a session looks in one that is called like its user first, and whoever creates that
        # schema later (the journal does, in its own database) would hide the collections from every new session.
        # How values are written as text must not depend on how the server is set up.
        "options": f"-c statement_timeout={milliseconds} -c search_path={_search_path(connection)} {_AS_TEXT}",
        "application_name": "vectorferry",
        "client_encoding": "utf8",
        # Plans depend on the namespace's size; and poolers that share sessions do not know prepared statements.
        "prepare_threshold": None,
        "autocommit": True,
        **tls,
    }


def _not_connected(error: psycopg.OperationalError, store: str) -> StoreError:
    text = " ".join(str(error).split())
    if login_refused(text):
        return Unauthorized(text, store=store)
    return (DatabaseMissing if database_missing(text) else Unavailable)(text, store=store)


def _translated(error: psycopg.Error, store: str) -> StoreError:
    state = error.sqlstate
    text = error.diag.message_primary or str(error)
    if state is None:
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        return (Unavailable if lost else Refused)(text, store=store)
    return (_MEANINGS.get(state) or _MEANINGS.get(state[:2]) or Refused)(f"{text} ({state})", store=store)
