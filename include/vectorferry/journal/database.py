"""The connection to the journal's PostgreSQL: transactions, single statements, and what its failures are called."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from psycopg import OperationalError as DriverError
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import exc

from vectorferry.core.errors import ConnectionMissing, JournalError, JournalRefused, JournalUnavailable
from vectorferry.core.server_words import database_missing, login_refused
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import postgres_host

# The journal's statements take milliseconds. One that does not is stuck behind a lock or a dead network, and a worker
# that waits for it outlives its lease.
TIMEOUTS = {
    "connect_timeout": "5",
    "tcp_user_timeout": "10000",
    "options": "-c search_path=pg_catalog -c timezone=UTC "
    "-c statement_timeout=20s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
    "application_name": "vectorferry",
}
RESTED_SECONDS = 0.2
# Classes of SQLSTATE: connection, transaction rollback, insufficient resources, operator intervention, system error.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGES = frozenset({"08", "40", "53", "57", "58"})
# A lock that was not had in time, and a standby that takes no writes yet.
_PASSING = frozenset({"55P03", "25006"})
_CANCELLED = "57014"
_USED = "vectorferry_used"
PASSED_ON = (*TIMEOUTS, "sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "target_session_attrs")


class Database:
    """One pool of connections. Thread-safe; a forked child gets connections of its own.

    With `"pooler": true` in its extra the connection leads to a pooler that lends a server's connection for one transaction, as
    PgBouncer does: nothing is prepared there, no startup options are sent, and nobody hears of news.
    """

    def __init__(self, connection: Connection) -> None:
        if connection.type != "postgres":
            raise ConnectionMissing(
                f"connection {connection.name!r} is of type {connection.type}: the journal is PostgreSQL"
            )
        host = postgres_host(connection)
        self.where = f"{host.at(host.port or 5432)}/{connection.schema}"
        self._name = connection.name
        self._pooled = str(connection.extra.get("pooler", "")).lower() in ("true", "1")
        self._pid = os.getpid()
        self._inherited: sa.Pool | None = None
        self._engine = sa.create_engine(
            _url(connection),
            pool_timeout=10,
            hide_parameters=True,
            connect_args=_options(connection, pooled=self._pooled),
        )
        _ping_after_rest(self._engine)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One transaction, committed at the end of the block; raises JournalUnavailable, or JournalError for a row without its parent."""
        with self._translated(), self._own().begin() as connection:
            yield connection

    @contextmanager
    def statement(self) -> Iterator[sa.Connection]:
        """A connection on which each statement is its own transaction, in one round trip; raises as `transaction` does."""
        self._own()
        with self._translated(), self._autocommit.connect() as connection:
            yield connection

    @contextmanager
    def news(self) -> Iterator[Callable[[float], bool]]:
        """Hear of changed control rows: the function waits up to some seconds and says whether there was one. Deaf behind a pooler."""
        if self._pooled:
            yield _deaf
            return
        with self.statement() as connection:
            connection.execute(sa.text("LISTEN vectorferry"))
            driver: Any = connection.connection.driver_connection
            try:
                yield lambda seconds: any(True for _ in driver.notifies(timeout=seconds, stop_after=1))
            except DriverError as error:
                raise JournalUnavailable(f"the journal at {self.where} hung up: {error}") from error
            finally:
                # It listens for ever otherwise, in the hands of whom the pool gives it to.
                connection.invalidate()

    def close(self) -> None:
        """Close the connections."""
        self._own().dispose()

    def _own(self) -> sa.Engine:
        if os.getpid() != self._pid:  # a socket shared with the parent would mix up both sides' answers
            self._inherited = self._engine.pool  # kept, because collecting it would warn of connections left open
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        return self._engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError as error:
            raise JournalError(
                f"the journal at {self.where} no longer has what this belongs to: {_first_line(error)}"
            ) from error
        except (exc.DBAPIError, exc.TimeoutError) as error:
            if isinstance(error, exc.DBAPIError) and isinstance(error.orig, InsufficientPrivilege):
                raise JournalRefused(
                    f"the login of {self._name!r} may not do this in the journal at {self.where} ({_first_line(error)}): "
                    "give it the role that `vectorferry journal roles SPEC` makes, or brings up to date"
                ) from error
            if _state(error) == _CANCELLED:
                raise JournalUnavailable(
                    f"the journal at {self.where} took too long for a statement ({_first_line(error)}): is it overloaded, or locked?"
                ) from error
            if not _is_outage(error):
                # Trying again would be refused again: a value that PostgreSQL cannot hold, a table that is not there.
                raise JournalError(f"the journal at {self.where} refused a statement: {_first_line(error)}") from error
            if not _state(error) and (login_refused(str(error)) or database_missing(str(error))):
                raise JournalRefused(
                    f"the journal at {self.where} lets nobody in like this ({_first_line(error)}): correct the connection {self._name!r}"
                ) from error
            raise JournalUnavailable(
                f"the journal at {self.where} cannot be reached ({_first_line(error)}): "
                f"check that PostgreSQL runs there, and the connection {self._name!r}"
            ) from error


def _ping_after_rest(engine: sa.Engine) -> None:
    """Ask a connection whether it still lives, but not before every statement: that would double the round trips of a busy router."""

    @sa.event.listens_for(engine, "checkin")
    def _note(connection: Any, record: Any) -> None:
        del connection
        record.info[_USED] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, proxy: Any) -> None:
        del proxy
        if time.monotonic() - record.info.get(_USED, math.inf) > RESTED_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise exc.DisconnectionError from error


def _is_outage(error: exc.SQLAlchemyError) -> bool:
    """Whether it may pass by itself. By SQLSTATE: the driver puts a key that is too long beside a dead server."""
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if state := _state(error):
        return state[:2] in _OUTAGES or state in _PASSING
    return isinstance(error, (exc.OperationalError, exc.InterfaceError, exc.TimeoutError))


def _state(error: exc.SQLAlchemyError) -> str:
    """The SQLSTATE, empty where the server said nothing."""
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def _first_line(error: exc.SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return next(iter(str(cause).splitlines()), "") or type(cause).__name__


def _url(connection: Connection) -> sa.URL:
    host = postgres_host(connection)
    return sa.URL.create(
        "postgresql+psycopg",
        username=connection.login or None,
        password=connection.password or None,
        host=host.name or None,
        port=host.port,
        database=connection.schema or None,
    )


def _options(connection: Connection, *, pooled: bool) -> dict[str, Any]:
    given = {key: str(connection.extra[key]) for key in PASSED_ON if key in connection.extra}
    asked: dict[str, Any] = {**TIMEOUTS, **given}
    return asked | {"options": "", "prepare_threshold": None} if pooled else asked


def _deaf(seconds: float) -> bool:
    time.sleep(seconds)
    return False
