"""The Airflow DAGs docs.migrate, .rollback and .finalize: what moves, and what is proved first, stands in include/migrations/docs.yaml."""

from vectorferry.orchestration import migration

for dag in migration("docs.yaml", __file__):
    globals()[dag.dag_id] = dag
