"""What the tests do with a page in Chromium: open it with the network cut, and look."""

import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next((f for n in NAMES if (f := shutil.which(n))), None)
needs_browser = pytest.mark.skipif(
    not CHROMIUM, reason="no browser here: apt-get install chromium, or set CHROMIUM=/path/to/it"
)


def visit(
    browser: Browser,
    file: Path,
    *,
    query: str = "",
    width: int = 1280,
    scheme: Any = "light",
    draw: bool = False,
) -> tuple[Page, list[str]]:
    """The page and what it complains about; `draw`: with every chart, not only those in sight."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: complaints.append(r.url) if r.url.startswith("http") else None)
    page.goto(file.as_uri() + query)
    if draw and "data-charts" in page.content()[:500]:
        page.evaluate("window.drawAll()")
    return page, complaints


def shades(page: Page, selector: str) -> int:
    """How many colours an element shows: one is a blank."""
    from PIL import Image

    picture = Image.open(io.BytesIO(page.locator(selector).first.screenshot()))
    colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours
    return len(colours)


def figures(page: Page) -> list[str]:
    found = page.evaluate("[...document.querySelectorAll('figure')].map((one) => one.id)")
    assert len(found) > 8, "the page has too few charts to check"
    return found


def rows(page: Page, figure: str) -> list[str]:
    """The lines of a chart's table: what it draws."""
    page.evaluate(f"document.querySelector('#{figure} details').open = true")
    page.wait_for_selector(f"#{figure} details tr", state="attached")
    found = page.locator(f"#{figure} details tr").all_text_contents()
    assert len(found) > 1
    return found[1:]


def drawing(page: Page, figure: str) -> bytes:
    """A chart as it looks, scrolled to and drawn."""
    page.locator(f"#{figure}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{figure} svg")
    page.evaluate("window.settled()")
    return page.locator(f"#{figure} .draw").screenshot()
