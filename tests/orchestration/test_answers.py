"""The middleware before an answer: which requests it looks at, as whom, and that Airflow's server has it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from airflow import plugins_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import USER_INJECTED_BY_TRUSTED_MIDDLEWARE
from pytest import MonkeyPatch

from journal.helpers import connection_of, make_evidence, make_plan
from vectorferry.core.audited import ASKED
from vectorferry.core.model import Cohort
from vectorferry.journal import open_journal
from vectorferry.ui.answers import KeepRoles

ANSWER = (
    "/api/v2/dags/docs.migrate/dagRuns/manual__2026-11-30T10:00:00+00:00/taskInstances/approve_cutover/-1/hitlDetails"
)
DIGEST = "a" * 64


@pytest.fixture
def asked(database: str, monkeypatch: MonkeyPatch) -> str:
    """A journal in which a question asks for an operator; returns its address."""
    with open_journal(connection_of(database), upgrade=True) as journal:
        journal.control.register("docs", "spec-1", [Cohort()], "bob")
        journal.plans.save(make_plan())
        journal.evidence.save(make_evidence(DIGEST))
        run = "manual__2026-11-30T10:00:00+00:00"
        place = {"dag": "docs.migrate", "run": run, "task": "approve_cutover", "evidence": DIGEST}
        journal.audit.write("docs", "bob", ASKED, {**place, "names": [], "roles": ["op"]})
    monkeypatch.setenv("AIRFLOW__VECTORFERRY__JOURNAL", "vectorferry_journal")
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", database)
    return database


def send(path: str, role: str | None, method: str = "PATCH", prefix: str = "") -> tuple[int, bytes]:
    """The status and the body that a request gets of a user whom Airflow's own middleware has recognised, None: of nobody."""
    got: list[Mapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"Airflow's"})

    async def keep(message: Mapping[str, Any]) -> None:
        got.append(message)

    user = {"user": SimpleAuthManagerUser(username="ann", role=role)} if role else {}
    state = {**user, "user_authenticated_via": USER_INJECTED_BY_TRUSTED_MIDDLEWARE}
    scope = {
        "type": "http",
        "method": method,
        "path": prefix + path,
        "headers": [],
        "query_string": b"",
        "state": state,
    }
    asyncio.run(KeepRoles(app)(scope, None, keep))
    return got[0]["status"], got[1]["body"]


def test_an_answer_goes_on_once_the_journal_has_the_roles(asked: str) -> None:
    assert send(ANSWER, "op", prefix="/airflow")[0] == 200
    with open_journal(connection_of(asked)) as journal:
        [row] = journal.audit.trail("docs", "answerer")
    assert (row.actor, row.detail["roles"], row.detail["evidence"]) == ("ann", ["op"], DIGEST)


def test_an_answer_without_the_role_ends_here(asked: str) -> None:
    status, body = send(ANSWER, "user")
    assert status == 403
    assert b"ann has the role user; approvers of docs are whoever has the role op" in body


def test_what_is_not_ours_goes_on(asked: str, monkeypatch: MonkeyPatch) -> None:
    for path, role, method in (
        (ANSWER.replace("docs.migrate", "of_others"), "user", "PATCH"),
        (ANSWER, "user", "GET"),
        (ANSWER, None, "PATCH"),  # of nobody: Airflow says so itself
        ("/api/v2/dags", "user", "PATCH"),
    ):
        assert send(path, role, method) == (200, b"Airflow's"), (path, role, method)
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", "postgresql://u:p@127.0.0.1:1/none")
    assert send(ANSWER, "user") == (200, b"Airflow's"), (
        "without a journal other people's questions go on; ours end in their task"
    )


def test_airflows_server_has_it() -> None:
    _, middlewares = plugins_manager.get_fastapi_plugins()
    assert [each["middleware"] for each in middlewares].count(KeepRoles) == 1
