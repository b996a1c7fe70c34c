"""Wiring of a migration's tasks: which follows which, in `<migration>.migrate` and in DAGs of other people."""

from collections.abc import Callable
from typing import Any

from airflow.sdk import TaskGroup, task, task_group

from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.assets import collection, cut_over, staging
from vectorferry.orchestration.failing import partition_callbacks
from vectorferry.orchestration.migrate_tasks import LABEL, Steps
from vectorferry.orchestration.report_link import MigrationLink
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.sensors import (
    ChangeWindowSensor,
    CohortWatchSensor,
    IndexSensor,
    RoutersSensor,
    ShadowReadsSensor,
)
from vectorferry.orchestration.task_settings import UNTIMED, task_settings
from vectorferry.spec.migration import MigrationSpec


def migration_group(spec: MigrationSpec, *, group_id: str | None = None) -> TaskGroup:
    """The tasks of a migration, from the preflight to the check after the cut-over, as a group of the DAG that is being made.

    The group is called as the migration, or `group_id`. What follows it runs once the collection was cut over: not where the answer was
    no, nor after a dry run or a run of some partitions. `partitions.parallel` bounds each kind of task; for it to bound partitions, give
    the DAG as many `max_active_tasks`.
    """
    settings: Any = {"owner": spec.owner, **task_settings(spec)}
    tooltip = spec.description or f"Moves {spec.source.collection} to {spec.target.collection}"
    with TaskGroup(group_id or spec.migration, tooltip=tooltip, default_args=settings) as group:
        wire_migrate(spec)
    return group


def wire_migrate(spec: MigrationSpec) -> None:
    """The tasks of a migration, in the DAG or the group that is being made."""
    steps = Steps(spec)
    names = step(steps.plan)()
    begun: Any = step(steps.begin)()
    looked: Any = step(steps.preflight, task.short_circuit)()
    looked.operator.operator_extra_links = (MigrationLink(spec),)
    looked >> begun
    if spec.partitions.pool:
        # No task can ask Airflow which pools there are: one that is not there holds the run here, before anything was begun or listed.
        task(task_id="await_pool", pool=spec.partitions.pool, **RETRYING)(steps.await_pool)() >> begun
    if spec.routers:
        begun >> (begun := RoutersSensor(task_id="await_routers", spec=spec))
    begun >> names
    moved: Any = _partitions(spec, steps, names)
    if spec.checks.expectations:
        step(steps.preflight_expectations)() >> moved
    moved >> (expectations := step(steps.check_expectations, inlets=[staging(spec)])())
    recall = step(steps.check_recall, **_each(spec)).expand(partition=names)
    collection = checked = step(steps.check_collection)()
    loaded = moved
    if spec.routers:
        loaded >> (loaded := step(steps.settle)())
        checked = step(steps.recheck)()
        loaded >> ShadowReadsSensor(task_id="await_shadow_reads", spec=spec) >> checked
        collection >> checked
    loaded >> IndexSensor(task_id="await_index", spec=spec) >> step(steps.merge_truth)() >> recall >> collection
    # It waits for every partition itself: what follows a failed one is settled at once, while the others still run.
    evidence = step(steps.evidence, task.short_circuit, trigger_rule="all_done")(names)
    [moved, recall, checked, expectations] >> evidence
    evidence >> _cut_over(spec, steps)


def _partitions(spec: MigrationSpec, steps: Steps, names: Any) -> Any:
    each = _each(spec)
    source, staged, target = collection(spec, "source"), staging(spec), collection(spec, "target")

    @task_group(group_id="partition")
    def partition(name: str) -> None:
        (
            step(steps.export, inlets=[source], outlets=[staged], **each)(name)
            >> step(steps.upsert, inlets=[staged], outlets=[target], **each)(name)
            >> step(steps.check_counts, inlets=[source, staged, target], **each)(name)
        )

    return partition.expand(name=names)


def _cut_over(spec: MigrationSpec, steps: Steps) -> BoundApproval:
    """The question, and what follows an approval; returns the first of these tasks."""
    asked = BoundApproval(task_id="approve_cutover", spec=spec)
    last: Any = asked
    if spec.switch.window:
        last >> (last := ChangeWindowSensor(task_id="await_window", spec=spec))
    *canaries, rest = (cohort.name for cohort in spec.cohorts)
    for name in canaries:
        # One process for a cohort's whole switch: from task to task it takes seconds, and a hold must not.
        last >> (last := task(task_id=f"switch_{name}", **UNTIMED, **RETRYING)(steps.switch)(name))
        last >> (last := CohortWatchSensor(task_id=f"watch_{name}", spec=spec, cohort=name))
    last >> step(steps.switch, outlets=[cut_over(spec)], **UNTIMED)(rest) >> step(steps.verify)()
    return asked


def _each(spec: MigrationSpec) -> dict[str, Any]:
    """What the tasks of a partition have in common. The weight makes a begun partition go on before the next one begins."""
    pool = {"pool": spec.partitions.pool} if spec.partitions.pool else {}
    return {
        "weight_rule": "upstream",
        "max_active_tis_per_dagrun": spec.partitions.parallel,
        "on_failure_callback": partition_callbacks(spec),
        "map_index_template": f"{{{{ {LABEL} | default(task.op_kwargs.partition) }}}}",
        **pool,
    }


def step(function: Callable[..., Any], decorator: Any = task, **arguments: Any) -> Any:
    """The task named like the function."""
    return decorator(task_id=function.__name__, **{**RETRYING, **arguments})(function)
