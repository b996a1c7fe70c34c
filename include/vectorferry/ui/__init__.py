"""Pages that Airflow's own server shows."""
