"""From a spec to its DAG, `<migration>.migrate`."""

from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG, task, task_group

from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.docs import describe
from vectorferry.orchestration.form import form
from vectorferry.orchestration.notify import callbacks
from vectorferry.orchestration.places import find_spec
from vectorferry.orchestration.retries import RETRYING
from vectorferry.orchestration.steps import LABEL, Steps
from vectorferry.spec import MigrationSpec
from vectorferry.specfile import load_spec


def migration(spec_file: str, dag_file: str | None = None) -> DAG:
    """The DAG of a spec file in include/migrations; a DAG file passes its own `__file__`.

    Raises SpecError, which Airflow shows as the import error of the DAG file: file, line, what is wrong, what to do.
    """
    return build_dag(load_spec(find_spec(spec_file, dag_file)))


def build_dag(spec: MigrationSpec) -> DAG:
    """The DAG that moves the collection of a spec and, once a person has approved, cuts over to it."""
    dag = DAG(
        f"{spec.migration}.migrate",
        description=spec.description or f"Moves {spec.source.collection} to {spec.target.collection}",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        tags=["vectorferry", spec.migration, *spec.tags],
        params=form(spec),
        doc_md=describe(spec),
        default_args={"owner": spec.owner},
        on_failure_callback=callbacks(spec.notify.on_failure),
    )
    with dag:
        _wire(spec)
    return dag


def _wire(spec: MigrationSpec) -> None:
    steps = Steps(spec)
    each = _each(spec)
    names = _step(steps.plan)()
    _step(steps.preflight, task.short_circuit)() >> _step(steps.begin)() >> names

    @task_group(group_id="partition")
    def partition(name: str) -> None:
        (
            _step(steps.export, **each)(name)
            >> _step(steps.upsert, **each)(name)
            >> _step(steps.check_counts, **each)(name)
        )

    moved = partition.expand(name=names)
    merged = _step(steps.merge_truth)()
    recall = _step(steps.check_recall, **each).expand(partition=names)
    collection = checked = _step(steps.check_collection)()
    # It waits for every partition itself: what follows a failed one is settled at once, while the others still run.
    evidence = _step(steps.evidence, task.short_circuit, trigger_rule="all_done")()
    if spec.routers:
        settled, checked = _step(steps.settle)(), _step(steps.recheck)()
        moved >> settled >> merged
        collection >> checked
    moved >> merged >> recall >> collection
    checked >> evidence
    [names, moved, recall] >> evidence
    evidence >> BoundApproval(task_id="approve_cutover", spec=spec) >> _step(steps.switch)() >> _step(steps.verify)()


def _step(function: Callable[..., Any], decorator: Any = task, **arguments: Any) -> Any:
    """The task named like the function."""
    return decorator(task_id=function.__name__, **{**RETRYING, **arguments})(function)


def _each(spec: MigrationSpec) -> dict[str, Any]:
    """What the tasks of a partition have in common. The weight makes a begun partition go on before the next one begins."""
    pool = {"pool": spec.partitions.pool} if spec.partitions.pool else {}
    return {
        "weight_rule": "upstream",
        "max_active_tis_per_dagrun": spec.partitions.parallel,
        "map_index_template": f"{{{{ {LABEL} | default(task.op_kwargs.partition) }}}}",
        **pool,
    }
