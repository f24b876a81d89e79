"""The JSON files of a results folder as tables of rows, each file checked before it counts."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import duckdb

from reports import cache
from reports.columns import Column, in_file
from reports.files import File, Folder, read

SCHEMA_VERSION = 1
AT_ONCE = 5_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The files behind one view: where they lie, the table they fill, what names a file's rows."""

    view: str
    table: str
    glob: str
    key: tuple[str, ...]
    rows: Callable[[Row], list[Any] | str]


def _itself(data: Row) -> list[Any] | str:
    version = data.get("schema_version")
    if not isinstance(version, int):
        return "lacks schema_version"
    if version > SCHEMA_VERSION:
        return f"schema_version {version} is newer than this checkout, which reads {SCHEMA_VERSION}"
    return [data]


def _listed(view: str) -> Callable[[Row], list[Any] | str]:
    def listed(data: Row) -> list[Any] | str:
        rows = data.get(view)
        return cast("list[Any]", rows) if isinstance(rows, list) else f"holds no list of {view}"

    return listed


SOURCES = (
    Source("runs", "run_files", "*/run.json", ("run_id",), _itself),
    Source(
        "stacks",
        "stack_files",
        "*/stacks/*.json",
        ("run_id", "group_id", "stack", "model", "precision", "interface", "block"),
        _itself,
    ),
    Source("trials", "trial_files", "*/trials/*.json", ("run_id", "trial_id"), _itself),
    Source(
        "comparisons",
        "comparison_files",
        "*/comparisons.json",
        ("run_id",),
        _listed("comparisons"),
    ),
    Source(
        "calibrations",
        "calibration_files",
        "calibration/*.json",
        ("calibration_id",),
        _itself,
    ),
    Source("overhead", "overhead_files", "overhead/*.json", ("overhead_id",), _listed("overhead")),
    Source(
        "crosschecks",
        "crosscheck_files",
        "crosscheck/*.json",
        ("crosscheck_id",),
        _listed("crosschecks"),
    ),
)


def fill(
    db: duckdb.DuckDBPyConnection, folder: Folder, source: Source, files: Sequence[File]
) -> list[str]:
    """Make the source's table from its files. Returns a warning for each that was left out.

    Where there are many files, those that have not changed since the last time come from a cache.
    """
    columns = in_file(source.view)
    declared = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    kept = f"{source.table}_kept"
    db.execute(f"create table {kept} ({declared}, _file VARCHAR, _token VARCHAR)")
    db.execute("create or replace temp table faults (file VARCHAR, token VARCHAR, fault VARCHAR)")
    db.execute(
        "create or replace temp table listed as"
        " select unnest($1::VARCHAR[]) as file, unnest($2::VARCHAR[]) as token",
        [[file.path for file in files], [file.token for file in files]],
    )
    cached = cache.usable(folder, source.view, columns, len(files))
    if cached:
        cache.load(db, cached, kept)
    fresh = _not_in(db, kept, files)
    types = {column.name: column.type for column in columns} | {
        "_file": "VARCHAR",
        "_token": "VARCHAR",
    }
    required = [column for column in columns if column.required]
    for start in range(0, len(fresh), AT_ONCE):
        lines = list(_lines(folder, source, required, fresh[start : start + AT_ONCE], db))
        _insert(db, kept, types, lines)
    if cached and fresh:
        cache.save(db, cached, kept)
    warnings = _faults(db) + _drop_copies(db, kept, source.key)
    db.execute(f"create view {source.table} as select * exclude (_file, _token) from {kept}")
    return sorted(warnings)


@dataclass(frozen=True)
class _Line:
    """A file's rows as JSON lines."""

    file: File
    text: str


def _lines(
    folder: Folder,
    source: Source,
    required: Sequence[Column],
    files: list[File],
    db: duckdb.DuckDBPyConnection,
) -> Iterator[_Line]:
    for file, content in read(folder, files):
        rows = _rows(content, source, required)
        if isinstance(rows, str):
            _blame(db, file, rows)
            continue
        stamp = {"_file": file.path, "_token": file.token}
        yield _Line(file, "".join(json.dumps(row | stamp) + "\n" for row in rows))


def _rows(content: bytes | str, source: Source, required: Sequence[Column]) -> list[Row] | str:
    """The rows in a file's bytes, or what is wrong with it."""
    if isinstance(content, str):
        return content
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return "not whole JSON"
    if not isinstance(data, dict):
        return "not a JSON object"
    rows = source.rows(cast("Row", data))
    if isinstance(rows, str):
        return rows
    for row in rows:
        if not isinstance(row, dict):
            return "holds a row that is no object"
        row = cast("Row", row)
        version = int(row.get("schema_version") or 1)
        lacking = [c.name for c in required if c.since <= version and row.get(c.name) is None]
        if lacking:
            more = " and more" if len(lacking) > 3 else ""
            return f"lacks {', '.join(lacking[:3])}{more}"
    return cast("list[Row]", rows)


def _insert(
    db: duckdb.DuckDBPyConnection, table: str, types: dict[str, str], lines: list[_Line]
) -> None:
    """All files in one go; where that fails, by halves, to find and name those at fault."""
    if not any(line.text for line in lines):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.writelines(line.text for line in lines)
        file.flush()
        try:
            db.execute(
                f"insert into {table} by name select * from read_json(?, columns = ?,"
                " format = 'newline_delimited')",
                [file.name, types],
            )
            return
        except duckdb.Error as error:
            if len(lines) == 1:
                why = str(error).splitlines()[0].replace(file.name, "the file")
                _blame(db, lines[0].file, why)
                return
    half = len(lines) // 2
    _insert(db, table, types, lines[:half])
    _insert(db, table, types, lines[half:])


def _blame(db: duckdb.DuckDBPyConnection, file: File, fault: str) -> None:
    db.execute("insert into faults values (?, ?, ?)", [file.path, file.token, fault])


def _faults(db: duckdb.DuckDBPyConnection) -> list[str]:
    found = db.execute("select file, fault from faults").fetchall()
    return [f"{file}: {fault}; left out" for file, fault in found]


def _not_in(db: duckdb.DuckDBPyConnection, kept: str, files: Sequence[File]) -> list[File]:
    rows = db.execute(
        "select file, token from listed"
        f" anti join (select _file as file, _token as token from {kept}"
        " union all select file, token from faults) using (file, token)"
    ).fetchall()
    fresh = {file for file, _ in rows}
    return [file for file in files if file.path in fresh]


def _drop_copies(db: duckdb.DuckDBPyConnection, kept: str, key: Iterable[str]) -> list[str]:
    """Keep the first file of those that hold the same row. Returns a warning for each other."""
    names = ", ".join(key)
    copies = db.execute(
        f"select distinct _file, first from (select _file, min(_file) over (partition by {names})"
        f" as first from {kept}) where _file <> first"
    ).fetchall()
    if copies:
        db.executemany(f"delete from {kept} where _file = ?", [[file] for file, _ in copies])
    return [f"{file}: the same row as {first}; left out" for file, first in copies]
