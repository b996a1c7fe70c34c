"""`vectorferry loadtest`: searches the target at ever higher rates, until it leaves its budget."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import load


def loadtest(
    spec: SpecPath,
    json: Json = False,
    peak: Annotated[float | None, typer.Option(help="Searches a second at the applications' peak.")] = None,
    max_p99_ms: Annotated[float | None, typer.Option("--max-p99-ms", help="The budget of p99.")] = None,
    times: Annotated[float | None, typer.Option(help="How many times the peak must be held.")] = None,
    step_seconds: Annotated[float | None, typer.Option(help="How long each rate is held.")] = None,
    ceiling: Annotated[float | None, typer.Option(help="No step is higher, in searches a second.")] = None,
    processes: Annotated[int | None, typer.Option(help="How many processes send.")] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Also ask the source, up to its budget and no higher.")
    ] = False,
    while_serving: Annotated[
        bool, typer.Option("--while-serving", help="Also where the target serves applications already.")
    ] = False,
) -> None:
    """Search the target at ever higher rates until p99 or errors leave their budget, and name the rate at which they do.

    What is not given is as under `checks.load` of the spec; without that section `--peak` and `--max-p99-ms` are needed. Searches are
    sent by the clock, whether or not earlier ones have been answered. Exits 0 when the target holds what is required.
    """
    given = {
        "peak": peak,
        "max_p99_ms": max_p99_ms,
        "times": times,
        "step_seconds": step_seconds,
        "ceiling": ceiling,
        "processes": processes,
        "source": source or None,
        "while_serving": while_serving or None,
    }
    desk = desk_of(spec, Console(json=json), "loadtest")
    if not load.loadtest(desk, {name: value for name, value in given.items() if value is not None}):
        raise typer.Exit(1)
