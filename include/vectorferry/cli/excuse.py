"""`vectorferry excuse`: leaves one record behind that the following side rejects."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline


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
    console = Console(json=json)
    with session_of(read_spec(spec), console, "excuse") as session:
        why = pipeline.excuse(session, namespace, id, reason)
    value = {"namespace": namespace, "id": id, "rejection": why}
    console.result(
        value, f"excused {namespace or '(default)'}/{id} ({why})", then="`vectorferry settle SPEC` takes it from here"
    )
