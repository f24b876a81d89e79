"""The command line: formats, errors, exit codes, the prompt."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from golden import RUN, trial_row
from reports import export, sql, submit, tables, validate
from reports.query import main

REPORTS = Path(__file__).resolve().parents[1]


def run(module: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A module of this package as a user runs it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", f"reports.{module}", *words],
        env={**os.environ, "PYTHONPATH": str(REPORTS)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_table_csv_json_agree(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The formats show the same rows. Broken by a format that drops or reorders."""
    sql = "select stack, block, throughput_per_s, reasons from trials order by all"
    shown: dict[str, str] = {}
    for form in ("table", "csv", "json"):
        assert main(["--results", str(results), "--format", form, sql]) == 0
        shown[form] = capsys.readouterr().out
    from_json = json.loads(shown["json"])
    from_csv = list(csv.DictReader(io.StringIO(shown["csv"])))
    assert len(from_json) == len(from_csv) == 6
    assert [row["stack"] for row in from_json] == [row["stack"] for row in from_csv]
    assert [row["throughput_per_s"] for row in from_json] == [
        float(row["throughput_per_s"]) for row in from_csv
    ]
    assert from_json[0]["reasons"] == json.loads(from_csv[0]["reasons"]) == []
    assert [line.split()[0] for line in shown["table"].splitlines()[1:]] == [
        row["stack"] for row in from_json
    ]


def test_parquet(results: Path, tmp_path: Path) -> None:
    """Parquet holds the query's rows. Broken by writing before reading."""
    out = tmp_path / "out.parquet"
    words = ["--results", str(results), "--format", "parquet", "--out", str(out)]
    assert main([*words, "select * from trials"]) == 0
    assert parquet.read_table(out).num_rows == 6


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("select latency_p95 from trials", "latency_p95_ms"),
        ("select throughput from trials", "throughput_per_s"),
        ("select requests from trials", "a column of overhead, crosschecks"),
        ("select * from trial", "trials"),
        ("selec 1", "selec"),
        ("", "no SQL"),
        ("drop view trials", "read-only"),
    ],
)
def test_an_error_is_one_line_that_helps(results: Path, sql: str, named: str) -> None:
    """Wrong SQL gets one line with the nearest name and exit code 2, never a traceback."""
    said = run("query", "--results", str(results), sql)
    assert said.returncode == 2
    assert said.stdout == ""
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert named in said.stderr


def test_no_results_say_how_to_get_some(tmp_path: Path) -> None:
    """An empty folder is answered with the command that fills it."""
    for module, words in (("query", ["select 1"]), ("sql", [])):
        said = run(module, "--results", str(tmp_path), *words)
        assert said.returncode == 1
        assert "make bench GROUP=1 PROFILE=smoke" in said.stderr


@pytest.mark.parametrize(
    ("ask_for", "words"),
    [
        (main, ["select 1"]),
        (sql.main, []),
        (export.main, ["--to", "out"]),
        (tables.main, []),
        (validate.main, []),
        (submit.main, ["--run", "20261121-181655-26a4"]),
    ],
    ids=["query", "sql", "export", "tables", "validate", "submit"],
)
def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ask_for: Callable[[list[str]], int],
    words: list[str],
) -> None:
    """A typo in RESULTS is not an empty folder: one line names it and the way out, and nothing is
    made. Broken by a listing that takes what it can't open for empty, or by a traceback."""
    gone = tmp_path / "typo"
    for named, fault in ((gone, "No such file"), (tmp_path / "file", "Not a directory")):
        (tmp_path / "file").touch()
        assert ask_for(["--results", str(named), *words]) == 2
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert f"{named}: {fault}" in line and "RESULTS" in line and "make bench" in line
        assert said.out == ""
    assert not gone.exists()


def test_a_listing_begun_ahead_says_what_it_could_not(tmp_path: Path) -> None:
    """As a user runs it, a process of its own lists the folder: what goes wrong there is told
    all the same. Broken by taking its silence for an empty folder."""
    said = run("query", "--results", str(tmp_path / "typo"), "select 1")
    assert said.returncode == 2
    (line,) = said.stderr.splitlines()
    assert f"{tmp_path / 'typo'}: No such file" in line


def test_strings_from_strangers_are_only_printed(results: Path) -> None:
    """No escape sequence or markup of a file reaches the terminal as such."""
    row = trial_row("evil", 1, detail="\x1b[2Jgone [red]x[/red]\n=1+1")
    (results / RUN / "trials" / "evil.json").write_text(json.dumps(row))
    said = run("query", "--results", str(results), "select detail from trials where stack='evil'")
    assert "\x1b" not in said.stdout
    assert "[red]x[/red]" in said.stdout


def test_the_prompt_answers_a_pipe(results: Path) -> None:
    """Statements over several lines, dot commands, an error in between, and the end of input."""
    said = run(
        "sql",
        "--results",
        str(results),
        stdin=".tables\nselect stack,\n count(*) as n\nfrom trials group by all order by 1;\n"
        "select nonsense from trials;\n.format csv\nselect 1 as one;\n.quit\nselect 2;\n",
    )
    assert said.returncode == 0, said.stderr
    assert "trials       one row: a planned trial" in said.stdout
    assert "alpha  3" in said.stdout
    assert said.stdout.endswith("one\n1\n")
    assert "nonsense" in said.stderr


def test_wide_rows_stand_upright(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`select *` is readable: a name and its value a line."""
    assert main(["--results", str(results), "select * from trials limit 1"]) == 0
    assert "-- row 1" in capsys.readouterr().out
