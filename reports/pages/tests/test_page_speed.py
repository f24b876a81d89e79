"""A page of ten thousand trials in a real browser: how large, how quick."""

import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from pages.__main__ import main

from .browsing import needs_browser
from .conftest import GROUP, Golden, trials

pytestmark = needs_browser


@pytest.mark.slow
def test_ten_thousand_trials(
    browser: Browser, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small, and quick enough to use: the page is at most 4 MB; the times to build it, to the first
    chart and of a filter are printed as median and spread. Broken by sending raw rows."""
    rows: list[dict[str, Any]] = []
    for stack in range(12):
        for load in range(70):
            one = trials(f"stack-{stack}", [10 + stack + b / 10 for b in range(12)])
            rows += [
                row
                | {
                    "trial_id": f"{stack}.{load}.{row['block']}",
                    "load": f"closed-{load}",
                    "users": load + 1,
                }
                for row in one
            ]
    assert len(rows) >= 10_000
    folder = golden(rows)
    to = tmp_path / "big"
    built: list[float] = []
    for n in range(5):
        # Each reads every file: the cache of an earlier build would spare it that.
        monkeypatch.setattr("reports.cache.CACHE", tmp_path / f"cache-{n}")
        started = time.monotonic()
        assert main(["--results", str(folder), "--to", str(to)]) == 0
        built.append(time.monotonic() - started)
    file = to / f"{GROUP}.html"
    print(f"{len(rows)} trials: {file.stat().st_size / 1e6:.2f} MB")
    assert file.stat().st_size <= 4e6
    first: list[float] = []
    filtered: list[float] = []
    for _ in range(5):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-drawn]")
        first.append(page.evaluate("performance.getEntriesByName('first chart')[0].startTime"))
        for load in ("closed-3", "closed-9", "all"):
            page.select_option("#filter-load", load)
            page.evaluate("window.settled()")
        filtered += page.evaluate("performance.getEntriesByName('filtered').map((m) => m.duration)")
        context.close()
    print(f"built: median {statistics.median(built):.1f} s, {min(built):.1f}–{max(built):.1f}")
    for name, values in (("first chart", first), ("filter", filtered)):
        spread = f"{min(values):.0f}–{max(values):.0f}"
        print(f"{name}: median {statistics.median(values):.0f} ms, {spread}")
    assert len(filtered) == 15
