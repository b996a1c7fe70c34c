"""Site: an Airflow API server at a prefix with a seeded journal, and a browser that is there already; no DAG runs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from chromium import FLAGS
from journal.helpers import connection_of
from ui.seeded import seed
from vectorferry.journal import Journal, open_journal
from vectorferry.local.servers.airflow import Airflow, airflow
from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.supervisor import Supervisor

PREFIX = "/airflow"
# Against what hangs: whatever a test waits for comes, or something is wrong.
PATIENCE = 60_000


@dataclass(frozen=True)
class Site:
    """Where the page is, and the journal that it shows."""

    server: Airflow
    journal: Journal
    token: str

    @property
    def root(self) -> str:
        return f"{self.server.url}{PREFIX}"

    def url(self, place: str = "") -> str:
        return f"{self.root}/vectorferry/{place}"


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A site whose files lie in this folder."""
    database = local_postgres(folder / "postgres")
    with Supervisor(folder) as supervisor:
        supervisor.start(database.services())
        url = database.create_database("seeded")
        with open_journal(connection_of(url), upgrade=True) as journal:
            seed(journal)
            server = served(folder, database, url)
            wanted = ("airflow-database", "airflow-api-server")
            supervisor.start([each for each in server.services() if each.name in wanted])
            yield Site(server, journal, token_of(server))


def served(folder: Path, database: Any, journal: str) -> Airflow:
    (folder / "dags").mkdir()
    made = airflow(folder / "airflow", folder, database, connections={"vectorferry_journal": journal})
    return replace(made, variables={"AIRFLOW__API__BASE_URL": f"{made.url}{PREFIX}"})


def token_of(server: Airflow, user: str = "viewer") -> str:
    said = {"username": user, "password": server.password(user)}
    answer = httpx.post(f"{server.url}{PREFIX}/auth/token", json=said, trust_env=False, timeout=60)
    return str(json.loads(answer.text)["access_token"])


@contextmanager
def running_browser(path: str) -> Iterator[Browser]:
    """A browser of its own, with a user's folder that is thrown away."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


def tab(site: Site, browser: Browser, *, login: bool = True, **options: Any) -> BrowserContext:
    """A window of somebody, who may read every DAG unless `login` is False."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC", **options)
    context.set_default_timeout(PATIENCE)
    if login:
        context.add_cookies([{"name": "_token", "value": site.token, "url": site.root}])
    return context
