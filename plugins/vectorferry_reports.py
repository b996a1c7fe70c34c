"""Registers the reports of migrations in Airflow's own server; an approver's question links to them."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _OnlyForTheServer:
    """The app, made when it is asked for: every process of Airflow loads this file, and importing FastAPI takes seconds."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.ui.reports import PLUGIN

        return [PLUGIN]


class VectorferryReports(AirflowPlugin):
    """What Airflow looks for when it loads this file."""

    name = "vectorferry_reports"
    fastapi_apps = _OnlyForTheServer()  # type: ignore[assignment]
