"""Plugin that Airflow finds by this package's entry point: the page of all migrations, the reports behind questions, and a look at the
roles of who answers."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _OnlyForTheServer:
    """The app, made when it is asked for: every process of Airflow loads its plugins, and importing FastAPI takes seconds."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.ui.app import PLUGIN

        return [PLUGIN]


class _AnswersToo:
    """The middleware, in the same way."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.ui.answers import MIDDLEWARE

        return [MIDDLEWARE]


class _InTheNavigation:
    """The entry of the page; its address is read when the server asks, for the prefix that Airflow is reached under."""

    def __get__(self, instance: object, owner: object) -> list[dict[str, Any]]:
        from vectorferry.orchestration.report_link import MOUNT
        from vectorferry.ui.airflow_places import root

        page = {"name": "Vectorferry", "href": f"{root()}{MOUNT}/", "destination": "nav", "url_route": "vectorferry"}
        return [{**page, "category": "browse"}]


class VectorferryReports(AirflowPlugin):
    """What the entry point names."""

    name = "vectorferry_reports"
    fastapi_apps = _OnlyForTheServer()
    fastapi_root_middlewares = _AnswersToo()
    external_views = _InTheNavigation()
