"""Makes Airflow's metadata database, or brings it to this Airflow's version; at once where that is done already."""

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from vectorferry.local.servers.postgres import create_database

MARK = "vectorferry_migrated"


def main() -> None:
    """Migrate the database of AIRFLOW__DATABASE__SQL_ALCHEMY_CONN unless it is marked as migrated to this version."""
    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    create_database(urlsplit(url)._replace(path="/postgres").geturl(), urlsplit(url).path.removeprefix("/"))
    with psycopg.connect(url, autocommit=True) as connection:
        if _mark(connection) == version("apache-airflow-core"):
            return
    _migrate()
    with psycopg.connect(url, autocommit=True) as connection:
        _set_mark(connection, version("apache-airflow-core"))


def _mark(connection: psycopg.Connection[Any]) -> str | None:
    """Return the version noted in the database itself: a file would outlive the database."""
    row = connection.execute("SELECT obj_description(to_regclass('public.alembic_version'))").fetchone()
    comment = row[0] if row else None
    return str(comment).removeprefix(f"{MARK} ") if comment else None


def _set_mark(connection: psycopg.Connection[Any], migrated_to: str) -> None:
    comment = sql.Literal(f"{MARK} {migrated_to}")
    connection.execute(sql.SQL("COMMENT ON TABLE alembic_version IS {}").format(comment))


def _migrate() -> None:
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)


if __name__ == "__main__":
    main()
