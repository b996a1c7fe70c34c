"""Plugin that Airflow finds by this package's entry point: the report behind a question, and a look at the roles of who answers."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _OnlyForTheServer:
    """The app, made when it is asked for: every process of Airflow loads its plugins, and importing FastAPI takes seconds."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.ui.reports import PLUGIN

        return [PLUGIN]


class _AnswersToo:
    """The middleware, in the same way."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.ui.answers import MIDDLEWARE

        return [MIDDLEWARE]


class VectorferryReports(AirflowPlugin):
    """What the entry point names."""

    name = "vectorferry_reports"
    fastapi_apps = _OnlyForTheServer()
    fastapi_root_middlewares = _AnswersToo()
