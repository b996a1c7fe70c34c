"""Airflow's side: turns a spec into DAGs, connections into stores, and a person's answer into a row of the journal.

A DAG file needs one call:

    from vectorferry.orchestration import migration

    for dag in migration("docs.yaml", __file__):
        globals()[dag.dag_id] = dag

For a DAG of one's own there are the whole migration as a group of tasks, and its waits as sensors. These names stay what they are.
"""

from vectorferry.orchestration.approval import BoundApproval
from vectorferry.orchestration.dags import build_dags, migration, migration_spec
from vectorferry.orchestration.migrate_wiring import migration_group
from vectorferry.orchestration.notify import on_failure
from vectorferry.orchestration.operators import BackupOperator, CompareOperator, MigrationOperator
from vectorferry.orchestration.params import migration_params
from vectorferry.orchestration.sensors import (
    ChangeWindowSensor,
    CohortWatchSensor,
    CutOverSensor,
    IndexSensor,
    MigrationSensor,
    RoutersSensor,
    ShadowReadsSensor,
)

__all__ = [
    "BackupOperator",
    "BoundApproval",
    "ChangeWindowSensor",
    "CohortWatchSensor",
    "CompareOperator",
    "CutOverSensor",
    "IndexSensor",
    "MigrationOperator",
    "MigrationSensor",
    "RoutersSensor",
    "ShadowReadsSensor",
    "build_dags",
    "migration",
    "migration_group",
    "migration_params",
    "migration_spec",
    "on_failure",
]
