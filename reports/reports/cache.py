"""Rows of a large results folder as Parquet, so that only new and changed files are parsed again.

A row is used only while its file's size and time are those it was read at.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import duckdb

from reports.columns import Column
from reports.files import Folder

# Below this many files, parsing is as quick.
WORTHWHILE = 1_000
CACHE = Path(__file__).resolve().parents[2] / ".build" / "cache" / "results"


def usable(folder: Folder, view: str, columns: Sequence[Column], files: int) -> Path | None:
    """Where the cached rows of a view belong; None for a folder too small to need them.

    The name depends on the description of the columns: a new one starts a new cache.
    """
    if files < WORTHWHILE:
        return None
    described = f"{folder.address}\n{[(column.name, column.type) for column in columns]}"
    return CACHE / hashlib.sha256(described.encode()).hexdigest()[:16] / view


def load(db: duckdb.DuckDBPyConnection, cached: Path, table: str) -> None:
    """Insert the cached rows and faults of files that are `listed` unchanged; none if damaged."""
    try:
        for target, file, keys in (
            (table, "rows", "_file = file and _token = token"),
            ("faults", "faults", "c.file = listed.file and c.token = listed.token"),
        ):
            db.execute(
                f"insert into {target} by name select c.* from read_parquet(?) as c"
                f" semi join listed on {keys}",
                [f"{cached}.{file}.parquet"],
            )
    except duckdb.Error:
        db.execute(f"truncate {table}")
        db.execute("truncate faults")


def save(db: duckdb.DuckDBPyConnection, cached: Path, table: str) -> None:
    """Write the rows and faults; a cache that can't be written only costs the next call time."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        for source, file in ((table, "rows"), ("faults", "faults")):
            target = Path(f"{cached}.{file}.parquet")
            partial = target.with_suffix(".partial")
            db.execute(f"copy {source} to '{partial}' (format parquet, compression zstd)")
            partial.replace(target)
    except (OSError, duckdb.Error):
        return
