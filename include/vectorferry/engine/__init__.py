"""The verbs of a migration, free of Airflow: plan, export, load, verify, switch; `pipeline` strings them together."""
