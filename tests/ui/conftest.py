"""One browser, one Airflow API server at a prefix, and one seeded journal for all tests of the page; no DAG runs."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from journal.helpers import connection_of
from ui.seeded import seed
from vectorferry.journal import Journal, open_journal
from vectorferry.local.servers.airflow import Airflow, airflow
from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.supervisor import Supervisor

PREFIX = "/airflow"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
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


# As long as it lives, its event loop counts as running in this thread: asynchronous tests of other files could not run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("no browser: `make chromium` installs Debian's, or name one with CHROMIUM=")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


@dataclass
class Visit:
    """A tab of somebody who is logged in; what the browser complained of is kept."""

    site: Site
    context: BrowserContext
    page: Page
    complaints: list[str]

    def go(self, place: str = "") -> Page:
        # From elsewhere, so that the page is loaded anew where only what follows the # differs.
        self.page.goto("about:blank")
        self.page.goto(self.site.url(place))
        self.page.locator("main[aria-busy=false] h1").wait_for()
        return self.page


MakeVisit = Callable[..., Visit]


@pytest.fixture
def make_visit(site: Site, browser: Browser) -> Iterator[MakeVisit]:
    """Opens tabs of their own; at the end no page may have complained, or have wished for another server."""
    made: list[Visit] = []

    def make(*, login: bool = True, **options: Any) -> Visit:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC", **options)
        context.set_default_timeout(PATIENCE)
        if login:
            context.add_cookies([{"name": "_token", "value": site.token, "url": site.root}])
        complaints: list[str] = []
        page = context.new_page()
        page.on("console", lambda message: complaints.extend(_complaint(message)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: complaints.extend(_elsewhere(site, request.url)))
        made.append(Visit(site, context, page, complaints))
        return made[-1]

    yield make
    for visit in made:
        visit.context.close()
    assert [each for visit in made for each in visit.complaints] == []


def _complaint(message: ConsoleMessage) -> list[str]:
    return [f"{message.type}: {message.text}"] if message.type in ("error", "warning") else []


def _elsewhere(site: Site, url: str) -> list[str]:
    known = url.startswith((site.server.url, "data:", "about:", "blob:"))
    return [] if known else [f"asked another server: {url}"]


@pytest.fixture
def visit(make_visit: MakeVisit) -> Visit:
    return make_visit()
