"""The page in a real browser, on Airflow's own API server: what it shows, to whom, and how it is worked with."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from ui import seeded
from ui.conftest import MakeVisit, Visit
from ui.live_site import tab
from vectorferry.ui.files import FOLDERS

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

PLACES = ("", "#/catalogue", "#/articles", "#/events")
# Below it text is hard to read (WCAG 2.1, AA).
CONTRAST = 4.5
# The colours of every text and of what is behind it, as this browser paints them.
POOR = """
least => {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = rgba(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("").trim();
    if (!text || element.closest("svg, .hidden, noscript, option") || !element.checkVisibility()) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color).slice(0, 3)), light(behind(element).slice(0, 3))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) poor.push(`${ratio.toFixed(2)} ${element.className}: ${text.slice(0, 40)}`);
  }
  return poor;
}
"""
# Of the browser's own tree of what assistive programs are told.
NAMELESS = """
() => [...document.querySelectorAll("a[href], button, input, select, summary")]
  .filter((each) => each.checkVisibility())
  .filter((each) => !(each.ariaLabel || each.labels?.length || each.textContent.trim()))
  .map((each) => each.outerHTML.slice(0, 120))
"""


def findings(page: Page) -> list[str]:
    page.locator(".findings > li").first.wait_for()
    return page.locator(".findings > li").all_inner_texts()


def test_the_overview_shows_where_each_migration_stands(visit: Visit) -> None:
    page = visit.go()
    assert page.locator(".card h2").all_inner_texts() == ["articles", "catalogue", "events"]
    articles, catalogue, events = (page.locator(".card").nth(n).inner_text() for n in range(3))
    assert "✓ GO" in articles
    assert "Answer the question about the cut-over" in articles
    assert "✕ NO-GO" in catalogue
    assert "In the way of the next step" in catalogue
    assert "says NO-GO: 10 of 131 verdicts failed (content 4, " in catalogue
    assert "143 records to settle, 3 open" in catalogue
    assert "target: 6.0 GiB of 8.0 GiB memory (75 %)" in catalogue
    assert "610 of 1,000 partitions" in events
    assert page.locator(".card").nth(0).locator("[aria-current=step]").inner_text() == "TRACK_A"
    assert "The source serves; writes are tracked and the target is filled" in articles


def test_what_waits_for_a_person_stands_first_and_what_failed_next(make_visit: MakeVisit) -> None:
    def answered(route: Route) -> None:
        told = route.fetch().json()
        articles, _, events = told["migrations"]
        events["pending"] = articles.pop("pending")
        articles["go"] = None
        route.fulfill(json=told)

    visit = make_visit()
    visit.page.route("**/api/migrations", answered)
    assert visit.go().locator(".card h2").all_inner_texts() == ["events", "catalogue", "articles"]
    visit.page.unroute_all(behavior="wait")


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        (seeded.DROPPED, ["40 differences", "lost acknowledged writes"]),
        (seeded.SWAPPED, ["2 differences", "vector"]),
        (seeded.TRUNCATED, ["311 differences", "description", "converts values"]),
        (seeded.WRONG_ID, ["sku-00017-copy"]),
        (seeded.WRONG_NAMESPACE, ["song-0", "wrong tenant"]),
        (seeded.STALE, ["the source moved since the export"]),
        (seeded.UNNORMALISED, ["12,500 differences", "normalised"]),
        (seeded.LOW, ["does not reach 0.95", "too little effort"]),
        (seeded.FILTER, ["other records than the filter matches"]),
        ("latency", ["p95 of the target is 131.0 ms"]),
    ],
)
def test_who_never_saw_it_finds_out_which_namespace_fails_and_why(
    told: list[str], namespace: str, words: list[str]
) -> None:
    assert any(namespace in each and all(word in each for word in words) for each in told), told


@pytest.fixture(scope="module")
def told(site: Any, browser: Any) -> list[str]:
    context = tab(site, browser)
    page = context.new_page()
    page.goto(site.url("#/catalogue"))
    found = findings(page)
    context.close()
    return found


def test_names_of_the_data_stay_text_on_every_page(visit: Visit) -> None:
    for place in PLACES:
        page = visit.go(place)
        assert page.locator("main img, main script, main iframe").count() == 0
    page = visit.go("#/catalogue/recall")
    names = page.get_by_role("region", name="Recall by namespace").get_by_role("rowheader")
    expect(names.get_by_text(seeded.EVIL, exact=True)).to_be_visible()
    expect(names.get_by_text(seeded.ARABIC, exact=True)).to_be_visible()
    expect(names.get_by_text("(default)", exact=True)).to_be_visible()
    page.get_by_label("Partitions; the arrow keys walk through them").get_by_role(
        "button", name=seeded.EVIL
    ).first.click()
    expect(page.locator(".chosen").get_by_text(seeded.EVIL, exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    for place in PLACES:
        page = visit.go(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert page.evaluate("document.body.scrollWidth") <= width, place


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_read_and_each_control_has_a_name(make_visit: MakeVisit, theme: Any) -> None:
    visit = make_visit(color_scheme=theme)
    for place in PLACES:
        page = visit.go(place)
        assert page.evaluate("document.documentElement.classList.contains('dark')") is (theme == "dark")
        assert page.evaluate(POOR, CONTRAST) == []
        assert page.evaluate(NAMELESS) == []
        assert page.locator("table:not(:has(caption)), th:not([scope])").count() == 0
    assert page.locator("h1").count() == 1


def test_it_is_worked_by_the_keyboard_alone(visit: Visit) -> None:
    page = visit.go("#/events/partitions")
    focused = page.locator(":focus")
    expect(focused).to_have_id("title-partitions")
    while "cell" not in (focused.get_attribute("class") or ""):
        page.keyboard.press("Tab")
    expect(page.locator(".chosen h3")).to_have_text("p0000")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".chosen h3")).to_have_text("p0002")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".chosen h3")).not_to_have_text("p0002")
    page.keyboard.press("End")
    expect(page.locator(".chosen h3")).to_have_text("p0999")
    # One stop for a thousand cells: the next one is behind them.
    page.keyboard.press("Tab")
    expect(focused).not_to_have_class(re.compile("cell"))


def test_the_map_of_a_thousand_partitions_is_filtered(visit: Visit) -> None:
    page = visit.go("#/events")
    cells = page.locator(".map .cell")
    expect(cells).to_have_count(1000)
    page.get_by_label("Show only").get_by_role("button", name="exporting 2").click()
    expect(cells).to_have_count(2)
    page.get_by_label("Show only").get_by_role("button", name="exporting 2").click()
    page.get_by_role("searchbox", name="Find", exact=True).fill(seeded.EVIL)
    expect(cells).to_have_count(250)


def test_the_partition_that_failed_is_told_before_anything_is_chosen(visit: Visit) -> None:
    page = visit.go("#/catalogue")
    first = page.locator(".map .cell.failed-check").first
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".chosen h3")).to_have_text((first.get_attribute("title") or "").partition(":")[0])
    expect(page.locator(".chosen")).to_contain_text("Failed checks")
    page.locator(".map .cell.passed").first.click()
    expect(page.locator(".chosen")).to_contain_text("own checks passed; those of its namespaces and of everything")
    expect(page.get_by_label("Show only")).to_contain_text("own checks passed")
    assert page.locator("time").first.inner_text().endswith(" UTC")


def test_it_follows_a_run_without_reloading_and_keeps_where_the_reader_is(visit: Visit) -> None:
    page = visit.go("#/events")
    find = page.get_by_role("searchbox", name="Find", exact=True)
    find.fill("p0612")
    expect(page.locator(".map .cell")).to_have_count(1)
    page.evaluate("window.scrolled = window.scrollY; window.same = true")
    plan = visit.site.journal.plans.current("events")
    assert plan is not None
    seeded.complete_one(visit.site.journal, plan, "p0612", ("export", "load"))
    expect(page.locator(".map .cell.loaded")).to_have_count(1)
    expect(find).to_be_focused()
    expect(find).to_have_value("p0612")
    assert page.evaluate("window.same && window.scrolled === window.scrollY")


def test_what_is_not_news_is_not_sent_again(visit: Visit) -> None:
    page = visit.go("#/events")
    with page.expect_response(lambda answer: answer.url.endswith("/partitions") and answer.status == 304):
        pass
    expect(page.locator(".map .cell")).to_have_count(1000)


def test_the_login_that_ended_is_told_and_the_way_back(make_visit: MakeVisit) -> None:
    visit = make_visit()
    page = visit.go("#/catalogue")
    visit.context.clear_cookies()
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#banner")).to_contain_text("You are no longer logged in.")
    assert page.get_by_role("link", name="Log in to Airflow").get_attribute("href") == f"{visit.site.root}/"
    expect(page.locator("h1")).to_have_text("catalogue")
    told = visit.leave()
    assert told
    assert all("401" in each for each in told)


def test_a_server_that_does_not_answer_is_told_and_found_again(make_visit: MakeVisit) -> None:
    visit = make_visit()
    page = visit.go("#/articles")
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#banner")).to_contain_text("Airflow's server does not answer.")
    expect(page.locator("h1")).to_have_text("articles")
    page.unroute("**/api/**")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#banner")).to_be_empty()
    assert all("ERR_FAILED" in each for each in visit.leave())


def test_what_is_not_there_is_told_like_what_may_not_be_read(make_visit: MakeVisit) -> None:
    visit = make_visit()
    visit.page.goto(visit.site.url("#/nothing%20like%20it"))
    expect(visit.page.locator("#banner")).to_contain_text("There is no such migration, or you may not read it.")
    assert all("404" in each for each in visit.leave())


def test_nobody_is_shown_nothing(make_visit: MakeVisit) -> None:
    visit = make_visit(login=False)
    visit.page.goto(visit.site.url())
    expect(visit.page.locator("#banner")).to_contain_text("You are no longer logged in.")
    assert "catalogue" not in visit.page.content()
    visit.leave()


def test_a_link_names_the_migration_and_the_back_button_works(visit: Visit) -> None:
    page = visit.page
    page.goto(visit.site.url("migrations/catalogue"))
    expect(page.locator("h1")).to_have_text("catalogue")
    page.get_by_role("link", name="Migrations").click()
    expect(page.locator("h1")).to_have_text("Migrations")
    page.go_back()
    expect(page.locator("h1")).to_have_text("catalogue")


def test_the_audit_trail_is_filtered_and_goes_on(visit: Visit) -> None:
    for n in range(120):
        visit.site.journal.audit.write("articles", "eve" if n % 2 else seeded.EVIL, "look", {"n": n})
    page = visit.go("#/articles/audit")
    trail = page.get_by_role("region", name="Audit trail, newest first")
    expect(trail.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Load more").click()
    expect(trail.locator("tbody tr")).to_have_count(100)
    page.get_by_label("Who").select_option("eve")
    expect(trail.locator("tbody tr")).to_have_count(50)
    expect(trail.get_by_text(seeded.EVIL)).to_have_count(0)
    page.get_by_label("Words in it").fill("119")
    page.keyboard.press("Enter")
    expect(trail.locator("tbody tr")).to_have_count(1)


def test_in_airflows_own_pages_it_takes_their_colours_and_leads_back(make_visit: MakeVisit) -> None:
    visit = make_visit(color_scheme="dark")
    page = visit.page
    page.goto(f"{visit.site.root}/plugin/vectorferry")
    framed = page.frame_locator("iframe")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    expect(framed.locator("html")).to_have_class(re.compile("dark"))
    page.evaluate("document.documentElement.classList.remove('dark')")
    expect(framed.locator("html")).not_to_have_class(re.compile("dark"))
    framed.get_by_role("link", name="catalogue", exact=True).click()
    expect(page).to_have_url(re.compile("/plugin/vectorferry.*#/catalogue$"))
    page.reload()  # the address leads back to the migration
    framed.get_by_role("link", name="DAG", exact=True).click()
    page.wait_for_url(f"{visit.site.root}/dags/catalogue.migrate**")
    # Airflow's own pages say what they like to the console.
    visit.complaints[:] = [each for each in visit.complaints if "vectorferry" in each or "Content Security" in each]


@pytest.mark.parametrize(
    "path", [path for folder in FOLDERS for path in folder.glob("*.js")], ids=lambda path: path.name
)
def test_no_script_makes_markup_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
