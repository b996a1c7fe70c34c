"""Airflow's side: turns a spec into DAGs, connections into stores, and a person's answer into a row of the journal.

A DAG file needs one call:

    from vectorferry.orchestration import migration

    for dag in migration("docs.yaml", __file__):
        globals()[dag.dag_id] = dag
"""

from vectorferry.orchestration.dags import build_dags, migration

__all__ = ["build_dags", "migration"]
