"""What commands share: their arguments, and the session that they work in."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.spec.migration import MigrationSpec

if TYPE_CHECKING:
    from vectorferry.engine.session import Session

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file (YAML) of the migration.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]


@contextmanager
def command_session(spec: MigrationSpec, console: Console, verb: str, *, upgrade: bool = False) -> "Iterator[Session]":
    """The session of one command; its actor is the user of this terminal."""
    from vectorferry.engine.session import open_session

    run_id = f"{verb}-{datetime.now().astimezone():%Y%m%dT%H%M%S}"
    with open_session(spec, actor=getpass.getuser(), run_id=run_id, report=console.report, upgrade=upgrade) as session:
        yield session
