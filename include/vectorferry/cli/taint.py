"""`vectorferry taint`: has every record settled anew."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import records


def taint(
    spec: SpecPath,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    json: Json = False,
) -> None:
    """Have every record settled anew, because nothing is known to be equal any more: after the journal was restored, say.

    Evidence and approvals given before no longer hold.
    """
    records.taint(desk_of(spec, Console(json=json), "taint"), reason)
