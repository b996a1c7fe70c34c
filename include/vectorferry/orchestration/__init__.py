"""Airflow's side: a spec becomes DAGs, connections become stores, and a person's answer becomes a row in the journal.

A DAG file needs one call:

    from vectorferry.orchestration import migration

    migrate = migration("docs.yaml", __file__)
"""

from vectorferry.orchestration.dags import build_dag, migration

__all__ = ["build_dag", "migration"]
