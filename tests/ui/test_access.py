"""Who may see what: every route of the app, whichever there are, for nobody, for a user without the DAG, and for one who may read it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from pytest import MonkeyPatch

from journal.helpers import connection_of, make_evidence, make_plan
from ui.serving import Fab, Server, fab_user, serving, simple, simple_user
from vectorferry.core.audited import ASKED
from vectorferry.core.model import Cohort
from vectorferry.journal import Journal, open_journal
from vectorferry.journal.roles import READER as READER_ROLE
from vectorferry.journal.roles import create_roles
from vectorferry.ui.app import app
from vectorferry.ui.kept_journal import kept_journal

SPEC = {
    "migration": "docs",
    "source": {"connection": "a", "collection": "x"},
    "target": {"connection": "b", "collection": "x"},
    "staging": {"url": "/tmp/s"},
    "writers": "none",
}
DIGEST = "a" * 64
BODY: dict[str, Any] = {
    "go": True,
    "against": [],
    "source": "a x",
    "target": "b x",
    "namespaces": 1,
    "partitions": 2,
    "rows": {"planned": 20, "staged": 20, "excused": 0},
    "excused": [],
    "requested_by": "bob",
    "run": "run-1",
    "collected_at": "2026-01-01T00:00:00+00:00",
    "usage": {"requests": 1, "retries": 0, "throttled": 0, "read_units": 1.0, "write_units": 0.0, "paced_seconds": 0.0},
    "verdicts": [],
}
# The same for everybody, as they hold nothing of a migration; and what whoever is logged in may read.
OPEN = {"/", "/migrations/{name}", "/static/{path:path}"}
FOR_ALL_USERS = {"/approving"}
PLACES = {"name": "docs", "dag_id": "docs.migrate", "digest": DIGEST, "path:path": "charts.js"}
QUERIES = {"/api/migrations/{name}/history": "?kind=latency"}
WRITING = ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def routes() -> list[str]:
    found = [route.path for route in app.routes if isinstance(route, APIRoute)]
    assert len(found) == len(app.routes), "what is mounted is not looked at: make it a route"
    return found


ROUTES = routes()
PROTECTED = [path for path in ROUTES if path not in OPEN | FOR_ALL_USERS]


def called(path: str) -> str:
    """An address that the route answers."""
    query = QUERIES.get(path, "")
    for name, value in PLACES.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"say in PLACES what {path} is called with"
    return path + query


@pytest.fixture
def journal(journal_database: str, monkeypatch: MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("AIRFLOW__VECTORFERRY__JOURNAL", "vectorferry_journal")
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", journal_database)
    with open_journal(connection_of(journal_database)) as opened:
        opened.control.register("docs", "spec-1", [Cohort()], "bob", spec=SPEC)
        opened.plans.save(make_plan())
        opened.evidence.save(make_evidence(DIGEST, body=BODY))
        yield opened


Serve = Callable[..., Server]


@pytest.fixture
def serve(journal: Journal, monkeypatch: MonkeyPatch) -> Serve:
    return lambda manager: serving(manager, monkeypatch)


WITHOUT, OTHER, READER, EVERYBODY = (
    fab_user(1),
    fab_user(2, "shop.migrate", "docs.rollback"),
    fab_user(3, "docs.migrate"),
    fab_user(4, "*"),
)


@pytest.fixture
def fab(serve: Serve) -> Server:
    return serve(Fab({str(user.id): user for user in (WITHOUT, OTHER, READER, EVERYBODY)}))


def test_routes_ask_who_it_is(serve: Serve, fab: Server) -> None:
    for server in (serve(simple()), fab):
        for path in (*PROTECTED, *FOR_ALL_USERS):
            assert server.get(called(path)).status_code == 401, path
            forged = server.get(called(path), headers={"Authorization": "Bearer ab.cd.ef"})
            assert forged.status_code in (401, 403), path
    for path in OPEN:
        assert fab.get(called(path)).content == fab.get(called(path), READER).content, path


@pytest.mark.parametrize("path", PROTECTED)
def test_routes_ask_for_the_dag(path: str, serve: Serve, fab: Server) -> None:
    users = serve(simple())
    _refused(users, path, simple_user(None))
    _granted(users, path, simple_user("viewer"))
    for refused in (WITHOUT, OTHER):
        _refused(fab, path, refused)
    for granted in (READER, EVERYBODY):
        _granted(fab, path, granted)


def _granted(server: Server, path: str, user: Any) -> None:
    serving_again(server)
    by_token, by_cookie = server.get(called(path), user), server.get(called(path), user, cookie=True)
    assert (by_token.status_code, by_cookie.status_code) == (200, 200), by_token.text
    assert "docs" in by_token.text or path != "/api/migrations"


def _refused(server: Server, path: str, user: Any) -> None:
    serving_again(server)
    found = server.get(called(path), user)
    if path == "/api/migrations":
        assert found.json() == {"migrations": []}
    else:
        assert found.status_code in (403, 404), path
        assert DIGEST not in found.text


def serving_again(server: Server) -> None:
    """Of two servers in one process, this one's auth manager counts."""
    from airflow.api_fastapi.app import _AuthManagerState

    _AuthManagerState.instance = server.manager


def test_unknown_and_forbidden_are_the_same(fab: Server) -> None:
    forbidden, unknown = fab.get("/api/migrations/docs", OTHER), fab.get("/api/migrations/none", OTHER)
    assert (forbidden.status_code, forbidden.text) == (unknown.status_code, unknown.text)


def test_a_migration_within_another_dag_is_seen_by_who_may_read_that_once_it_asked(
    fab: Server, journal: Journal
) -> None:
    assert fab.get("/api/migrations/docs", OTHER).status_code == 404
    place = {"dag": "shop.migrate", "run": "run-1", "task": "docs.approve_cutover", "evidence": DIGEST}
    journal.audit.write("docs", "bob", ASKED, {**place, "names": [], "roles": []})
    found = fab.json("/api/migrations/docs", OTHER)
    assert found["dag"] == "shop.migrate"
    assert found["links"]["dag"] == "/airflow/dags/shop.migrate"
    assert fab.get("/api/migrations/docs", WITHOUT).status_code == 404


@pytest.mark.parametrize("path", ROUTES)
def test_nothing_but_get_is_answered(path: str, fab: Server) -> None:
    for method in WRITING:
        assert fab.get(called(path), EVERYBODY, method).status_code == 405, method


def test_answers_carry_their_headers(fab: Server) -> None:
    for path in ROUTES:
        headers = fab.get(called(path), EVERYBODY).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Content-Security-Policy"].startswith("default-src 'none'"), path
        assert "unsafe-eval" not in headers["Content-Security-Policy"], path
    for path in PROTECTED:
        for user in (None, EVERYBODY):
            assert "no-store" in fab.get(called(path), user).headers["Cache-Control"], path
    policy = fab.get("/").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'; style-src 'self'" in policy


def test_a_journal_that_is_away_is_no_secret_told(fab: Server, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", "postgresql://joe:s3cret@127.0.0.1:1/none")
    for path in PROTECTED:
        found = fab.get(called(path), EVERYBODY)
        assert found.status_code == 503, path
        assert "the journal did not answer" in found.text
        assert not [word for word in ("joe", "s3cret", "127.0.0.1") if word in found.text]
        assert fab.get(called(path)).status_code == 401, "nobody hears even that"


def test_the_journal_is_kept_and_reached_again_after_its_restart(fab: Server, journal: Journal) -> None:
    first = kept_journal()
    assert fab.get("/api/migrations", READER).status_code == 200
    with journal.database.statement() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    fab.get("/api/migrations", READER)  # a connection that was used just now is not tried first, and fails
    assert fab.get("/api/migrations", READER).status_code == 200
    assert kept_journal() is first


def test_a_login_that_may_only_read_the_journal_is_enough(
    fab: Server, journal: Journal, journal_database: str, monkeypatch: MonkeyPatch
) -> None:
    create_roles(journal)
    with journal.database.statement() as connection:
        connection.exec_driver_sql(f"CREATE ROLE looks LOGIN PASSWORD 'only' IN ROLE {READER_ROLE}")
        try:
            login = sa.make_url(journal_database).set(username="looks", password="only")
            monkeypatch.setenv("AIRFLOW_CONN_VECTORFERRY_JOURNAL", login.render_as_string(hide_password=False))
            for path in PROTECTED:
                assert fab.get(called(path), EVERYBODY).status_code == 200, path
        finally:
            connection.exec_driver_sql("DROP ROLE looks")
