"""Evalset: a query file that is made of the source itself, for where no questions were recorded."""

from pathlib import Path

from vectorferry.engine import pipeline
from vectorferry.verbs.desk import Desk


def evalset(desk: Desk, file: str | None, queries: int, seed: int) -> None:
    """Write the file, beside the caller where no name is given, and tell what it asks."""
    place = file or f"{desk.spec.migration}-queries.parquet"
    place = place if "://" in place else str(Path(place).absolute())
    with desk.store("source") as source:
        made = pipeline.make_evaluation_set(source, desk.spec, desk.tell.report, file=place, queries=queries, seed=seed)
    desk.tell.table("Queries", ("kind", "queries"), made.kinds.items())
    if set(made.vectors) != {""}:
        by_vector = [(name or "(without a name)", queries) for name, queries in made.vectors.items()]
        desk.tell.table("Vectors", ("vector", "queries"), by_vector)
    if made.not_asked:
        tell = ", ".join(made.not_asked)
        desk.tell.note(f"a query file asks by dense vectors; held-out records ask by {tell}")
    told = f"{made.queries:,} queries in {made.namespaces:,} of {made.of_namespaces:,} namespaces: {made.file}"
    desk.tell.result(made, told, then=f"set `checks.recall.queries: {made.file}`, then `vectorferry plan SPEC`")
