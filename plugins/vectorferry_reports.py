"""Registers the reports of migrations in Airflow's own server; an approver's question links to them."""

from airflow.plugins_manager import AirflowPlugin

from vectorferry.ui.reports import PLUGIN


class VectorferryReports(AirflowPlugin):
    """What Airflow looks for when it loads this file."""

    name = "vectorferry_reports"
    fastapi_apps = [PLUGIN]  # noqa: RUF012 (Airflow's own name)
