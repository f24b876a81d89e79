"""A results folder as DuckDB views, read-only in effect; files that can't be used are named."""

import json
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb

from reports.columns import RESULTS, Column, in_file, in_view

SCHEMA_VERSION = 1
HOW_TO_GET_SOME = "make bench GROUP=1 PROFILE=smoke"


@dataclass(frozen=True)
class Source:
    """The files behind one view: where they lie, the table they fill, what names a row."""

    view: str
    table: str
    glob: str
    key: tuple[str, ...]


SOURCES = (
    Source("runs", "run_files", "*/run.json", ("run_id",)),
    Source(
        "stacks",
        "stack_files",
        "*/stacks/*.json",
        ("run_id", "group_id", "stack", "model", "interface", "block"),
    ),
    Source("trials", "trial_files", "*/trials/*.json", ("run_id", "trial_id")),
    Source("calibrations", "calibration_files", "calibration/*.json", ("calibration_id",)),
)
# Files that hold a list of rows under the view's name; `key` is the same in all rows of a file.
LISTS = (
    Source("comparisons", "comparison_files", "*/comparisons.json", ("run_id",)),
    Source("overhead", "overhead_files", "overhead/*.json", ("overhead_id",)),
    Source("crosschecks", "crosscheck_files", "crosscheck/*.json", ("crosscheck_id",)),
)


@dataclass(frozen=True)
class Loaded:
    """An open connection with the views, the number of runs and what was left out, and why."""

    db: duckdb.DuckDBPyConnection
    runs: int
    warnings: tuple[str, ...]


def results_folder(given: str | None = None) -> Path:
    """The folder named, else RESULTS, else the checkout's `results/`."""
    return Path(given or os.environ.get("RESULTS") or RESULTS).resolve()


@contextmanager
def open_results(folder: Path, *, raw: bool = False) -> Generator[Loaded]:
    """The views over a results folder; `requests` is empty unless `raw`, which copies them.

    The folder may come from strangers: its files are data only. A file that is corrupt, half
    written, of another kind or a second copy of a row is left out and named in `warnings`.
    All rows are copied into memory and then the connection is cut off from files, extensions and
    settings. Views over the raw records themselves would be smaller, but a file that may be read
    may be overwritten too: a COPY hides in a WITH.
    """
    # DuckDB lets SQL reach its spill folder: a private one.
    with tempfile.TemporaryDirectory() as spill:
        db = duckdb.connect(config={"temp_directory": spill})
        try:
            warnings: list[str] = []
            for source in SOURCES:
                _load_rows(db, folder, source, warnings)
            for source in LISTS:
                _load_lists(db, folder, source, warnings)
            _load_requests(db, folder, raw, warnings)
            for view in sorted((RESULTS / "views").glob("*.sql")):
                db.execute(view.read_text("utf-8"))
            runs = db.execute("select count(*) from runs").fetchone()
            _lock(db)
            yield Loaded(db, int(runs[0]) if runs else 0, tuple(warnings))
        finally:
            db.close()


def _lock(db: duckdb.DuckDBPyConnection) -> None:
    db.execute("set autoinstall_known_extensions = false")
    db.execute("set autoload_known_extensions = false")
    db.execute("set python_enable_replacements = false")
    db.execute("set enable_external_access = false")
    db.execute("set lock_configuration = true")


def _create(db: duckdb.DuckDBPyConnection, table: str, columns: tuple[Column, ...]) -> None:
    declared = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    db.execute(f"create table {table} ({declared})")


def _load_rows(
    db: duckdb.DuckDBPyConnection, folder: Path, source: Source, warnings: list[str]
) -> None:
    columns = in_file(source.view)
    _create(db, source.table, columns)
    required = [column.name for column in columns if column.required]
    seen: dict[tuple[Any, ...], Path] = {}
    usable: list[Path] = []
    for file in sorted(folder.glob(source.glob)):
        row, fault = _read(file)
        if row is not None:
            fault = _fault_of_row(row, required)
            key = tuple(str(row.get(name)) for name in source.key)
            if fault is None and key in seen:
                fault = f"the same row as {seen[key].relative_to(folder)}"
            seen.setdefault(key, file)
        if fault:
            warnings.append(f"{file.relative_to(folder)}: {fault}; left out")
        else:
            usable.append(file)
    types = {column.name: column.type for column in columns}
    statement = (
        f"insert into {source.table} by name select * from read_json(?, columns=?,"
        " format='unstructured', records=true, union_by_name=true)"
    )
    _insert(db, statement, types, usable, folder, warnings)


def _insert(
    db: duckdb.DuckDBPyConnection,
    statement: str,
    types: dict[str, str],
    files: list[Path],
    folder: Path,
    warnings: list[str],
) -> None:
    """All files in one go; where that fails, one by one, to name those at fault."""
    if not files:
        return
    try:
        db.execute(statement, [[str(file) for file in files], types])
    except duckdb.Error as error:
        if len(files) == 1:
            why = str(error).splitlines()[0]
            warnings.append(f"{files[0].relative_to(folder)}: {why}; left out")
            return
        for file in files:
            _insert(db, statement, types, [file], folder, warnings)


def _read(file: Path) -> tuple[dict[str, Any] | None, str | None]:
    """(the file's JSON object, None) or (None, what is wrong with it)."""
    if not file.is_file():
        return None, "not a file"
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        return None, str(error.strerror)
    except (ValueError, RecursionError):
        return None, "not whole JSON"
    if not isinstance(data, dict):
        return None, "not a JSON object"
    return cast("dict[str, Any]", data), None


def _lacking(row: dict[str, Any], required: list[str]) -> str | None:
    lacking = [name for name in required if row.get(name) is None]
    if not lacking:
        return None
    return f"lacks {', '.join(lacking[:3])}" + (" and more" if len(lacking) > 3 else "")


def _fault_of_row(row: dict[str, Any], required: list[str]) -> str | None:
    if fault := _lacking(row, required):
        return fault
    version = row["schema_version"]
    if version != SCHEMA_VERSION:
        return f"schema_version is {version!r}, this reads {SCHEMA_VERSION}"
    return None


def _load_lists(
    db: duckdb.DuckDBPyConnection, folder: Path, source: Source, warnings: list[str]
) -> None:
    columns = in_file(source.view)
    _create(db, source.table, columns)
    usable: list[Path] = []
    seen: dict[str, Path] = {}
    for file in sorted(folder.glob(source.glob)):
        data, fault = _read(file)
        if data is not None:
            fault, name = _whose(data.get(source.view), source)
            if not fault and name and name in seen:
                fault = f"the same {source.key[0]} as {seen[name].relative_to(folder)}"
            seen.setdefault(name, file)
        if fault:
            warnings.append(f"{file.relative_to(folder)}: {fault}; left out")
        else:
            usable.append(file)
    fields = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    statement = (
        f"insert into {source.table} by name select unnest(one) from ("
        f"select unnest({source.view}) as one from read_json(?, columns=?,"
        " format='unstructured', records=true))"
    )
    types = {source.view: f"STRUCT({fields})[]"}
    _insert(db, statement, types, usable, folder, warnings)


def _whose(rows: Any, source: Source) -> tuple[str | None, str]:
    """(what is wrong with these rows, the run or measurement they are of)."""
    if not isinstance(rows, list):
        return f"holds no list of {source.view}", ""
    required = [column.name for column in in_file(source.view) if column.required]
    name = ""
    for row in cast("list[Any]", rows):
        if not isinstance(row, dict):
            return "holds a row that is no object", ""
        if fault := _lacking(cast("dict[str, Any]", row), required):
            return fault, ""
        name = str(cast("dict[str, Any]", row)[source.key[0]])
    return None, name


def _load_requests(
    db: duckdb.DuckDBPyConnection, folder: Path, raw: bool, warnings: list[str]
) -> None:
    columns = [c for c in in_view("requests") if c.name not in ("run_id", "trial_id")]
    _create(db, "request_files", (*columns, Column("filename", "VARCHAR", "")))
    select = ", ".join(f'"{column.name}"' for column in columns)
    for file in sorted(folder.glob("*/raw/*/requests.parquet")) if raw else ():
        try:
            db.execute(
                f"insert into request_files by name select {select}, ? as filename"
                " from read_parquet(?)",
                [file.as_posix(), str(file)],
            )
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            warnings.append(f"{file.relative_to(folder)}: {why}; left out")
