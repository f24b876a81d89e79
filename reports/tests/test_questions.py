"""The files of queries/ run as they are, and the view latest picks what counts today."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from golden import RUN, run_facts, trial_row
from reports import cache, export, rows
from reports.ask import QuestionError, ask
from reports.columns import RESULTS, Column, in_file, in_view, load_columns
from reports.files import Folder
from reports.load import open_results
from reports.query import main

QUERIES = sorted((RESULTS.parent / "queries").glob("*.sql"))
# Those that only speak of several runs, which the committed results need not hold.
OF_SEVERAL_RUNS = {"what-changed-since-the-run-before"}


def copy_run(results: Path, name: str, started: str, blocks: int, **more: Any) -> None:
    """Another run of stack alpha, with its own figures."""
    folder = results / name
    (folder / "trials").mkdir(parents=True)
    facts = run_facts() | {"run_id": name, "started_at": started}
    (folder / "run.json").write_text(json.dumps(facts))
    for block in range(1, blocks + 1):
        row = trial_row("alpha", block, run_id=name, **more)
        (folder / "trials" / f"{block}.json").write_text(json.dumps(row))


def asked(results: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_results(Folder(str(results))) as loaded:
        return ask(loaded.db, sql)[0].rows


def test_there_are_ten_questions() -> None:
    """Broken by a folder that the glob no longer finds."""
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("file", QUERIES, ids=lambda file: file.stem)
def test_a_question_runs_as_it_is(file: Path) -> None:
    """Each begins with its question as a comment and has an answer in the committed results, with
    distinct columns. Broken by a renamed column or a join that loses all rows."""
    text = file.read_text("utf-8")
    assert text.startswith("-- ") and "?" in text.splitlines()[0]
    with open_results(Folder(str(RESULTS))) as loaded:
        answer = ask(loaded.db, text)[0]
    assert len(set(answer.columns)) == len(answer.columns)
    assert answer.rows or file.stem in OF_SEVERAL_RUNS


def test_what_changed_compares_consecutive_runs(results: Path) -> None:
    """Twice the throughput in the second run is a ratio of 2. Broken by comparing backwards."""
    rates = [20.2, 20.2, 20.2]
    copy_run(results, "20260102-000000-aaaa", "2026-01-02T00:00:00Z", 3, throughput_per_s=40.4)
    sql = next(f for f in QUERIES if f.stem in OF_SEVERAL_RUNS).read_text("utf-8")
    with open_results(Folder(str(results))) as loaded:
        answer = ask(loaded.db, sql)[0]
    found = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert [row["run_before"] for row in found] == [RUN]
    assert found[0]["throughput_ratio"] == pytest.approx(40.4 / (sum(rates) / 3))


@pytest.mark.parametrize(
    ("blocks", "more", "wins"),
    [(3, {}, True), (1, {}, False), (3, {"verdict": "INVALID", "throughput_per_s": None}, False)],
)
def test_latest_is_the_newest_that_bears_an_interval(
    results: Path, blocks: int, more: dict[str, Any], wins: bool
) -> None:
    """A newer run replaces an older one, but a single block or INVALID trials replace no three
    usable blocks, and the stack that was not run again stays. Broken by taking the newest run."""
    newer = "20260102-000000-aaaa"
    copy_run(results, newer, "2026-01-02T00:00:00Z", blocks, **more)
    found = asked(results, "select stack, run_id, count(*) from latest group by all order by 1")
    assert found == [("alpha", newer if wins else RUN, 3), ("beta", RUN, 3)]


@pytest.mark.parametrize("other", ["machine", "weights", "precision", "device", "model"])
def test_latest_keeps_different_experiments_apart(results: Path, other: str) -> None:
    """A newer trial of another experiment replaces nothing. Broken by a key left out."""
    newer = "20260102-000000-aaaa"
    changed = {"weights": "pretrained", "precision": "int8", "device": "cuda", "model": "other"}
    more = {} if other == "machine" else {other: changed[other]}
    copy_run(results, newer, "2026-01-02T00:00:00Z", 3, **more)
    if other == "machine":
        facts = json.loads((results / newer / "run.json").read_text())
        facts["machine"]["cpu_model"] = "Another CPU"
        (results / newer / "run.json").write_text(json.dumps(facts))
    assert asked(results, "select count(*) from latest where stack = 'alpha'") == [(6,)]


def test_a_file_of_an_older_schema_loads(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that became required later is null in older files, and missed in newer ones.
    Broken by demanding today's columns of yesterday's files."""
    added = Column("added", "DOUBLE", "a later column", required=True, since=2)
    described = dict(load_columns()) | {
        "trials": (*load_columns()["trials"], added),
        "latest": (*load_columns()["latest"], added),
    }
    monkeypatch.setattr("reports.columns.load_columns", lambda: described)
    monkeypatch.setattr(rows, "SCHEMA_VERSION", 2)
    for number, more in enumerate(({"schema_version": 2}, {"schema_version": 2, "added": 5.0})):
        row = trial_row("new", 1, trial_id=f"new{number}", **more)
        (results / RUN / "trials" / f"new{number}.json").write_text(json.dumps(row))
    with open_results(Folder(str(results))) as loaded:
        found = ask(loaded.db, "select schema, added from (select stack = 'new' as schema, added"
                               " from trials) group by all order by all")[0].rows  # fmt: skip
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(7,)]
    assert found == [(False, None), (True, 5.0)]
    assert [w for w in loaded.warnings if "new0.json: lacks added" in w]


def test_a_file_of_a_newer_schema_is_named(results: Path) -> None:
    """It may mean something else by a known name. Broken by reading on regardless."""
    row = trial_row("new", 1, schema_version=rows.SCHEMA_VERSION + 1)
    (results / RUN / "trials" / "new.json").write_text(json.dumps(row))
    with open_results(Folder(str(results))) as loaded:
        assert ask(loaded.db, "select count(*) from trials where stack = 'new'")[0].rows == [(0,)]
    assert any("newer than this checkout" in warning for warning in loaded.warnings)


def test_hostile_strings_stay_strings(results: Path) -> None:
    """SQL in a name, a path or a value is a value. Broken by formatting it into a statement."""
    evil = "x'; drop table trial_files_kept; -- \" \\ {0} %s"
    row = trial_row(evil, 1, trial_id="evil", detail="'); delete from runs; --")
    (results / RUN / "trials" / "e'; drop view trials; --.json").write_text(json.dumps(row))
    (results / RUN / "trials" / "bad'); drop view runs; --.json").write_text("{")
    raw = next((results / RUN / "raw").iterdir())
    raw.rename(raw.with_name("t'); drop view requests; --"))
    with open_results(Folder(str(results)), raw=True) as loaded:
        assert ask(loaded.db, "select stack, detail from trials where trial_id = 'evil'")[
            0
        ].rows == [(evil, row["detail"])]
        assert ask(loaded.db, "select distinct trial_id from requests")[0].rows == [
            ("t'); drop view requests; --",)
        ]
    assert len(loaded.warnings) == 1


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "WORTHWHILE", 1)
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files that are parsed from now on."""
    parsed: list[str] = []
    read = rows.read

    def spy(folder: Folder, files: list[Any]) -> Any:
        parsed.extend(file.path for file in files)
        return read(folder, files)

    monkeypatch.setattr(rows, "read", spy)
    return parsed


def test_the_cache_follows_the_files(
    results: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what changed is parsed, and what was changed, added, removed or damaged is seen.
    Broken by a cache that trusts names or forgets what it could not read."""
    trials = results / RUN / "trials"
    (trials / "bad.json").write_text("{")
    query = "select count(*), max(throughput_per_s) from trials"
    with open_results(Folder(str(results))) as first:
        assert ask(first.db, query)[0].rows == [(6, 20.3)]
    assert list(cached.rglob("*.duckdb")), "nothing was cached"
    parsed = counted(monkeypatch)
    with open_results(Folder(str(results))) as second:
        assert ask(second.db, query)[0].rows == [(6, 20.3)]
        assert second.warnings == first.warnings
        assert len(second.warnings) == 1
    assert parsed == []
    (trials / "alpha.rest.closed-4.b1.json").write_text(
        json.dumps(trial_row("alpha", 1, throughput_per_s=1000.5))
    )
    (trials / "beta.rest.closed-4.b1.json").unlink()
    (trials / "new.json").write_text(json.dumps(trial_row("new", 1)))
    assert asked(results, query) == [(6, 1000.5)]
    assert sorted(Path(path).name for path in parsed) == [
        "alpha.rest.closed-4.b1.json",
        "new.json",
    ]


def test_what_was_removed_is_gone_from_the_cache(results: Path, cached: Path) -> None:
    """A file less and none to parse: another state all the same. Broken by keeping the old one
    until something new comes."""
    query = "select count(*) from trials"
    assert asked(results, query) == [(6,)]
    next((results / RUN / "trials").iterdir()).unlink()
    before = {file: file.read_bytes() for file in cached.rglob("*.duckdb")}
    assert asked(results, query) == asked(results, query) == [(5,)]
    assert {file for file, old in before.items() if file.read_bytes() != old} == {
        file for file in before if file.stem == "trials"
    }


def test_sql_can_not_write_the_cache(results: Path, cached: Path) -> None:
    """What is attached is a copy. Broken by attaching the cache itself: DuckDB lets a COPY in a
    WITH overwrite what is attached."""
    asked(results, "select count(*) from trials")
    (file,) = (file for file in cached.rglob("*.duckdb") if file.stem == "trials")
    before = file.read_bytes()
    with open_results(Folder(str(results))) as loaded:
        attached = ask(loaded.db, "select path from duckdb_databases() where path like '%trials%'")
        assert attached[0].rows, "the rows did not come from the cache"
        for place in (file, f"{file}.wal"):
            with pytest.raises(QuestionError):
                ask(loaded.db, f"with a as (copy (select 1) to '{place}') select * from a")
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir() if one.suffix != ".duckdb"] == []


def test_a_damaged_cache_is_made_anew(results: Path, cached: Path) -> None:
    """Broken by believing whatever lies in the cache's place."""
    before = asked(results, "select trial_id from trials order by all")
    files = list(cached.rglob("*.duckdb"))
    assert files
    for file in files:
        file.write_bytes(b"PAR1 torn")
    assert asked(results, "select trial_id from trials order by all") == before
    assert len(before) == 6


def test_cached_copies_are_still_named(results: Path, cached: Path) -> None:
    """A run copied twice counts once, from the cache too. Broken by caching before the check."""
    shutil.copytree(results / RUN, results / "copy")
    for _ in range(2):
        with open_results(Folder(str(results))) as loaded:
            assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
        assert len([w for w in loaded.warnings if "the same row as" in w]) == 10


def test_export_holds_every_view(results: Path, tmp_path: Path) -> None:
    """One Parquet file a view with its columns and rows. Broken by a view left out."""
    to = tmp_path / "out" / "deeper"
    assert export.main(["--results", str(results), "--to", str(to)]) == 0
    assert {file.name for file in to.iterdir()} == {f"{view}.parquet" for view in load_columns()}
    sizes = {
        "runs": 1,
        "stacks": 2,
        "trials": 6,
        "latest": 6,
        "comparisons": 2,
        "requests": 2,
        "samples": 0,
    }
    for view, size in sizes.items():
        table = parquet.read_table(to / f"{view}.parquet")
        assert table.num_rows == size, view
        assert table.column_names == [column.name for column in in_view(view)]
    assert "schema_version" in [column.name for column in in_file("trials")]


def test_an_export_that_has_no_room_says_so(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, and nothing half written. Broken by an answer that is still open: it hides why."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_batch", full)
    assert export.main(["--results", str(results), "--to", str(tmp_path / "out")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_question_in_a_file(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--file asks what the file says; one that is missing, or no text, is named in a line."""
    question = tmp_path / "q.sql"
    question.write_text("-- How many?\nselect count(*) as n from trials;\n")
    assert main(["--results", str(results), "--format", "csv", "--file", str(question)]) == 0
    assert capsys.readouterr().out == "n\n6\n"
    assert main(["--results", str(results), "--file", str(tmp_path / "none.sql")]) == 2
    assert "none.sql" in capsys.readouterr().err
    question.write_bytes(b"\xff\xfe")
    assert main(["--results", str(results), "--file", str(question)]) == 2
    assert "q.sql" in capsys.readouterr().err


def test_the_page_of_columns_is_current() -> None:
    """Broken by editing columns.toml without `python -m reports.schema`."""
    from reports.columns import markdown

    assert (RESULTS / "COLUMNS.md").read_text("utf-8") == markdown()
