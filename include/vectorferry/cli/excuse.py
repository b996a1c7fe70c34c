"""`vectorferry excuse`: leaves one record behind that the following side rejects."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import records


def excuse(
    spec: SpecPath,
    id: Annotated[str, typer.Option(help="The record's id.")],  # noqa: A002 (what people call it)
    reason: Annotated[
        str, typer.Option(help="Why it may stay behind; kept in the journal, the evidence and the audit trail.")
    ],
    namespace: Annotated[str, typer.Option(help="The record's namespace; empty for the default one.")] = "",
    json: Json = False,
) -> None:
    """Leave one record behind that the following side rejects, so that the authority can move; `status` names such records.

    Counts against limits.excused. The target is left without it; what the source has under its id is never changed by this.
    """
    records.excuse(desk_of(spec, Console(json=json), "excuse"), namespace, id, reason)
