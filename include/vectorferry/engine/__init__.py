"""The verbs of a migration, free of Airflow; callers use `pipeline` and `session`, the folders beside them do the work."""
