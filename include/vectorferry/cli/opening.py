"""Opening: reads the spec of a command, and opens the journal, both stores or a whole session for it.

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
from vectorferry.core.model import Side
from vectorferry.spec.connections import connection_from_environment

if TYPE_CHECKING:
    from vectorferry.engine.session import Session
    from vectorferry.journal import Journal
    from vectorferry.spec.migration import MigrationSpec
    from vectorferry.stores.base import VectorStore


def read_spec(file: Path) -> "MigrationSpec":
    """The spec in a file; raises SpecError with every problem found."""
    from vectorferry.spec.loader import load_spec

    return load_spec(file)


def journal_of(spec: "MigrationSpec", *, upgrade: bool = False) -> "Journal":
    """The journal that a spec names, open; `upgrade` makes its tables, or brings them up to date."""
    from vectorferry.journal import open_journal

    return open_journal(connection_from_environment(spec.journal), upgrade=upgrade)


@contextmanager
def store_of(spec: "MigrationSpec", side: Side) -> "Iterator[VectorStore]":
    """The store of a side, without a journal; closed at the end."""
    from vectorferry.stores.sides import open_side

    store = open_side(spec, side, connection_from_environment)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def sides_of(spec: "MigrationSpec") -> "Iterator[tuple[VectorStore, VectorStore]]":
    """Both stores, without a journal; what keeps one of them out of reach names its connection."""
    from vectorferry.engine.session import naming, places

    with store_of(spec, "source") as source, store_of(spec, "target") as target, naming(places(spec, source, target)):
        yield source, target


@contextmanager
def session_of(spec: "MigrationSpec", console: Console, verb: str, *, upgrade: bool = False) -> "Iterator[Session]":
    """The session of one command; its actor is the user of this terminal."""
    from vectorferry.engine.session import open_session

    run_id = f"{verb}-{datetime.now().astimezone():%Y%m%dT%H%M%S}"
    with open_session(spec, actor=operator(), run_id=run_id, report=console.report, upgrade=upgrade) as session:
        yield session
