"""`vectorferry finalize`: ends a migration for good."""

import typer

from vectorferry.cli.approval import asking
from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def finalize(spec: SpecPath, json: Json = False) -> None:
    """End the migration for good: every record compared once more, an approval, DONE. There is no way back.

    Wants a restore drill of the target that passed and is recent: `vectorferry drill SPEC`.
    Ends once nothing can write to the source any more. Killed, it goes on where it stopped.
    """
    console, loaded = Console(json=json), read_spec(spec)
    with session_of(loaded, console, "finalize") as session:
        done = pipeline.finalize(session, asking(console))
    text = (
        f"DONE: nothing writes to {loaded.source.collection} any more" if done else "not approved: nothing has changed"
    )
    then = (
        "the source may be deleted; `vectorferry prune SPEC` lists staged files that are no longer kept"
        if done
        else "`vectorferry finalize SPEC` compares and asks again; until then a rollback is possible"
    )
    console.result({"done": done}, text, then=then)
    if not done:
        raise typer.Exit(1)
