"""What `python -m pages` makes, and what it says of a wrong call."""

from pathlib import Path
from typing import Any

import pytest

from golden import RUN
from pages import compare
from pages.__main__ import main
from pages.build import build
from pages.facts import load_facts
from pages.render import vega_bundle
from reports.files import Folder
from reports.load import open_results

from .conftest import GROUP, Golden, trials


def test_no_data_at_all(tmp_path: Path) -> None:
    """An index that says how to get results. Broken by a traceback or a page of nothing."""
    (tmp_path / "none").mkdir()
    assert main(["--results", str(tmp_path / "none"), "--to", str(tmp_path / "out")]) == 0
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["index.html"]
    text = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "No results yet. Get some with <code>make bench" in text


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo in RESULTS: one line with the way out. Broken by a report of nothing, which looks as
    if the results were gone."""
    gone, to = tmp_path / "typo", tmp_path / "out"
    for ask_for, words in ((main, []), (compare.main, ["a", "b"])):
        assert ask_for(["--results", str(gone), "--to", str(to), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{gone}: No such file" in line and "RESULTS" in line and "make bench" in line
    assert not gone.exists() and not to.exists()


def test_a_run_has_pages_of_its_own_groups_alone(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what the run did not measure there is no page, and to ask for one is told. Broken by a
    page of nothing for each group that any run has."""
    golden(trials("alpha", (20, 21, 22)))
    later = {"run_id": "20260102-000000-aaaa", "started_at": "2026-01-02T00:00:00Z"}
    folder = golden(trials("beta", (10, 10, 10), group_id="8-other"), **later)
    words = ["--results", str(folder), "--to", str(tmp_path / "out"), "--run", RUN]
    assert main(words) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"index.html", f"{GROUP}.html"}
    capsys.readouterr()
    assert main([*words, "--group", "8"]) == 2
    assert f"GROUP=8: there are results of {GROUP}" in capsys.readouterr().err


LIMITS = {"latency_ms": 250, "ttft_ms": None, "tpot_ms": None, "share": 0.95}


@pytest.mark.parametrize(
    "slo",
    [
        "none",
        {},
        {"latency_ms": 250},
        LIMITS | {"share": None},
        LIMITS | {"latency_ms": "fast"},
        LIMITS | {"latency_ms": [1]},
    ],
    ids=str,
)
def test_a_strangers_limits_end_no_report(slo: Any, golden: Golden, tmp_path: Path) -> None:
    """run.json's groups are free in form, and a row may lack its callers. Broken by one odd file
    that costs the pages of all groups."""
    rows = trials("alpha", (20, 21, 22), goodput=0.9, slo_met=False, users=None)
    folder = golden(rows, groups={GROUP: {"slo": slo, "loads": {}}})
    assert main(["--results", str(folder), "--to", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / f"{GROUP}.html").read_text("utf-8")
    assert "Some callers · rest" in text and "The limit:" not in text


def test_a_watched_page_loads_itself_again(golden: Golden, tmp_path: Path) -> None:
    """With WATCH=1 alone: a page that was only built must stay as its reader scrolled it. Broken
    by a script that is in every page, or in none."""
    with open_results(Folder(str(golden(trials("alpha", (20, 21, 22)))))) as loaded:
        load_facts(loaded.db, None)
        for watched in (False, True):
            for file in build(loaded, tmp_path / str(watched), None, "make report", watched):
                text = file.read_text("utf-8").replace(vega_bundle(), "")
                assert ("location.reload()" in text, "data-watched=" in text) == (watched, watched)


def test_what_comes_while_it_is_built_is_built_too(
    golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WATCH=1 misses nothing: the last trial of a run may come during the first build. Broken by a
    look at the folder after it."""
    folder, to = golden(trials("alpha", (20, 21, 22))), tmp_path / "out"

    def and_measure(*given: Any) -> list[Path]:
        files = build(*given)
        golden(trials("alpha", (20, 21, 22)) + trials("beta", (10, 10, 10)))
        return files

    looks = iter([None])

    def wait(_seconds: float) -> None:
        try:
            next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("pages.__main__.build", and_measure)
    monkeypatch.setattr("pages.__main__.time.sleep", wait)
    assert main(["--results", str(folder), "--to", str(to), "--watch"]) == 0
    assert "alpha serves 1.86–2.36× beta" in (to / f"{GROUP}.html").read_text("utf-8")


@pytest.mark.parametrize("words", [["--group", "7"], ["--run", "nonsense"]])
def test_a_wrong_call_is_one_line(
    golden: Golden, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names what there is; no traceback."""
    folder = golden(trials("alpha", (20, 21, 22)))
    assert main(["--results", str(folder), "--to", str(tmp_path / "out"), *words]) == 2
    assert words[1] in capsys.readouterr().err
