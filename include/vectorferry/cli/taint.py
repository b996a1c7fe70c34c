"""`vectorferry taint`: has every record settled anew."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


def taint(
    spec: SpecPath,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    json: Json = False,
) -> None:
    """Have every record settled anew, because nothing is known to be equal any more: after the journal was restored, say.

    Evidence and approvals given before no longer hold.
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "taint") as session:
        marked = pipeline.taint(session, reason)
    console.result(
        {"marked": marked}, f"{marked:,} records are to be settled", then="`vectorferry settle SPEC` settles them"
    )
