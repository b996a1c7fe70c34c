"""Pictures: makes those of the page in Airflow that README and docs show, from a seeded journal (PYTHONPATH=tests)."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from chromium import NONE, found_browser
from ui.live_site import Site, running_browser, running_site, tab

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
MOST_BYTES = 150_000
# Name, theme, address below Airflow, height, and the heading at the top of the picture, if any.
PICTURES = (
    ("overview-in-airflow", "light", "plugin/vectorferry", 900, None),
    ("findings", "light", "vectorferry/#/catalogue", 1000, None),
    ("partitions", "dark", "vectorferry/#/events", 620, "title-partitions"),
    ("search-quality", "light", "vectorferry/#/catalogue", 980, "title-recall"),
    ("latency", "dark", "vectorferry/#/catalogue", 980, "title-latency"),
)


def main() -> int:
    path = found_browser()
    if path is None:
        print(NONE)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder)) as site, running_browser(path) as browser:
        for picture in PICTURES:
            take(site, browser, *picture)
    return 0


def take(site: Site, browser: Browser, name: str, theme: str, place: str, height: int, heading: str | None) -> None:
    context = tab(site, browser, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": height})
    page.goto(f"{site.root}/{place}")
    wait_for(page, framed=place.startswith("plugin"))
    if heading:
        page.locator(f"#{heading}").evaluate("each => scrollTo(0, each.getBoundingClientRect().top + scrollY - 64)")
    if heading == "title-partitions":
        page.locator(".map .cell.loading").first.click()
    write(FOLDER / f"{name}.png", page.screenshot())
    context.close()


def wait_for(page: Page, *, framed: bool) -> None:
    """Until everything that was asked for is drawn."""
    shown = page.frame_locator("iframe") if framed else page
    shown.locator("main[aria-busy=false] h1").wait_for()
    page.wait_for_load_state("networkidle")


def write(path: Path, png: bytes) -> None:
    """In as few colours as nobody misses."""
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} is larger than {MOST_BYTES:,} bytes: show less on it")


if __name__ == "__main__":
    sys.exit(main())
