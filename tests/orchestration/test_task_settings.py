"""What a spec says under `airflow:` holds for the tasks of all its DAGs."""

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, BaseSensorOperator
from airflow.serialization.serialized_objects import DagSerialization

from orchestration.test_dags import spec
from vectorferry.core.errors import SpecError
from vectorferry.orchestration import build_dags, migration_group

NEAR = {
    "queue": "near-weaviate",
    "pool": "docs",
    "execution_timeout": "6h",
    "executor_config": {"KubernetesExecutor": {"image": "vectorferry:1"}},
    "retries": 5,
}
CANARY = {"cohorts": [{"name": "canary", "namespaces": ["beta"]}], "window": {"begin": "09:00", "until": "16:00"}}
# What has an end of its own: a switch that is cut off leaves a hold behind, and a watch lasts as long as the spec says.
UNTIMED = {"switch_canary", "watch_canary", "switch", "roll_back"}


def tasks_of(**changes: Any) -> list[Any]:
    dags = build_dags(spec(writers={"expected": 2}, switch=CANARY, **changes))
    for dag in dags:
        DagSerialization.validate_schema(DagSerialization.to_dict(dag))
    return [task for dag in dags for task in dag.tasks]


def test_every_task_of_every_dag_runs_where_and_as_the_spec_says() -> None:
    for task in tasks_of(airflow=NEAR, partitions={"pool": "partitions"}):
        partitions = task.task_id.startswith("partition.") or task.task_id in ("await_pool", "check_recall")
        assert (task.queue, task.pool) == ("near-weaviate", "partitions" if partitions else "docs"), task.task_id
        assert task.executor_config == NEAR["executor_config"], task.task_id
        asks = isinstance(task, ApprovalOperator)
        assert asks or task.retries == 5, task.task_id
        waits = asks or isinstance(task, BaseSensorOperator) or task.task_id in UNTIMED
        assert task.execution_timeout == (None if waits else timedelta(hours=6)), task.task_id


def test_without_it_tasks_run_as_airflow_has_them_and_are_tried_three_times_more() -> None:
    plain = {task.task_id: task for task in tasks_of()}
    assert {task.queue for task in plain.values()} == {"default"}
    assert {task.pool for task in plain.values()} == {"default_pool"}
    assert {task.execution_timeout for task in plain.values()} == {None}
    assert plain["partition.upsert"].retries == plain["switch"].retries == plain["repair"].retries == 3


def test_where_tasks_run_is_no_part_of_what_is_moved_or_proved() -> None:
    plain, near = spec(), spec(airflow=NEAR)
    assert (plain.fingerprint, plain.plan_fingerprint) == (near.fingerprint, near.plan_fingerprint)


def test_a_pod_needs_the_provider_that_reads_one() -> None:
    pod = {"pod_override": {"spec": {"containers": [{"name": "base"}]}}}
    with pytest.raises(SpecError, match=r"docs.*airflow\.executor_config\.pod_override.*providers-cncf-kubernetes"):
        build_dags(spec(airflow={"executor_config": pod}))


def test_they_hold_in_a_dag_of_somebody_elses() -> None:
    with DAG("release", schedule=None) as release:
        migration_group(spec(airflow=NEAR), group_id="moved")
    assert {(task.queue, task.pool) for task in release.tasks} == {("near-weaviate", "docs")}
    assert all(task.task_id.startswith("moved.") for task in release.tasks)
