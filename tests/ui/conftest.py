"""One browser, one Airflow API server and one seeded journal for all tests of the page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from chromium import NONE, found_browser
from ui.live_site import PATIENCE, Site, running_browser, running_site, tab

expect.set_options(timeout=PATIENCE)


# As long as it lives, its event loop counts as running in this thread: asynchronous tests of other files could not run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = found_browser()
    if path is None:
        pytest.skip(NONE)
    with running_browser(path) as started:
        yield started


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Started where there is a browser to look at it."""
    with running_site(tmp_path_factory.mktemp("page")) as running:
        yield running


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

    def leave(self) -> list[str]:
        """What the browser complained of, which was expected; the page is left first, so that no feed of it is refused afterwards."""
        self.page.goto("about:blank")
        told = list(self.complaints)
        self.complaints.clear()
        return told


MakeVisit = Callable[..., Visit]


@pytest.fixture
def make_visit(site: Site, browser: Browser) -> Iterator[MakeVisit]:
    """Opens tabs of their own; at the end no page may have complained, or have wished for another server."""
    made: list[Visit] = []

    def make(**options: Any) -> Visit:
        context = tab(site, browser, **options)
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
