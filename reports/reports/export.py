"""Writes each view as a Parquet file: `python -m reports.export --to DIR`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]

from reports.answering import warn
from reports.ask import ask_stream
from reports.columns import load_columns
from reports.files import Folder, FolderError, results_folder
from reports.load import Loaded, open_results


def export(loaded: Loaded, to: Path) -> dict[str, int]:
    """Write <to>/<view>.parquet for each view; returns {view: rows}. Raises OSError."""
    to.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for view in load_columns():
        rows = 0
        # A name of this process's own: two may export at once.
        partial = to / f"{view}.parquet.{os.getpid()}.partial"
        try:
            with (
                ask_stream(loaded.db, f"from {view}") as batches,
                parquet.ParquetWriter(partial, batches.schema, compression="zstd") as writer,
            ):
                for batch in batches:
                    writer.write_batch(batch)  # pyright: ignore[reportUnknownMemberType]
                    rows += batch.num_rows
            partial.replace(to / f"{view}.parquet")
        finally:
            partial.unlink(missing_ok=True)
        written[view] = rows
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 1 without results, 2 if the folder can't be read or written."""
    parser = argparse.ArgumentParser(prog="reports.export", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    parser.add_argument("--to", required=True, help="folder for the files; made if need be")
    given = parser.parse_args(arguments)
    folder: Folder = results_folder(given.results)
    try:
        with open_results(folder, raw=True) as loaded:
            warn(loaded, folder)
            if not loaded.runs:
                return 1
            for view, rows in export(loaded, Path(given.to)).items():
                print(f"{Path(given.to, view)}.parquet  {rows:,} rows")
    except (FolderError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
