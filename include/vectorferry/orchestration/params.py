"""Params of the trigger form, and what a run takes from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Param

from vectorferry.spec.migration import MigrationSpec

PARTITIONS = "partitions"
DRY_RUN = "dry_run"
THRESHOLD = "recall_threshold"
PARALLELISM = "parallelism"
FORM = (PARTITIONS, DRY_RUN, THRESHOLD, PARALLELISM)


@dataclass(frozen=True, slots=True)
class RunParams:
    """What a run was triggered with: the names of the partitions to be moved (none: all), and whether it only looks."""

    partitions: Sequence[str] = ()
    dry_run: bool = False


def own_dag(spec: MigrationSpec) -> str:
    """The id of the DAG that moves the collection, and nothing else."""
    return f"{spec.migration}.migrate"


def migration_params(spec: MigrationSpec) -> dict[str, Param]:
    """The fields of the trigger form for a DAG of somebody's own: their names begin with the migration's, as in `docs_dry_run`."""
    return {f"{spec.migration}_{name}": param for name, param in form(spec).items()}


def own_params(spec: MigrationSpec, context: Any) -> dict[str, Any]:
    """What was filled in for this migration. In a DAG of somebody's own a param counts only by its whole name: others are not ours."""
    prefix = "" if context["dag_run"].dag_id == own_dag(spec) else f"{spec.migration}_"
    given = context["params"]
    return {name: given[prefix + name] for name in FORM if prefix + name in given}


def run_params(spec: MigrationSpec, context: Any) -> RunParams:
    """What this run was triggered with; all of the migration where it was asked for nothing else."""
    given = own_params(spec, context)
    return RunParams(given.get(PARTITIONS, ()), given.get(DRY_RUN, False))


def form(spec: MigrationSpec) -> dict[str, Param]:
    """The fields of the trigger form; what is left alone is as the spec says."""
    return {
        PARTITIONS: Param(
            [],
            type="array",
            items={"type": "string", "pattern": r"^p[0-9]{4,}$"},
            title="Partitions",
            description="Names, one a line, as in p0003; none: all. A run of some partitions checks their counts and content, "
            "and is never put to an approver.",
        ),
        DRY_RUN: Param(
            False,
            type="boolean",
            title="Dry run",
            description="Only the preflight: rows, requests, hours and money. Nothing is written to either database.",
        ),
        THRESHOLD: Param(
            spec.checks.recall.threshold,
            type="number",
            minimum=0,
            maximum=1,
            title="Recall threshold",
            description="The lower end of each namespace's confidence interval must reach it. The approver is shown it.",
        ),
        PARALLELISM: Param(
            spec.budgets.target.in_flight,
            type=["null", "integer"],
            minimum=1,
            maximum=64,
            title="Parallelism",
            description="Most writes in flight for one partition; none: what the target takes well. "
            f"Partitions at a time: {spec.partitions.parallel} (`partitions.parallel` in the spec).",
        ),
    }


def overridden(spec: MigrationSpec, params: Mapping[str, Any]) -> MigrationSpec:
    """The spec with the form's values; a changed threshold changes the fingerprint, so evidence binds to it."""
    threshold = {"threshold": float(params[THRESHOLD])} if THRESHOLD in params else {}
    in_flight = {"in_flight": params[PARALLELISM]} if PARALLELISM in params else {}
    if not threshold and not in_flight:  # a DAG of what comes after the cut-over has no form
        return spec
    recall = spec.checks.recall.model_copy(update=threshold)
    target = spec.budgets.target.model_copy(update=in_flight)
    return spec.model_copy(
        update={
            "checks": spec.checks.model_copy(update={"recall": recall}),
            "budgets": spec.budgets.model_copy(update={"target": target}),
        }
    )
