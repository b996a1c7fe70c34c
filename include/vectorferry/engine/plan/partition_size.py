"""Partition size: how many rows a partition has where the spec leaves it open, and how many partitions there will be."""

from collections.abc import Mapping
from dataclasses import dataclass

from vectorferry.core.model import KeyRange
from vectorferry.engine.plan.partitioning import pack
from vectorferry.journal import Plan
from vectorferry.spec.migration import MigrationSpec

LEAST_ROWS = 10_000
MOST_CHOSEN = 400
"""Partitions, at most, where the size is chosen: each costs a second of the scheduler, and a task's memory does not grow with its rows."""


@dataclass(frozen=True, slots=True)
class PartitionSize:
    """About how many rows a partition has, and how many partitions that makes of the rows that preflight counted."""

    rows: int
    partitions: int


def partition_size(spec: MigrationSpec, namespaces: Mapping[str, int], mappable: int | None = None) -> PartitionSize:
    """The size that the spec gives, else one that is chosen for these rows by namespace.

    Chosen are 10,000 rows, or more where that makes more than 400 partitions, or more than `mappable`: what maps over them takes no more.
    """
    if spec.partitions.rows is not None:
        return PartitionSize(spec.partitions.rows, _partitions(spec, namespaces, spec.partitions.rows))
    most, total = min(MOST_CHOSEN, mappable or MOST_CHOSEN), sum(namespaces.values())
    rows = max(LEAST_ROWS, -(-total // most))
    # Namespaces that fill a bit more than half a partition have one each, so that there may be twice as many.
    while (partitions := _partitions(spec, namespaces, rows)) > most and rows < 2 * total:
        rows += rows // 4
    return PartitionSize(rows, partitions)


def unmappable(
    spec: MigrationSpec, namespaces: Mapping[str, int], size: PartitionSize, plan: Plan | None, mappable: int | None
) -> str | None:
    """Why Airflow cannot map over the partitions of the plan in force, or those to come, and the way out; None where it can."""
    count = size.partitions if plan is None else len(plan.partitions)
    if mappable is None or count <= mappable:
        return None
    limit = f"Airflow maps over {mappable:,} at most ([core] max_map_length)"
    if plan is not None:
        return (
            f"the plan has {count:,} partitions, and {limit}. As long as nothing was exported, take `partitions.rows` out of the spec or "
            "raise it, and cut the plan anew with `vectorferry replan SPEC`; else raise Airflow's limit, or go on outside Airflow with "
            "`vectorferry run SPEC`"
        )
    least = partition_size(_left_open(spec), namespaces, mappable).rows
    return (
        f"`partitions.rows: {size.rows}` makes about {count:,} partitions, and {limit}: take it out of the spec to have a size chosen "
        f"({least:,} rows), give a larger one, or raise Airflow's limit"
    )


def _left_open(spec: MigrationSpec) -> MigrationSpec:
    return spec.model_copy(update={"partitions": spec.partitions.model_copy(update={"rows": None})})


def _partitions(spec: MigrationSpec, namespaces: Mapping[str, int], rows: int) -> int:
    """How many partitions of about `rows` rows there will be: large namespaces as `split_listing` splits them, the others packed."""
    small: dict[str, list[KeyRange]] = {}
    whole = 0
    for namespace, held in namespaces.items():
        if 2 * held > rows:
            whole += max(1, -(-(2 * held - rows) // (2 * rows)))
        else:
            small.setdefault(spec.cohort_of(namespace), []).append(KeyRange(namespace, rows=held))
    return whole + sum(len(pack(spans, rows)) for spans in small.values())
