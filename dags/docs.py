"""The Airflow DAG docs.migrate: what it moves, and what it proves first, stands in include/migrations/docs.yaml."""

from vectorferry.orchestration import migration

migrate = migration("docs.yaml", __file__)
