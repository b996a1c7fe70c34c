"""The plugin's app below Airflow's server, with a journal of its own and users of either auth manager; no Airflow is started."""

import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

# Airflow reads this when it is imported, and writes its configuration there.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))

import httpx
import sqlalchemy as sa
from airflow import settings
from airflow.api_fastapi.app import _AuthManagerState
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models import import_all_models
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.providers.fab.auth_manager.models import Action, Permission, Resource, Role, User
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pytest import MonkeyPatch

from vectorferry.orchestration.report_link import MOUNT
from vectorferry.ui.app import app

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # FAB imports what Starlette is to lose
    from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager

PREFIX = "/airflow"


@dataclass(frozen=True)
class Server:
    """Airflow's server at a prefix, as far as the plugin needs it."""

    client: TestClient
    manager: Any

    def get(
        self, path: str, user: Any = None, method: str = "GET", *, cookie: bool = False, **more: Any
    ) -> httpx.Response:
        """What a user is answered, or nobody is, by a bearer token or by the cookie of a browser."""
        headers: dict[str, str] = dict(more.pop("headers", {}))
        if user is not None:
            token = self.manager.generate_jwt(user)
            headers |= {"Cookie": f"_token={token}"} if cookie else {"Authorization": f"Bearer {token}"}
        return self.client.request(method, f"{PREFIX}{MOUNT}{path}", headers=headers, follow_redirects=False, **more)

    def json(self, path: str, user: Any, **more: Any) -> Any:
        found = self.get(path, user, **more)
        assert found.status_code == 200, found.text
        return found.json()


def serving(manager: Any, monkeypatch: MonkeyPatch) -> Server:
    """A server whose users this auth manager knows."""
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test alone " * 3)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"http://airflow.example{PREFIX}")
    _make_tables()
    monkeypatch.setattr(_AuthManagerState, "instance", manager)
    airflow = FastAPI(root_path=PREFIX)
    airflow.mount(MOUNT, app)
    return Server(TestClient(airflow, raise_server_exceptions=True), manager)


@cache
def _make_tables() -> None:
    """Airflow's own: teams of DAGs, and tokens that were revoked."""
    import_all_models()
    DagModel.metadata.create_all(settings.engine)


def keep_question(at: Mapping[str, Any], run: str | None, task: str | None, answered: datetime | None) -> None:
    """Have Airflow know a question in place of all others: the states of its run and task, and when it was answered; without `run`
    it knows the DAG alone."""
    forget_questions()
    asked, where = uuid4(), {"dag_id": at["dag"], "run_id": at["run"]}
    limits = {"max_active_tasks": 1, "max_consecutive_failed_dag_runs": 0, "has_task_concurrency_limits": False}
    with settings.engine.begin() as connection:
        connection.execute(sa.insert(DagBundleModel).values(name="asked"))
        connection.execute(sa.insert(DagModel).values(dag_id=at["dag"], bundle_name="asked", **limits))
        if run is None:
            return
        began = {"run_type": "manual", "run_after": datetime.now(UTC), "log_template_id": None}
        connection.execute(sa.insert(DagRun.__table__).values(**where, **began, state=run))
        named = {"id": asked, "task_id": at["task"], "pool": "default_pool", "state": task}
        connection.execute(sa.insert(TaskInstance).values(**where, **named))
        connection.execute(sa.insert(HITLDetail).values(ti_id=asked, options=[], subject="", responded_at=answered))


def forget_questions() -> None:
    """Empty the tables that `keep_question` fills."""
    with settings.engine.begin() as connection:
        for each in (HITLDetail, TaskInstance, DagRun, DagModel, DagBundleModel):
            connection.execute(sa.delete(each))


def simple() -> SimpleAuthManager:
    return SimpleAuthManager()


def simple_user(role: str | None) -> SimpleAuthManagerUser:
    return SimpleAuthManagerUser(username="ann", role=role)


class Fab(FabAuthManager):
    """FAB's own rules over users that are in no database."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = users

    def deserialize_user(self, token: dict[str, Any]) -> User:
        return self._users[token["sub"]]


def fab_user(id: int, *dags: str) -> User:  # noqa: A002 (the column's name)
    """A user who may read these DAGs and nothing else; `*` stands for all DAGs."""
    names = ["DAGs" if dag == "*" else f"DAG:{dag}" for dag in dags]
    held = [Permission(action=Action(name="can_read"), resource=Resource(name=name)) for name in names]
    user = User(id=id, username=f"user{id}", roles=[Role(name=f"role{id}", permissions=held)], active=True)
    user._perms = {("can_read", name) for name in names} or {("nothing", "nowhere")}
    return user
