"""Questions that an approver answers in the Airflow UI or on a terminal, as Markdown."""
