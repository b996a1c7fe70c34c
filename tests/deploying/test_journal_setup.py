"""The journal's logins and backups, as deploy/kubernetes/journal.yaml has them, on a PostgreSQL of their own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploying.manifests import the
from servers import running_postgres
from vectorferry.core.errors import JournalRefused
from vectorferry.core.model import Cohort
from vectorferry.engine import pipeline
from vectorferry.journal import Journal, open_journal
from vectorferry.journal.roles import create_roles
from vectorferry.local.servers.postgres import Postgres, _program
from vectorferry.spec.connections import Connection

PASSWORDS = {
    "JOURNAL_PASSWORD": "it's",
    "ROUTER_PASSWORD": "router-1",
    "METRICS_PASSWORD": "metrics-1",
    "BACKUP_PASSWORD": "backup-1",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL that the setup of the manifest was run on: roles are of a whole server, and others are tested on the shared one."""
    with running_postgres(tmp_path_factory.mktemp("journal")) as made:
        script("vectorferry-journal-setup", "10-logins.sh", made, POSTGRES_USER=made.user, **PASSWORDS)
        yield made


def script(config: str, name: str, server: Postgres, **environment: str) -> None:
    """Run a script of a ConfigMap against a server."""
    shell(the("ConfigMap", config)["data"][name], server, **environment)


def shell(text: str, server: Postgres, **environment: str) -> None:
    """Run commands with PostgreSQL's programs at hand, as the server's administrator where they say nothing else."""
    path = f"{Path(_program('psql')).parent}{os.pathsep}{os.environ['PATH']}"
    reached = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user, "PGPASSWORD": server.password}
    subprocess.run(["sh", "-c", text], env={**os.environ, "PATH": path, **reached, **environment}, check=True)


def login(server: Postgres, name: str, database: str = "journal") -> Connection:
    password = PASSWORDS[f"{name.upper()}_PASSWORD"]
    return Connection("journal", "postgres", server.host, server.port, name, password, database)


@pytest.fixture(scope="module")
def journal(server: Postgres) -> Iterator[Journal]:
    """A journal of the login that owns it, with a migration."""
    with open_journal(login(server, "journal"), upgrade=True) as made:
        create_roles(made)
        made.control.register("m", "f", [Cohort()], "ann")
        yield made


def test_the_owner_of_the_journal_needs_no_right_to_make_roles(server: Postgres, journal: Journal) -> None:
    with psycopg.connect(server.url()) as admin:
        rights = admin.execute("SELECT rolcreaterole, rolsuper FROM pg_roles WHERE rolname = 'journal'").fetchone()
    assert rights == (False, False)
    create_roles(journal)


def test_metrics_read_everything_and_write_nothing(server: Postgres, journal: Journal) -> None:
    with open_journal(login(server, "metrics")) as opened:
        assert {name for name, *_ in pipeline.gauges(opened)} >= {"vectorferry.migration.phase"}
        with pytest.raises(JournalRefused):
            opened.audit.write("m", "metrics", "note", {})


def test_an_application_joins_and_moves_no_authority(server: Postgres, journal: Journal) -> None:
    with open_journal(login(server, "router")) as opened:
        assert opened.id == journal.id
        opened.members.join("m", "r", host="h", pid=1, version="0", lease=5, deadline=1)
        with pytest.raises(JournalRefused):
            opened.control.register("other", "f", [Cohort()], "ann")


def test_a_backup_is_a_whole_journal_and_the_newest_are_kept(
    server: Postgres, journal: Journal, tmp_path: Path
) -> None:
    for day in ("20200101T000000Z", "20200102T000000Z"):
        (tmp_path / f"journal-{day}.dump").touch()
    reader = {"PGUSER": "backup", "PGPASSWORD": PASSWORDS["BACKUP_PASSWORD"], "PGDATABASE": "journal"}
    script("vectorferry-journal-backup", "backup.sh", server, BACKUPS=str(tmp_path), KEEP="2", **reader)
    oldest, newest = sorted(tmp_path.iterdir())
    assert oldest.name == "journal-20200102T000000Z.dump"

    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE restored OWNER journal")
    shell(f"pg_restore --exit-on-error --dbname=restored {newest}", server)
    with open_journal(login(server, "journal", "restored")) as restored:
        assert restored.id == journal.id
        assert restored.control.get("m", "all") == journal.control.get("m", "all")


def test_the_backups_login_writes_nothing(server: Postgres, journal: Journal) -> None:
    with open_journal(login(server, "backup")) as opened, pytest.raises(JournalRefused):
        opened.control.register("other", "f", [Cohort()], "ann")
