"""The Airflow DAGs of include/migrations/docs.yaml: docs.migrate, docs.rollback, docs.finalize and docs.watch."""

from vectorferry.orchestration import migration

for dag in migration("docs.yaml", __file__):
    globals()[dag.dag_id] = dag
