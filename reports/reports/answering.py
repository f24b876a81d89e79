"""A question answered on standard output or into a file, after what was left out has been said."""

import os
import sys
from collections.abc import Callable

from reports.ask import QuestionError, ask, ask_arrow
from reports.files import Folder, FolderError, Listed
from reports.load import HOW_TO_GET_SOME, Loaded, open_results
from reports.show import print_csv, print_json, print_table

ROWS_SHOWN = 500


def ask_once(
    folder: Folder,
    sql: str,
    listing: Callable[[], list[Listed]],
    *,
    raw: bool,
    form: str,
    out: str | None,
) -> int:
    """Open a results folder, answer, close it. Returns the exit code of reports.query."""
    try:
        with open_results(folder, raw=raw, listing=listing) as loaded:
            warn(loaded, folder)
            if not loaded.runs:
                return 1
            answer(loaded, sql, form, out)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (FolderError, QuestionError, OSError) as error:
        print(f"query: {error}", file=sys.stderr)
        return 2
    return 0


def warn(loaded: Loaded, folder: Folder) -> None:
    """Say what was left out, and how to get results where there are none."""
    for warning in loaded.warnings:
        printable = "".join(one if one.isprintable() else " " for one in warning)
        print(f"warning: {printable}", file=sys.stderr)
    if not loaded.runs:
        print(
            f"there are no results in {folder.address}; get some: {HOW_TO_GET_SOME}",
            file=sys.stderr,
        )


def answer(loaded: Loaded, sql: str, form: str, out: str | None) -> None:
    """Print or write what `sql` gives. Raises QuestionError."""
    if form == "parquet":
        write_parquet(loaded, sql, out)
        return
    for found in ask(loaded.db, sql, ROWS_SHOWN if form == "table" else None):
        {"table": print_table, "csv": print_csv, "json": print_json}[form](found, sys.stdout)
    sys.stdout.flush()


def write_parquet(loaded: Loaded, sql: str, out: str | None) -> None:
    """Parquet to a file, or to standard output if that isn't a terminal. Raises QuestionError."""
    if not out and sys.stdout.isatty():
        raise QuestionError("parquet is no text: give --out FILE or redirect the output")
    # Here, for it takes as long to import as the rest of a call.
    import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]

    parquet.write_table(  # pyright: ignore[reportUnknownMemberType]
        ask_arrow(loaded.db, sql), out or sys.stdout.buffer, compression="zstd"
    )
