"""`vectorferry drill`: rehearses a restore of the newest backup."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SideOption, SpecPath, Which
from vectorferry.engine import pipeline

_VERBS = (("load", "loaded"), ("verify", "verified"))


def drill(
    spec: SpecPath,
    side: SideOption = Which.TARGET,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make a backup first, even if there is a recent one.")] = False,
    json: Json = False,
) -> None:
    """Rehearse a restore: the newest backup goes into a scratch collection, is verified in full, timed, and dropped again.

    `finalize` wants one of the target that passed and is recent (`backup.drill_age`).
    """
    console = Console(json=json)
    with session_of(read_spec(spec), console, "drill", upgrade=True) as session:
        found = pipeline.drill(session, side.value, fresh=fresh).figures
    told = f"{found['rows']:,} rows of backup {found['backup']} restored and verified: "
    speed = (
        f"{word} in {found[f'{verb}_seconds']:.1f} s ({found[f'{verb}_rate']:,.0f} rows/s)" for verb, word in _VERBS
    )
    console.result(
        dict(found),
        told + ", ".join(speed),
        then="`vectorferry finalize SPEC` accepts this drill until it is older than `backup.drill_age`",
    )
