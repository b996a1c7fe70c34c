"""`vectorferry init`: writes a spec from what both databases say, or lists what a database holds."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.options import Json
from vectorferry.core.errors import SpecError, SpecProblem
from vectorferry.engine import pipeline
from vectorferry.spec.connections import connection_from_environment

if TYPE_CHECKING:
    from vectorferry.engine.pipeline import Place, Proposal

_THEN = "`vectorferry plan SPEC` looks at both databases and moves nothing"
_DECIDE = "decide what stands under TO DECIDE, then `vectorferry plan SPEC`"


def init(
    source: Annotated[
        str,
        typer.Option(metavar="CONNECTION[/COLLECTION]", help="The collection to move; a connection alone is listed."),
    ],
    target: Annotated[
        str,
        typer.Option(
            metavar="CONNECTION[/COLLECTION]", help="Where it is to go; a free name is found if none is given."
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The spec to write; without it, it is printed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Look at two databases and write a spec with comments: vectors, fields, namespaces, and what will not fit. Moves nothing.

    With a connection alone as --source it lists the collections that are there.
    """
    here = _place(source)
    if not here.collection:
        _list(here, Console(json=json))
        return
    if not target:
        raise typer.BadParameter("is needed for a spec, as in new_weaviate or new_weaviate/Docs", param_hint="--target")
    if output is not None and output.exists() and not force:
        problem = SpecProblem(
            str(output), 1, "", "is there already", "name another file, or write over it with --force"
        )
        raise SpecError([problem])
    console = Console(json=json)
    found = pipeline.propose(here, _place(target), console.report)
    text = pipeline.spec_text(found)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    elif not json:
        sys.stdout.write(text)
        return
    _tell(console, found, text, output)


def _place(text: str) -> "Place":
    connection, _, collection = text.partition("/")
    return pipeline.place(connection_from_environment(connection), collection)


def _list(here: "Place", console: Console) -> None:
    from vectorferry.stores.registry import list_collections

    name = here.connection.name
    found = list_collections(here.connection)
    if found is None:
        console.result(None, f"the store of connection {name} does not tell which collections there are")
        return
    console.table(f"Collections of {name}", ("collection", "what it is"), found.items())
    then = (
        f"`vectorferry init --source {name}/{next(iter(found))} --target CONNECTION --output FILE` writes a spec"
        if found
        else ""
    )
    console.result(dict(found), f"{len(found)} collection{'s' if len(found) != 1 else ''}", then=then)


def _tell(console: Console, found: "Proposal", text: str, output: Path | None) -> None:
    decisions = [f"{each.what}{f' ({each.way})' if each.way else ''}" for each in found.obstacles]
    value: dict[str, Any] = {
        "spec": text,
        "rows": found.info.rows,
        "namespaces": dict(found.info.namespaces),
        "fields": {each.key: each.fits for each in found.keys if each.fits},
        "to_decide": decisions,
        "notes": found.notes,
    }
    lines = [
        f"{output}: {found.info.rows:,} records from {found.source} to {found.target}",
        *(f"to decide: {each}" for each in decisions),
        *(f"note: {each}" for each in found.notes),
    ]
    console.result(value, "\n".join(lines), then=(_DECIDE if decisions else _THEN).replace("SPEC", str(output)))
