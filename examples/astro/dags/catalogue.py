"""The Airflow DAGs of include/migrations/catalogue.yaml."""

from vectorferry.orchestration import migration

for dag in migration("catalogue.yaml"):
    globals()[dag.dag_id] = dag
