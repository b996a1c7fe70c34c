"""`vectorferry evalset`: makes a query file of the source itself, each query labelled by its kind."""

from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import desk_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.verbs import evalset as verbs


def evalset(
    spec: SpecPath,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where to write it: a path or URL, else <migration>-queries.parquet here."),
    ] = None,
    queries: Annotated[
        int, typer.Option(min=6, max=10_000, help="How many to make by each dense vector, besides what was recorded.")
    ] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other records.")] = 0,
    json: Json = False,
) -> None:
    """Make a query file for `checks.recall.queries` out of the source, where no questions were recorded.

    Held-out records, centres and borders of clusters, records with a near duplicate, the hardest (whose neighbours k and k + 1 are
    closest to each other) and perturbed ones, spread over namespaces; what the spec's own file recorded is kept. Recall is then told
    by kind. Reads a sample of the source, and writes nothing but the file.
    """
    verbs.evalset(desk_of(spec, Console(json=json), "evalset"), out, queries, seed)
