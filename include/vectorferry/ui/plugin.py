"""Plugin that Airflow finds by this package's entry point: the reports of migrations, at the address to which each question links."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _OnlyForTheServer:
    """The app, made when it is asked for: every process of Airflow loads its plugins, and importing FastAPI takes seconds."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.ui.reports import PLUGIN

        return [PLUGIN]


class VectorferryReports(AirflowPlugin):
    """What the entry point names."""

    name = "vectorferry_reports"
    fastapi_apps = _OnlyForTheServer()
