"""Rows of a large results folder in a database file, so that only new and changed files are parsed.

A row is used only while its file's size and time are those it was read at. Where no file of the
folder has changed, the database is asked as it lies there: nothing is copied into memory.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from reports.columns import Column
from reports.files import Folder

# Below this many files, parsing is as quick.
WORTHWHILE = 1_000
CACHE = Path(__file__).resolve().parents[2] / ".build" / "cache" / "results"
TABLES = ("rows", "faults", "copies")


def usable(folder: Folder, view: str, columns: Sequence[Column], files: int) -> Path | None:
    """Where the cached rows of a view belong; None for a folder too small to need them.

    The name depends on the description of the columns: a new one starts a new cache.
    """
    if files < WORTHWHILE:
        return None
    described = [(column.name, column.type) for column in columns]
    named = f"{duckdb.__version__}\n{folder.address}\n{described}"
    return CACHE / hashlib.sha256(named.encode()).hexdigest()[:16] / f"{view}.duckdb"


def attach(db: duckdb.DuckDBPyConnection, cached: Path, private: Path, name: str) -> str | None:
    """Attach the cached rows as database `name`; returns the state they were made in, if any.

    It is a copy in `private` that is attached: DuckDB lets SQL reach a file that is attached, and
    so overwrite it. None if there is no cache, or a damaged one.
    """
    copy = private / f"{name}.duckdb"
    try:
        shutil.copyfile(cached, copy)
        db.execute(f"attach '{copy}' as {name} (read_only)")
    except (OSError, duckdb.Error):
        return None
    try:
        (found,) = db.execute(f"from {name}.state").fetchall()
        for table in TABLES:
            db.execute(f"select * from {name}.{table} limit 0")
        return str(found[0])
    except (ValueError, duckdb.Error):
        db.execute(f"detach {name}")
        return None


def save(db: duckdb.DuckDBPyConnection, schema: str, cached: Path, made_in: str) -> None:
    """Keep a schema's tables; a cache that can't be written only costs the next call time."""
    # A name of this process's own: two may save at once, and the last one whole stays.
    partial = cached.with_suffix(f".{os.getpid()}.partial")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        db.execute(f"attach '{partial}' as saved")
    except (OSError, duckdb.Error):
        return
    try:
        for table in TABLES:
            db.execute(f"create table saved.{table} as from {schema}.{table}")
        db.execute("create table saved.state as select ? as state", [made_in])
        db.execute("detach saved")
        partial.replace(cached)
    except (OSError, duckdb.Error):
        db.execute("detach database if exists saved")
        partial.unlink(missing_ok=True)
