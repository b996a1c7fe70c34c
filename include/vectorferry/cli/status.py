"""`vectorferry status`: shows where a migration stands, from the journal alone."""

import time
from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline
from vectorferry.verbs.status import show

WATCH_SECONDS = 1.0


def status(
    spec: SpecPath,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
) -> None:
    """Show where a migration stands: phases, routers and leases, backlog, what is in the way, partitions, evidence, audit trail."""
    loaded, console = read_spec(spec), Console(json=json)
    with journal_of(loaded) as journal:
        while True:
            found = pipeline.status(journal, loaded)
            if watch:
                console.clear()
            show(console, found)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)
