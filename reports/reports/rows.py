"""The JSON files of a results folder as tables of rows, each file checked before it counts."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb

from reports import cache
from reports.columns import Column, in_file
from reports.files import File, Files, Folder
from reports.listing import read

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
    db: duckdb.DuckDBPyConnection,
    folder: Folder,
    source: Source,
    files: Files,
    private: Path,
) -> list[str]:
    """Make the source's table from its files. Returns a warning for each that was left out.

    Where there are many files, those that have not changed since the last time come from a cache;
    `private`: a folder for its use.
    """
    columns = in_file(source.view)
    cached = cache.usable(folder, source.view, columns, len(files))
    before = f"{source.view}_before"
    now = files.state() if cached else ""
    then = cache.attach(db, cached, private, before) if cached else None
    if then is not None and then == now:
        kept = before
    else:
        kept = f"{source.view}_kept"
        _make(db, kept, columns)
        fresh = list(files) if then is None else _reuse(db, before, kept, list(files))
        _parse(db, folder, source, kept, fresh)
        _find_copies(db, kept, source.key)
        if cached:
            cache.save(db, kept, cached, now)
    faults = db.execute(f"select file, fault from {kept}.faults").fetchall()
    copies = db.execute(f"select file, first from {kept}.copies").fetchall()
    db.execute(
        f"create view {source.table} as select * exclude (_file, _token) from {kept}.rows"
        + (f" where _file not in (select file from {kept}.copies)" if copies else "")
    )
    return sorted(
        [f"{file}: {fault}; left out" for file, fault in faults]
        + [f"{file}: the same row as {first}; left out" for file, first in copies]
    )


def _make(db: duckdb.DuckDBPyConnection, kept: str, columns: Sequence[Column]) -> None:
    declared = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    db.execute(f"create schema {kept}")
    db.execute(f"create table {kept}.rows ({declared}, _file VARCHAR, _token VARCHAR)")
    db.execute(f"create table {kept}.faults (file VARCHAR, token VARCHAR, fault VARCHAR)")
    db.execute(f"create table {kept}.copies (file VARCHAR, first VARCHAR)")


def _reuse(
    db: duckdb.DuckDBPyConnection, before: str, kept: str, files: Sequence[File]
) -> list[File]:
    """Take over what is known of the files that have not changed; returns the others."""
    db.execute(
        "create or replace temp table listed as"
        " select unnest($1::VARCHAR[]) as file, unnest($2::VARCHAR[]) as token",
        [[file.path for file in files], [file.token for file in files]],
    )
    db.execute(
        f"insert into {kept}.rows by name select one.* from {before}.rows as one"
        " semi join listed on _file = file and _token = token"
    )
    db.execute(
        f"insert into {kept}.faults from {before}.faults semi join listed using (file, token)"
    )
    rows = db.execute(
        "select file, token from listed"
        f" anti join (select _file as file, _token as token from {kept}.rows"
        f" union all select file, token from {kept}.faults) using (file, token)"
    ).fetchall()
    fresh = {file for file, _ in rows}
    return [file for file in files if file.path in fresh]


def _parse(
    db: duckdb.DuckDBPyConnection,
    folder: Folder,
    source: Source,
    kept: str,
    files: Sequence[File],
) -> None:
    columns = in_file(source.view)
    types = {column.name: column.type for column in columns}
    types |= {"_file": "VARCHAR", "_token": "VARCHAR"}
    required = [column for column in columns if column.required]
    for start in range(0, len(files), AT_ONCE):
        some = list(files[start : start + AT_ONCE])
        _insert(db, kept, types, list(_lines(folder, source, required, some, kept, db)))


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
    kept: str,
    db: duckdb.DuckDBPyConnection,
) -> Iterator[_Line]:
    for file, content in read(folder, files):
        rows = _rows(content, source, required)
        if isinstance(rows, str):
            _blame(db, kept, file, rows)
            continue
        stamp = {"_file": file.path, "_token": file.token}
        try:
            lines = [json.dumps(row | stamp, allow_nan=False) + "\n" for row in rows]
        except ValueError:
            _blame(db, kept, file, "holds NaN or a number beyond all bounds")
            continue
        yield _Line(file, "".join(lines))


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
    db: duckdb.DuckDBPyConnection, kept: str, types: dict[str, str], lines: list[_Line]
) -> None:
    """All files in one go; where that fails, by halves, to find and name those at fault."""
    if not any(line.text for line in lines):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.writelines(line.text for line in lines)
        file.flush()
        try:
            db.execute(
                f"insert into {kept}.rows by name select * from read_json(?, columns = ?,"
                " format = 'newline_delimited')",
                [file.name, types],
            )
            return
        except duckdb.Error as error:
            if len(lines) == 1:
                why = str(error).splitlines()[0].replace(file.name, "the file")
                _blame(db, kept, lines[0].file, why)
                return
    half = len(lines) // 2
    _insert(db, kept, types, lines[:half])
    _insert(db, kept, types, lines[half:])


def _blame(db: duckdb.DuckDBPyConnection, kept: str, file: File, fault: str) -> None:
    db.execute(f"insert into {kept}.faults values (?, ?, ?)", [file.path, file.token, fault])


def _find_copies(db: duckdb.DuckDBPyConnection, kept: str, key: Iterable[str]) -> None:
    """Of the files that hold the same row, the first one counts; note the others."""
    names = ", ".join(key)
    db.execute(
        f"insert into {kept}.copies select distinct _file, first from (select _file,"
        f" min(_file) over (partition by {names}) as first from {kept}.rows) where _file <> first"
    )
