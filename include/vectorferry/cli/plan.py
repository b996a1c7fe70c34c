"""`vectorferry plan`: shows what a migration would move and cost, and begins it with --save."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec, session_of
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline

if TYPE_CHECKING:
    from vectorferry.core.capacity import Fill
    from vectorferry.core.model import CollectionInfo
    from vectorferry.engine.pipeline import Cost, MappedKey, Preflight
    from vectorferry.journal import Plan
    from vectorferry.spec.migration import MigrationSpec


_THEN = "`vectorferry run SPEC` moves it; or trigger the DAG `<migration>.migrate` in Airflow"


def plan(
    spec: SpecPath,
    json: Json = False,
    save: Annotated[
        bool, typer.Option(help="Also begin: make the target, cut the source, keep the plan in the journal.")
    ] = False,
) -> None:
    """Look at both sides: rows, cost, metadata keys, and what stands in the way. Without --save it leaves nothing behind: probes only."""
    console = Console(json=json)
    with session_of(read_spec(spec), console, "plan", upgrade=True) as session:
        if save:
            found, made = pipeline.prepare(session)
            _show(console, session.spec, found, made)
        else:
            _show(console, session.spec, pipeline.preflight(session))


def _show(console: Console, spec: "MigrationSpec", found: "Preflight", made: "Plan | None" = None) -> None:
    _show_tables(console, spec, found)
    console.result(_value(found, made), "\n".join(_lines(found, made)), then=_THEN)


def _show_tables(console: Console, spec: "MigrationSpec", found: "Preflight") -> None:
    from vectorferry.stores.mapped import mapping_of

    mapping = mapping_of(spec)
    there = mapping.namespace_there
    rows = ((n or "(default)", there(n) or "(default)", f"{r:,}") for n, r in found.namespaces.items())
    console.table("Namespaces", ("source", "target", "rows"), rows)
    vectors = _vectors(found.source, mapping.vectors.there)
    console.table("Vectors", ("source", "target", "kind", "dimensions", "metric"), vectors)
    costs = (("one pass over the source", found.pass_cost), ("the load", found.load_cost))
    console.table("Cost", ("of", "requests", "hours", "read units", "US$"), (_cost(n, c) for n, c in costs))
    if found.capacity:
        columns = ("of", "used", "projected to come", "limit", "share")
        console.table("Capacity", columns, (_fill(fill) for fill in found.capacity))
    mapped = ("source", "target", "type", "in", "holds", "what becomes of it")
    console.table("Metadata keys, by a sample", mapped, map(_key, found.keys))


def _value(found: "Preflight", made: "Plan | None") -> dict[str, Any]:
    return {
        "rows": found.rows,
        "namespaces": dict(found.namespaces),
        "profile": found.profile,
        "mapping": [asdict(key) for key in found.keys],
        "proposed_fields": dict(found.proposed),
        "full_pass": asdict(found.pass_cost),
        "load": asdict(found.load_cost),
        "shortest_hold": found.shortest_hold,
        "capacity": [asdict(fill) for fill in found.capacity],
        "warnings": found.warnings,
        "plan": made.id if made else None,
        "partitions": len(made.partitions) if made else None,
    }


def _lines(found: "Preflight", made: "Plan | None") -> list[str]:
    declared = {key.source for key in found.keys if key.type is not None}
    left = {name: kind for name, kind in found.proposed.items() if name not in declared}
    proposed = ", ".join(f"{name}: {kind}" for name, kind in left.items()) or "none more"
    lines = [f"{found.rows:,} rows. Fields worth declaring: {proposed}", *(f"warning: {w}" for w in found.warnings)]
    if found.shortest_hold is not None:
        lines.append(f"Shortest possible hold of writes: {found.shortest_hold:g} s")
    if made:
        lines.append(f"Plan {made.id}: {len(made.partitions)} partitions")
    return lines


def _cost(name: str, cost: "Cost") -> tuple[object, ...]:
    return name, f"{cost.requests:,}", f"{cost.hours:.2f}", f"{cost.read_units:,.0f}", f"{cost.dollars:,.2f}"


def _fill(fill: "Fill") -> tuple[object, ...]:
    values = ("-" if value is None else fill.amount(value) for value in (fill.used, fill.added, fill.limit))
    return fill.name, *values, f"{fill.share:.0%}" if fill.limit else "-"


def _vectors(source: "CollectionInfo", there: Callable[[str], str]) -> Iterator[tuple[object, ...]]:
    unnamed = "(no name)"
    if source.dimension is not None:
        yield unnamed, there("") or unnamed, "dense", source.dimension, source.metric
    if source.sparse:
        yield unnamed, unnamed, "sparse, where a record has one", "-", "-"
    for name, each in source.named.items():
        yield name, there(name) or unnamed, each.kind, "-" if each.dimension is None else each.dimension, each.metric


def _key(key: "MappedKey") -> tuple[object, ...]:
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(key.kinds.items()))
    return (
        key.source or ("-" if key.target else "(empty)"),
        key.target or "-",
        key.type or "-",
        f"{key.share:.0%}",
        kinds,
        key.fate,
    )
