"""`python -m pages`: the report as files, once or again whenever the results change."""

import argparse
import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pages.build import build
from pages.facts import load_facts
from reports.answering import warn
from reports.ask import QuestionError
from reports.files import Folder, FolderError, Listed, results_folder
from reports.listing import list_files
from reports.load import open_results

BUILD = Path(__file__).resolve().parents[1] / "build"
LOOK_EVERY_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 for a group, run or folder that isn't there."""
    parser = argparse.ArgumentParser(prog="pages", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    parser.add_argument("--to", type=Path, default=BUILD, help="folder for the pages")
    parser.add_argument("--group", help="only this group's page: its folder's name, or its number")
    parser.add_argument("--run", help="only this run counts (default: the newest usable trials)")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    parser.add_argument("--watch", action="store_true", help="build again when results change")
    given = parser.parse_args(arguments)
    folder = results_folder(given.results)
    try:
        # Before it is built: what comes meanwhile is news.
        seen = list_files(folder) if given.watch else []
        first = _build(folder, given)
        if given.open:
            webbrowser.open(first.as_uri())
        if given.watch:
            # What is being measured goes first.
            os.nice(19)
            _watch(folder, given, seen)
    except (FolderError, QuestionError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _build(folder: Folder, given: argparse.Namespace) -> Path:
    started = time.monotonic()
    with open_results(folder, raw=True) as loaded:
        warn(loaded, folder)
        load_facts(loaded.db, given.run)
        if (
            given.run
            and not loaded.db.execute("select 1 from runs where run_id = ?", [given.run]).fetchone()
        ):
            raise QuestionError(f"there is no run {given.run} in {folder.address}")
        group = _group(loaded.db, given.group, given.run)
        files = build(loaded, given.to, group, _again(given), given.watch)
    for file in files:
        print(file)
    print(f"{len(files)} pages in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return files[-1] if group else files[0]


def _group(db: duckdb.DuckDBPyConnection, given: str | None, run: str | None) -> str | None:
    """The group's whole name. Raises QuestionError if no results (of that run) are of it."""
    if not given:
        return None
    rows = db.execute(
        "select distinct group_id from"
        " (select run_id, group_id from trials union select run_id, group_id from stacks)"
        " where run_id = coalesce($1, run_id) order by 1",
        [run],
    ).fetchall()
    known = [str(row[0]) for row in rows]
    found = [one for one in known if one == given or one.split("-")[0] == given]
    if not found:
        raise QuestionError(f"GROUP={given}: there are results of {', '.join(known) or 'no group'}")
    return found[0]


def _again(given: argparse.Namespace) -> str:
    words = ["make report"]
    words += [f"GROUP={given.group}"] if given.group else []
    words += [f"RUN={given.run}"] if given.run else []
    return " ".join(words)


def _watch(folder: Folder, given: argparse.Namespace, seen: list[Listed]) -> None:
    print("watching for new results; Ctrl-C ends", file=sys.stderr)
    while True:
        time.sleep(LOOK_EVERY_S)
        now = list_files(folder)
        if now != seen:
            seen = now
            _build(folder, given)


if __name__ == "__main__":
    sys.exit(main())
