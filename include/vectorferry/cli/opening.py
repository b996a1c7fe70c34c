"""Opening: reads the spec of a command, and opens the journal or a whole session for it.

What is opened is imported when it is: a command that reads no spec does not wait for pydantic, and one that only reads the journal
waits for no database's SDK.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vectorferry.cli.console import Console
from vectorferry.cli.operator import operator
from vectorferry.spec.connections import connection_from_environment
from vectorferry.verbs.desk import Desk

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Journal
    from vectorferry.spec.migration import MigrationSpec


def read_spec(file: Path) -> "MigrationSpec":
    """The spec in a file; raises SpecError with every problem found."""
    from vectorferry.spec.loader import load_spec

    return load_spec(file)


def journal_of(spec: "MigrationSpec", *, upgrade: bool = False) -> "Journal":
    """The journal that a spec names, open; `upgrade` makes its tables, or brings them up to date."""
    from vectorferry.journal import open_journal

    return open_journal(connection_from_environment(spec.journal), upgrade=upgrade)


def desk_of(file: Path, console: Console, verb: str) -> Desk:
    """What a verb works with that is called from this terminal, on the spec in a file."""
    return _desk(read_spec(file), console, verb)


def _desk(spec: "MigrationSpec", console: Console, verb: str) -> Desk:
    run_id = f"{verb}-{datetime.now().astimezone():%Y%m%dT%H%M%S}"
    return Desk(spec, console, operator(), run_id, connection_from_environment)


@contextmanager
def session_of(spec: "MigrationSpec", console: Console, verb: str, *, upgrade: bool = False) -> "Iterator[Session]":
    """The session of one command; its actor is the user of this terminal."""
    with _desk(spec, console, verb).session(upgrade=upgrade) as session:
        yield session
