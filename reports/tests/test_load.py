"""The views over a results folder, whole, damaged and hostile."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from golden import RUN, trial_row
from reports.ask import QuestionError, ask
from reports.columns import in_view, load_columns
from reports.files import File, Folder
from reports.load import open_results
from reports.storage import RawRecords

from .conftest import stack_rows


def one(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """All rows of one query; refuses a folder that gives none."""
    with open_results(Folder(str(folder)), raw=True) as loaded:
        rows = ask(loaded.db, sql)[0].rows
    assert rows, f"{sql} gave nothing to check"
    return rows


@pytest.mark.parametrize("view", sorted(load_columns()))
def test_each_view_has_the_described_columns(results: Path, view: str) -> None:
    """A view shows exactly the columns that columns.toml describes, in its order and types.

    Broken by a column added to the SQL or to the description alone."""
    described = one(results, f"describe {view}")
    expected = [(column.name, column.type) for column in in_view(view)]
    assert [(name, str(kind)) for name, kind, *_ in described] == [
        (n, "TIMESTAMP WITH TIME ZONE" if k == "TIMESTAMPTZ" else k) for n, k in expected
    ]


def test_rows_arrive(results: Path) -> None:
    """Every kind of file becomes rows with its values. Broken by a wrong glob or join."""
    assert one(results, "select stack, count(*) from trials group by all order by 1") == [
        ("alpha", 3),
        ("beta", 3),
    ]
    assert one(results, "select distinct profile, users from trials") == [("smoke", 4)]
    assert one(results, "select cpus, cpu_model, gpu from runs") == [(2, "A CPU", None)]
    assert one(results, "select stack, status, fix from stacks order by 1") == [
        ("alpha", "measured", None),
        ("gamma", "skipped", "apt-get"),
    ]
    assert one(results, "select distinct run_id from requests") == [(RUN,)]
    assert one(
        results, "select trial_id, done_ns, payloads, error from requests order by slot"
    ) == [
        ("alpha.rest.closed-4.b1", 200, [3], ""),
        ("alpha.rest.closed-4.b1", None, [4, 5], "dropped"),
    ]
    assert one(
        results, "select stack_a, stack_b, blocks, distinguishable from comparisons limit 1"
    ) == [("alpha", "beta", 3, True)]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "not whole JSON"),
        (b'{"run_id": "x"', "not whole JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"\xff\xfe\x00", "not whole JSON"),
        (b'{"a": 1}', "lacks schema_version"),
        (b"[" * 100_000, "not whole JSON"),
    ],
)
def test_a_damaged_trial_is_named_and_the_rest_load(
    results: Path, content: bytes, named: str
) -> None:
    """One bad file costs its own row only. Broken by handing all files to one reader unchecked."""
    (results / RUN / "trials" / "bad.json").write_bytes(content)
    with open_results(Folder(str(results))) as loaded:
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
    assert len(loaded.warnings) == 1
    assert f"{RUN}/trials/bad.json" in loaded.warnings[0]
    assert named in loaded.warnings[0]


def test_a_name_that_is_no_text_is_named(results: Path) -> None:
    """File names are bytes. Broken by handing them on as they come: no encoding takes them."""
    for place in (b"trials/\xff.json", b"raw/\xfe/requests.parquet"):
        file = Path(os.fsdecode(os.fsencode(results / RUN) + b"/" + place))
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    with open_results(Folder(str(results)), raw=True) as loaded:
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
        assert ask(loaded.db, "select count(*) from requests")[0].rows == [(2,)]
    trial, records = loaded.warnings
    assert r"trials/\udcff.json" in trial and r"raw/\udcfe/requests.parquet" in records


def test_a_value_of_the_wrong_type_is_named(results: Path) -> None:
    """JSON that Python reads and DuckDB can't cast. Broken without the file-by-file retry."""
    row = trial_row("delta", 1, throughput_per_s="fast")
    (results / RUN / "trials" / "typed.json").write_text(json.dumps(row))
    with open_results(Folder(str(results))) as loaded:
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
    assert [w for w in loaded.warnings if "typed.json" in w]


@pytest.mark.parametrize("figure", ["NaN", "-Infinity", "1e999"])
def test_a_figure_that_is_no_number_is_named(results: Path, figure: str) -> None:
    """Python reads them; a mean over them is no figure, and JSON has no word for it. Broken by
    handing on whatever Python's reader takes."""
    text = json.dumps(trial_row("delta", 1, throughput_per_s=12345.0))
    file = results / RUN / "trials" / "figure.json"
    file.write_text(text.replace("12345.0", figure))
    with open_results(Folder(str(results))) as loaded:
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
    (warning,) = loaded.warnings
    assert "figure.json: holds NaN" in warning


def test_damaged_comparisons_and_raw_records_are_named(results: Path) -> None:
    """The same for the other kinds. Broken by a reader that lets one fault end the query."""
    (results / RUN / "comparisons.json").write_text('{"comparisons": 3}')
    (results / RUN / "raw" / "torn").mkdir()
    (results / RUN / "raw" / "torn" / "requests.parquet").write_bytes(b"PAR1torn")
    with open_results(Folder(str(results)), raw=True) as loaded:
        assert ask(loaded.db, "select count(*) from requests")[0].rows == [(2,)]
    assert len(loaded.warnings) == 2


def test_each_thread_reads_from_where_it_sought_to(tmp_path: Path) -> None:
    """DuckDB's threads share a handle, and seek and read in two calls. Broken by one position for
    all of them: a query over large raw records then fails now and then, or reads other bytes."""
    (tmp_path / "a.parquet").write_bytes(b"abcdefgh")
    records = RawRecords(Folder(str(tmp_path)), [File("a.parquet", "")])
    with closing(records.open("records://a.parquet")) as file:
        file.seek(2)
        with ThreadPoolExecutor(1) as other:
            other.submit(file.seek, -2, os.SEEK_END).result()
            assert file.read(2) == b"cd"
            assert other.submit(file.read, 1).result() == b"g"
            assert (file.tell(), other.submit(file.tell).result()) == (4, 7)
        assert file.read() == b"efgh"


def test_a_late_extra_column_is_kept(results: Path) -> None:
    """The 40th file's first non-null figure arrives. Broken by sampling the first 32 files."""
    for number in range(40):
        figure = 5.0 if number == 39 else None
        row = trial_row("zeta", number, trial_id=f"z{number:02}", recovery_s=figure)
        (results / RUN / "trials" / f"z{number:02}.json").write_text(json.dumps(row))
    assert one(results, "select max(recovery_s) from trials") == [(5.0,)]


def test_a_copied_run_does_not_count_twice(results: Path) -> None:
    """A row is its run_id and trial_id. Broken by globbing alone."""
    shutil.copytree(results / RUN, results / "copy")
    with open_results(Folder(str(results))) as loaded:
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
        assert ask(loaded.db, "select count(*) from comparisons")[0].rows == [(2,)]
    assert any("the same row as" in warning for warning in loaded.warnings)


def test_a_stack_at_two_precisions_has_two_rows(results: Path) -> None:
    """The same stack, model, interface and block at another precision is another start. Broken by a
    key without the precision, which calls it a copy."""
    for precision in ("fp32", "int8"):
        row = stack_rows()[0] | {"stack": "beta", "precision": precision}
        (results / RUN / "stacks" / f"beta.{precision}.json").write_text(json.dumps(row))
    assert one(results, "select count(*) from stacks where stack = 'beta'") == [(2,)]


def test_an_empty_folder_has_empty_views(tmp_path: Path) -> None:
    """All views exist without a single file. Broken by a glob that must match."""
    with open_results(Folder(str(tmp_path))) as loaded:
        for view in load_columns():
            assert ask(loaded.db, f"select count(*) from {view}")[0].rows == [(0,)]
        assert loaded.runs == 0


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to '{out}'",
        "explain analyze copy (select 1) to '{out}'",
        "export database '{out}'",
        "attach '{out}' as other",
        "create table t as select 1",
        "drop view trials",
        "delete from trial_files",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "pragma enable_external_access",
        "select * from read_text('{secret}')",
        "select * from '{secret}'",
        "select * from read_csv('{secret}')",
        "select * from glob('{secret}')",
        "select * from query('copy (select 1) to ''{out}''')",
        "with a as (delete from trial_files returning *) select * from a",
        "select 1; drop table trial_files",
        "with a as (copy (select 1) to '{out}') select * from a",
        "with a as (copy (select 1) to '{raw}') select * from a",
        "from query('with a as (copy (select 1) to ''{raw}'') select * from a')",
        "explain analyze delete from trial_files",
        "select * from read_text('records://{run}/run.json')",
        "select * from read_text('records://../secret.csv')",
        "select * from read_text('records://{secret}')",
        "with a as (copy (select 1) to 'records://{record}') select * from a",
        "with a as (copy (select 1) to 'records://{record}' (use_tmp_file false)) select * from a",
        "copy (select 1) to 'records://{run}/raw/x/requests.parquet'",
    ],
)
def test_a_query_changes_and_reads_nothing_else(results: Path, tmp_path: Path, sql: str) -> None:
    """User SQL reads the views and raw records only. Broken by one open door."""
    secret, out = tmp_path / "secret.csv", tmp_path / "out"
    secret.write_text("a,b\n1,2\n")
    raw = next(results.glob("*/raw/*/requests.parquet"))
    record = raw.relative_to(results).as_posix()
    before = raw.read_bytes()
    with open_results(Folder(str(results)), raw=True) as loaded:
        with pytest.raises(QuestionError) as raised:
            ask(loaded.db, sql.format(out=out, secret=secret, raw=raw, run=RUN, record=record))
        assert ask(loaded.db, "select count(*) from trials")[0].rows == [(6,)]
    assert "\n" not in str(raised.value)
    assert not out.exists()
    assert raw.read_bytes() == before


def test_a_python_variable_is_not_a_table(results: Path) -> None:
    """SQL doesn't see the program's variables. Broken by DuckDB's replacement scans."""
    rows = {"a": [1]}
    assert rows
    with open_results(Folder(str(results))) as loaded, pytest.raises(QuestionError, match="rows"):
        ask(loaded.db, "select * from rows")
