"""An old server: PostgreSQL 16 with pgvector 0.6, which the wheel pgserver carries, on a folder of its own."""

import signal
from importlib import util
from pathlib import Path

from vectorferry.local.servers.ports import free_port
from vectorferry.local.servers.postgres import Postgres, _as_server_user, _give_to_server_user, _password_file
from vectorferry.local.servers.supervisor import Service

EXTENSION = "0.6.2"


def is_there() -> bool:
    """Whether the wheel is installed: there is none for Linux on ARM."""
    return util.find_spec("pgserver") is not None


def _program(name: str) -> str:
    found = util.find_spec("pgserver")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)


def old_postgres(folder: Path) -> tuple[Postgres, list[Service]]:
    """The server, and the services that make its data folder and run it."""
    folder.mkdir()
    server = Postgres(folder, free_port(0), "old")
    data = folder / "data"
    data.mkdir(mode=0o700)
    _give_to_server_user(data)
    (folder / "password.secret").write_text("old", encoding="utf-8")
    options = ("--auth=scram-sha-256", f"--username={server.user}", f"--pwfile={_password_file(folder)}")
    make = (
        *_as_server_user(),
        _program("initdb"),
        "-D",
        str(data),
        *options,
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    )
    settings = (f"--port={server.port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--fsync=off")
    return server, [
        Service("old-postgres-init", make, folder, oneshot=True),
        Service(
            "old-postgres",
            (*_as_server_user(), _program("postgres"), "-D", str(data), *settings),
            folder,
            ready=lambda _: server.is_ready(),
            after=("old-postgres-init",),
            stop_signal=signal.SIGINT,
            grace=30,
        ),
    ]
