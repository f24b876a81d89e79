"""The pages in a real browser with the network cut; not run where there is none, and said so.

`apt-get install chromium`, or CHROMIUM=/path/to/chrome, gives these tests their browser.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from golden import RUN, run_facts
from metrics import store_records, store_samples
from pages.__main__ import main
from pages.build import build
from pages.facts import load_facts
from reports.files import Folder
from reports.load import open_results

from .browsing import drawing, figures, needs_browser, rows, shades, visit
from .conftest import GROUP, RECORDS, Golden, at_a_rate, trials, write_golden

pytestmark = needs_browser


def write_samples(folder: Path) -> None:
    """Ten seconds of a core, 500 MB and half a GPU, and an answer in each second."""
    second = 1_000_000_000
    used = {"server_rss_bytes": 500_000_000, "gpu_memory_bytes": 2_000_000_000}
    used |= {"gpu_utilization": 0.5, "gpu_power_w": 70.0}
    samples = [{"t_ns": n * second, "server_cpu_ns": n * second} | used for n in range(11)]
    store_samples(samples, folder / "samples.parquet")
    line = "0,{n},3,{t},{t},{t},{t},0,,,200,true,1,99,\n"
    csv = folder / "records.csv"
    csv.write_text(RECORDS + "".join(line.format(n=n, t=n * second) for n in range(10)))
    store_records(csv, folder / "requests.parquet")
    csv.unlink()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stacks on two interfaces and three loads, random weights; they stream, one of them at
    int8 too, one of them is DEGRADED twice over, and one trial's resources were sampled."""
    rows: list[dict[str, Any]] = []
    for stack, speed in (("alpha", 20), ("beta", 12), ("gamma", 6)):
        for interface, factor in (("rest", 1.0), ("grpc", 1.1)):
            one = trials(
                stack,
                (speed * factor, speed * factor * 1.02, speed * factor * 0.99),
                weights="random",
                interface=interface,
                goodput=0.9,
                slo_met=False,
                ttft_p50_ms=500 / speed,
                ttft_p95_ms=900 / speed,
                tpot_p50_ms=100 / speed,
                tpot_p95_ms=200 / speed,
                queue_ms=5.0,
                inference_ms=20.0,
                latency_mean_ms=40.0,
            )
            one = [row | {"trial_id": f"{row['trial_id']}.{interface}"} for row in one]
            rows += one + at_a_rate(one)
            rows += [
                row | {"trial_id": row["trial_id"] + "8", "load": "closed-8", "users": 8}
                for row in one
            ]
    rows += [
        row | {"trial_id": f"{row['trial_id']}.int8", "precision": "int8"}
        for row in rows
        if row["stack"] == "alpha" and row["load"] == "closed-4"
    ]
    for row in rows:
        if row["stack"] == "gamma":
            row |= {"verdict": "DEGRADED", "reasons": ["STEAL", "NOISY_NEIGHBOUR"]}
    folder = write_golden(tmp_path_factory.mktemp("golden"), rows)
    write_samples(folder / RUN / "raw" / rows[0]["trial_id"])
    to = tmp_path_factory.mktemp("site")
    assert main(["--results", str(folder), "--to", str(to)]) == 0
    return to


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (360, "light")])
def test_every_chart_draws(browser: Browser, site: Path, width: int, scheme: str) -> None:
    """Pixels, not only elements; no complaint, nothing asked of the network, and no sideways
    scrolling of the page. Broken by a script that clashes or a chart wider than the screen."""
    for name in (GROUP, "index"):
        page, complaints = visit(
            browser, site / f"{name}.html", width=width, scheme=scheme, draw=True
        )
        if name == GROUP:
            for figure in figures(page):
                assert shades(page, f"#{figure} .draw") > 8, f"{figure} is blank"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert complaints == []
        page.context.close()


def test_a_filter_changes_what_is_drawn_and_lives_in_the_url(browser: Browser, site: Path) -> None:
    """The choice changes rows and pixels, and is there again after a reload. Broken by a filter
    that only changes the control, or by state that the URL forgets."""
    page, complaints = visit(browser, site / f"{GROUP}.html")
    figure = "figure-heatmap"
    before, drawn = rows(page, figure), drawing(page, figure)
    assert any("grpc" in row for row in before)
    page.select_option("#filter-interface", "rest")
    page.select_option("#filter-load", "poisson-50")
    page.evaluate("window.settled()")
    after = rows(page, figure)
    assert not any("grpc" in row for row in after)
    assert all("Poisson" in row for row in after)
    assert drawing(page, figure) != drawn
    assert "interface=rest" in page.url and "load=poisson-50" in page.url
    page.reload()
    assert page.input_value("#filter-interface") == "rest"
    assert rows(page, figure) == after
    shown = page.locator("section:has(#answer) .answers li:not([hidden])").all_inner_texts()
    assert len(shown) == 1 and "Poisson" in shown[0]
    assert complaints == []


def test_each_filter_leaves_out_what_it_does_not_name(browser: Browser, site: Path) -> None:
    """Of another machine, model or precision nothing is drawn or listed. Broken by a filter that
    forgets one of the fields: two experiments then stand in one chart."""
    page, _ = visit(browser, site / f"{GROUP}.html")
    fields = page.evaluate("SETUP")
    assert len(fields) == 7
    for field in fields:
        other = f"same((name) => (name === '{field}' ? 'another' : state[name]))"
        assert page.evaluate(other) is False, field
    for precision, stacks in (("fp32", {"alpha", "beta", "gamma"}), ("int8", {"alpha"})):
        page.select_option("#filter-precision", precision)
        page.evaluate("window.settled()")
        for figure in ("heatmap", "use-cpu_cores_used", "verdicts", "complexity"):
            found = page.evaluate(f"byId.has('{figure}') ? rowsOf(byId.get('{figure}')) : []")
            assert {one["stack"] for one in found} <= stacks, figure
        cells = page.locator("#trials td:first-child").all_inner_texts()
        assert set(cells) == stacks


def test_each_chart_follows_the_verdict(browser: Browser, site: Path) -> None:
    """VALID only: no row of a DEGRADED trial is left in any chart. Broken by a question that does
    not tell them apart."""
    page, _ = visit(browser, site / f"{GROUP}.html", draw=True)
    with_gamma = [f for f in figures(page) if any("gamma" in row for row in rows(page, f))]
    assert len(with_gamma) > 8 and "figure-verdicts" in with_gamma
    page.select_option("#filter-verdict", "valid")
    page.evaluate("window.drawAll()")
    for figure in with_gamma:
        left = page.locator(f"#{figure} details tr").all_inner_texts()
        assert not any("gamma" in row for row in left), figure


def test_a_trial_with_two_reasons_counts_once(browser: Browser, site: Path) -> None:
    """gamma's 18 trials are 18. Broken by a row for each reason."""
    page, _ = visit(browser, site / f"{GROUP}.html", draw=True)
    found = page.evaluate("rowsOf(byId.get('verdicts'))")
    assert sum(one["value"] for one in found if one["stack"] == "gamma") == 18


def test_a_foreign_url_is_harmless(browser: Browser, site: Path) -> None:
    """A value that no filter has is ignored. Broken by using it unchecked."""
    page, complaints = visit(browser, site / f"{GROUP}.html", query="?load=%3Cimg%3E&machine=x")
    assert page.input_value("#filter-load") == "all"
    assert complaints == []


def test_dark_and_light_differ_and_can_be_chosen(browser: Browser, site: Path) -> None:
    """By the system's wish, and by the button; the charts follow. Broken by a chart in black ink
    on black."""
    grounds: list[str] = []
    inks: list[str] = []
    ink = (
        "getComputedStyle([...document.querySelectorAll('#figure-use-cpu_cores_used svg"
        " .mark-text text')].at(-1)).fill"
    )
    for scheme in ("light", "dark"):
        page, _ = visit(browser, site / f"{GROUP}.html", scheme=scheme, draw=True)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inks.append(page.evaluate(ink))
    assert grounds[0] != grounds[1]
    assert inks[0] != inks[1]
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == grounds[0]
    page.evaluate("window.drawAll()")
    assert page.evaluate(ink) == inks[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_fault(browser: Browser, site: Path, scheme: str) -> None:
    """axe-core's rules, with all charts drawn. Broken by an unlabelled control or faint text."""
    for name in (GROUP, "index"):
        page, _ = visit(browser, site / f"{name}.html", scheme=scheme, draw=True)
        found = Axe().run(page).response["violations"]
        serious = [
            (one["id"], [node["target"] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_the_keyboard_reaches_filters_charts_and_tables(browser: Browser, site: Path) -> None:
    """Tab alone gets everywhere, each stop shows where it is, and a choice keeps its place. Broken
    by a region or button that takes no focus, by an outline that is gone, or by controls that are
    made anew at each choice."""
    page, _ = visit(browser, site / f"{GROUP}.html")
    reached: set[str] = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if not page.evaluate("document.activeElement === document.body"):
            outline = page.evaluate("getComputedStyle(document.activeElement).outline")
            assert "solid 2px" in outline, reached
        if "skip" in reached and len(reached) == 1:
            assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    assert {"skip", "theme", "filter-load", "draw done", "scroll"} <= reached
    page.focus("#filter-load")
    page.keyboard.press("ArrowDown")
    page.evaluate("window.settled()")
    assert "load=" in page.url
    assert page.evaluate("document.activeElement.id") == "filter-load"


def test_random_weights_are_on_every_chart(browser: Browser, site: Path) -> None:
    """In the page and in the picture itself. Broken by a chart that can be shown without it."""
    page, _ = visit(browser, site / f"{GROUP}.html", draw=True)
    for figure in figures(page):
        assert page.locator(f"#{figure} .random").is_visible(), figure
        assert "random weights" in page.locator(f"#{figure} svg").first.inner_html(), figure


@pytest.mark.parametrize("kind", ["svg", "png", "csv"])
def test_downloads(browser: Browser, site: Path, kind: str) -> None:
    """Each is what it says it is. Broken by a policy that forbids it."""
    page, complaints = visit(browser, site / f"{GROUP}.html")
    drawing(page, "figure-heatmap")
    with page.expect_download() as waiting:
        page.click(f"#figure-heatmap [data-save={kind}]")
    content = Path(waiting.value.path()).read_bytes()
    assert waiting.value.suggested_filename.endswith(f"heatmap.{kind}")
    starts = {"svg": b"<svg", "png": b"\x89PNG", "csv": b"stack,interface"}[kind]
    assert content.startswith(starts)
    assert kind != "csv" or (b"random" in content and len(content.splitlines()) > 5)
    assert complaints == []


def test_a_watched_page_shows_what_is_new(browser: Browser, golden: Golden, tmp_path: Path) -> None:
    """By itself, and only then; its reader stays where he was. Broken by a page that never looks,
    or loads itself again and again, by tables that close, or by a place that is lost."""

    def build_watched(folder: Path) -> None:
        with open_results(Folder(str(folder))) as loaded:
            load_facts(loaded.db, None)
            build(loaded, tmp_path / "site", None, "make report", watched=True)

    build_watched(golden(trials("alpha", (20, 21, 22))))
    page, complaints = visit(browser, tmp_path / "site" / f"{GROUP}.html")
    page.evaluate("window.look = newest; window.looks = 0")
    page.evaluate("void (newest = (all) => { looks++; look(all); })")
    for _ in range(100):
        if page.evaluate("looks") > 1:
            break
        page.wait_for_timeout(200)
    else:
        pytest.fail("the page never looks")
    assert "No answer: only alpha was measured" in page.inner_text("section:has(#answer)")
    both = trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10))
    rows(page, "figure-latency-users")
    place = "scrollY > 500 && document.getElementById('complexity').getBoundingClientRect().top"
    page.evaluate("scrollTo(0, document.getElementById('complexity').offsetTop - 50)")
    assert 0 < page.evaluate(place) < 60
    with page.expect_navigation(timeout=120_000):
        build_watched(golden(both))
    assert "alpha serves 1.86–2.36× beta's images" in page.inner_text("section:has(#answer)")
    for _ in range(50):
        if near := 0 < page.evaluate(place) < 100:
            break
        page.wait_for_timeout(100)
    assert near, page.evaluate(place)
    assert page.locator("details[open]").count() == 1
    assert complaints == []


def test_hostile_strings_run_nowhere(browser: Browser, golden: Golden, tmp_path: Path) -> None:
    """Markup in names stays text in charts, tables, controls and files. Broken by one innerHTML, or
    by a quote or comma that ends its cell in a CSV."""
    evil = '<img src=x onerror="window.hit=1">"\', </script><script>window.hit=1</script>'
    both = trials(evil, (20, 21, 22)) + trials("beta", (10, 10, 10))
    folder = golden([row | {"interface": evil, "model": evil} for row in both])
    assert main(["--results", str(folder), "--to", str(tmp_path / "evil")]) == 0
    page, complaints = visit(browser, tmp_path / "evil" / f"{GROUP}.html")
    assert evil in "".join(rows(page, "figure-heatmap"))
    drawing(page, "figure-heatmap")
    page.hover("#figure-heatmap .draw svg")
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0
    with page.expect_download() as waiting:
        page.click("#figure-heatmap [data-save=csv]")
    heading, *lines = csv.reader(io.StringIO(Path(waiting.value.path()).read_text("utf-8")))
    assert {len(line) for line in lines} == {len(heading)}
    assert {line[heading.index("stack")] for line in lines} == {evil, "beta"}
    assert complaints == []


def test_each_machine_has_its_own_limits_and_sizes(
    browser: Browser, golden: Golden, tmp_path: Path
) -> None:
    """Two machines with limits of 250 and 100 ms, and another start's time. Broken by the newest
    run's limit under every chart, or by figures of all machines under each."""
    golden(trials("alpha", (20, 21, 22)))
    other = run_facts()["machine"] | {"cpu_model": "Another CPU"}
    slo = {"latency_ms": 100, "ttft_ms": None, "tpot_ms": None, "share": 0.95}
    later = {"run_id": "20260102-000000-aaaa", "started_at": "2026-01-02T00:00:00Z"}
    groups = {GROUP: {"slo": slo, "loads": {}}}
    folder = golden(trials("alpha", (40, 41, 42)), machine=other, groups=groups, **later)
    for run, ready in ((RUN, 2.0), (later["run_id"], 20.0)):
        for file in (folder / run / "stacks").glob("*.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"ready_s": ready}))
    assert main(["--results", str(folder), "--to", str(tmp_path / "out")]) == 0
    page, complaints = visit(browser, tmp_path / "out" / f"{GROUP}.html")
    seen: dict[str, Any] = {}
    for setup in page.evaluate("page.setups"):
        page.select_option("#filter-machine_name", setup[0])
        ready = """Array.from({ length: tables.complexity.n }, (_, i) => row(tables.complexity, i))
            .filter((one) => same((of) => one[of]) && one.component === "time to ready, s")
            .map((one) => one.value)"""
        seen[setup[0]] = page.evaluate(f"[limitOf('latency_p95_ms'), {ready}]")
    assert sorted(seen.values()) == [[100, [20]], [250, [2]]], complaints
    assert not complaints
