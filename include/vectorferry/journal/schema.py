"""Schema of a journal: which one it has, and its upgrade to the one that this code needs."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from vectorferry.core.errors import JournalError
from vectorferry.journal.database import Database
from vectorferry.journal.tables import SCHEMA

REVISION = "0013"
_VERSION_TABLE = f"{SCHEMA}.alembic_version"
_UPGRADE_LOCK = 0x766563746F720001  # any constant: one upgrade of a database at a time


def require(database: Database, *, upgrade: bool) -> None:
    """Bring the schema to the revision of this code where that is asked for; raises JournalError if it is another."""
    with database.statement() as connection:
        found = revision(connection)
    if found == REVISION:
        return
    if not upgrade:
        raise JournalError(_refusal(database.where, found))
    with database.transaction() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
        _upgrade(connection, database.where)


def revision(connection: sa.Connection) -> str | None:
    """The revision of the schema, None where there is no journal yet."""
    if connection.scalar(sa.select(sa.func.to_regclass(_VERSION_TABLE))) is None:
        return None
    found: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {_VERSION_TABLE}"))  # noqa: S608 (a constant)
    return found


def _refusal(where: str, found: str | None) -> str:
    has = "there is no journal yet" if found is None else f"its schema has revision {found}"
    return (
        f"the journal at {where} cannot be used: {has}, this version of vectorferry needs {REVISION}. "
        "`vectorferry register SPEC` makes it or brings it up to date (in Python open_journal(connection, upgrade=True)); "
        "one that a newer version made needs that version"
    )


def _upgrade(connection: sa.Connection, where: str) -> None:
    from alembic import command  # not needed by an application that only opens a journal
    from alembic.util.exc import CommandError

    connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:  # a revision that this code does not know
        raise JournalError(_refusal(where, revision(connection))) from None


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
