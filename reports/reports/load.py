"""A results folder as DuckDB views, read-only in effect; files that can't be used are named."""

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reports.ask import one_line
from reports.columns import RESULTS, Column, in_view, load_columns
from reports.files import File, Folder, Listed, matching
from reports.listing import list_files
from reports.rows import SOURCES, fill

# Views over raw records, which are Parquet files named after them, and the table behind each.
RAW = {"requests": "request_files", "samples": "sample_files"}
HOW_TO_GET_SOME = "make bench GROUP=1 PROFILE=smoke"


@dataclass(frozen=True)
class Loaded:
    """An open connection with the views, the number of runs and what was left out, and why."""

    db: duckdb.DuckDBPyConnection
    runs: int
    warnings: tuple[str, ...]


@contextmanager
def open_results(
    folder: Folder, *, raw: bool = False, listing: Callable[[], list[Listed]] | None = None
) -> Generator[Loaded]:
    """The views over a results folder; `requests` and `samples` are empty unless `raw`.

    The folder may come from strangers: its files are data only. A file that is corrupt, half
    written, of another kind or a second copy of a row is left out and named in `warnings`. All
    rows but the raw records are copied into memory; then the connection is cut off from files,
    extensions and settings, but for reading those records. Raises FolderError if the folder can't
    be listed; `listing`: what list_files gives, begun ahead.
    """
    patterns = [source.glob for source in SOURCES]
    patterns += [f"*/raw/*/{view}.parquet" for view in RAW] if raw else []
    listed = listing() if listing else list_files(folder, raw=raw)
    files = matching(listed, patterns)
    # DuckDB lets SQL reach its spill folder: a private one.
    with tempfile.TemporaryDirectory() as spill:
        db = duckdb.connect(config={"temp_directory": spill})
        try:
            warnings: list[str] = []
            for source, some in zip(SOURCES, files, strict=False):
                warnings += fill(db, folder, source, some, Path(spill))
            found = [list(some) for some in files[len(SOURCES) :]] or [[] for _ in RAW]
            records = dict(zip(RAW, found, strict=True))
            records_listed = [file for some in found for file in some]
            if records_listed:
                from reports.storage import RawRecords

                db.register_filesystem(RawRecords(folder, records_listed))
            for view, some in records.items():
                warnings += _open_records(db, view, some)
            # In the description's order: a view comes after those that it is made from.
            for view in load_columns():
                db.execute((RESULTS / "views" / f"{view}.sql").read_text("utf-8"))
            runs = db.execute("select count(*) from runs").fetchone()
            _lock(db)
            yield Loaded(db, int(runs[0]) if runs else 0, tuple(warnings))
        finally:
            db.close()


def _lock(db: duckdb.DuckDBPyConnection) -> None:
    db.execute("set allowed_directories = ['records://']")
    # It would stand among the rows of a slow query.
    db.execute("set enable_progress_bar = false")
    db.execute("set autoinstall_known_extensions = false")
    db.execute("set autoload_known_extensions = false")
    db.execute("set python_enable_replacements = false")
    db.execute("set enable_external_access = false")
    db.execute("set lock_configuration = true")


def _open_records(db: duckdb.DuckDBPyConnection, view: str, files: list[File]) -> list[str]:
    """Make the table behind a view of raw records, over the whole ones. Returns the warnings."""
    columns = [c for c in in_view(view) if c.name not in ("run_id", "trial_id")]
    declared = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    db.execute(f"create table no_{view} ({declared}, filename VARCHAR)")
    whole: list[str] = []
    warnings: list[str] = []
    for file in files:
        if fault := _fault_of_records(db, file, columns):
            warnings.append(f"{file.path}: {fault}; left out")
        else:
            whole.append("'" + f"records://{file.path}".replace("'", "''") + "'")
    select = ", ".join(f'"{column.name}"' for column in columns)
    more = f"union all by name select {select}, filename from read_parquet([{', '.join(whole)}]"
    more = f"{more}, filename = true)" if whole else ""
    db.execute(f"create view {RAW[view]} as from no_{view} {more}")
    return warnings


def _fault_of_records(
    db: duckdb.DuckDBPyConnection, file: File, columns: list[Column]
) -> str | None:
    """What is wrong with a file of raw records, from its footer alone."""
    try:
        found = db.execute(
            "select column_name, column_type from (describe from read_parquet(?))",
            [f"records://{file.path}"],
        ).fetchall()
    except duckdb.Error as error:
        return f"no whole Parquet file ({one_line(error)[:120]})"
    types = dict(found)
    for column in columns:
        if types.get(column.name) != column.type:
            return f"{column.name} is {types.get(column.name, 'missing')}, not {column.type}"
    return None
