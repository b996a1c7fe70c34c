"""Params of the trigger form, and the spec as the form changes it."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from vectorferry.spec.migration import MigrationSpec

PARTITIONS = "partitions"
DRY_RUN = "dry_run"
THRESHOLD = "recall_threshold"
PARALLELISM = "parallelism"


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
    if THRESHOLD not in params:  # a DAG of what comes after the cut-over has no form
        return spec
    recall = spec.checks.recall.model_copy(update={"threshold": float(params[THRESHOLD])})
    target = spec.budgets.target.model_copy(update={"in_flight": params[PARALLELISM]})
    return spec.model_copy(
        update={
            "checks": spec.checks.model_copy(update={"recall": recall}),
            "budgets": spec.budgets.model_copy(update={"target": target}),
        }
    )
