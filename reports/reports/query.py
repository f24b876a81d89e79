"""Asks the results: `python -m reports.query "select … from trials"`, or `--file question.sql`.

Exit codes: 0 answered, 1 there are no results, 2 the SQL or the call is wrong.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.files import results_folder
from reports.listing import list_ahead

# Only then are the raw records looked for.
RAW = re.compile(r"\b(requests|samples)\b", re.I)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, answer, print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="reports.query", description=__doc__)
    parser.add_argument("sql", nargs="?", help="one or more queries over runs, trials, stacks, …")
    parser.add_argument("--file", type=Path, help="a file with the SQL instead, as in queries/")
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    parser.add_argument("--format", default="table", choices=["table", "csv", "json", "parquet"])
    parser.add_argument("--out", help="file to write instead of standard output (parquet)")
    given = parser.parse_args(arguments)
    folder = results_folder(given.results)
    try:
        sql = given.file.read_text("utf-8") if given.file else given.sql or ""
    except (OSError, UnicodeDecodeError) as error:
        print(f"query: {given.file}: {error}", file=sys.stderr)
        return 2
    raw = bool(RAW.search(sql))
    listing = list_ahead(folder, raw=raw)
    # Only now: DuckDB takes as long to import as a large folder to list.
    from reports.answering import ask_once

    return ask_once(folder, sql, listing, raw=raw, form=given.format, out=given.out)


if __name__ == "__main__":
    sys.exit(main())
