"""Two runs or two commits: `python -m pages.compare A B` makes a page of the differences.

A side is a run's id, or a commit (as many digits as tell it apart): then all its runs count.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from markupsafe import Markup

from pages.answers import span
from pages.facts import REPORTS, answer, load_facts
from pages.names import NAMES
from pages.render import render, script, write
from reports.answering import warn
from reports.ask import QuestionError
from reports.files import FolderError, results_folder
from reports.load import open_results

BUILD = REPORTS / "build"
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 2 where a side isn't there."""
    parser = argparse.ArgumentParser(prog="pages.compare", description=__doc__)
    parser.add_argument("a", help="run id or commit")
    parser.add_argument("b", help="run id or commit")
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    parser.add_argument("--to", type=Path, default=BUILD, help="folder for the page")
    given = parser.parse_args(arguments)
    folder = results_folder(given.results)
    try:
        with open_results(folder) as loaded:
            warn(loaded, folder)
            load_facts(loaded.db, None)
            rows = differences(loaded.db, given.a, given.b)
    except (FolderError, QuestionError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    told = sentences(rows)
    for one in told:
        print(one["text"])
    program = script("index.js")
    page = render(
        "compare.html",
        [program],
        datetime.now(UTC),
        a=given.a,
        b=given.b,
        rows=[row | {"title": _title(row["metric"])} for row in rows],
        told=told,
        places=sorted({(row["group_id"], row["machine_name"]) for row in rows}),
        random=any(row["weights"] == "random" for row in rows),
        program=Markup(program),
    )
    given.to.mkdir(parents=True, exist_ok=True)
    print(write(given.to / "compare.html", page))
    return 0


def differences(db: duckdb.DuckDBPyConnection, a: str, b: str) -> list[Row]:
    """Rows of reports/questions/differences.sql. Raises QuestionError where a side isn't there."""
    sides = {"side_a": _runs(db, a), "side_b": _runs(db, b)}
    if set(sides["side_a"]) & set(sides["side_b"]):
        raise QuestionError(f"A={a} and B={b} are the same run")
    for name, runs in sides.items():
        db.execute(f"create or replace temp table {name} (run_id VARCHAR)")
        db.executemany(f"insert into {name} values (?)", [[run] for run in runs])
    return answer(db, "differences")


def _runs(db: duckdb.DuckDBPyConnection, side: str) -> list[str]:
    found = db.execute(
        "select run_id from runs where run_id = $1"
        " or (len($1) >= 7 and starts_with(git_commit, $1))",
        [side],
    ).fetchall()
    if not found:
        known = db.execute("select run_id from runs order by started_at desc limit 3").fetchall()
        runs = ", ".join(row[0] for row in known) or "none"
        raise QuestionError(f"{side} is no run and no commit of one; the newest runs: {runs}")
    return [row[0] for row in found]


def sentences(rows: Sequence[Row]) -> list[Row]:
    """What is different, the largest first; and how many figures are not, or can't be told."""
    if not rows:
        return [
            {
                "text": "No answer: no stack was measured under the same load in both.",
                "answered": False,
            }
        ]
    told: list[Row] = []
    # Told where there are several: a stack and load alone would name two experiments.
    setups = {_setup(row) for row in rows}
    machines = {row["machine_name"] for row in rows}
    for row in rows:
        if not row["distinguishable"]:
            continue
        place = f"{row['stack']}, {row['interface']}, {row['load']}"
        place += f", {_setup(row)}" if len(setups) > 1 else ""
        place += f" on {row['machine_name']}" if len(machines) > 1 else ""
        ratio = span(row["ratio_low"], row["ratio_high"])
        told.append(
            {
                "text": f"{place}: {_title(row['metric'])} in B is {ratio} that in A.",
                "answered": True,
            }
        )
    same = sum(row["distinguishable"] is False for row in rows)
    unknown = sum(row["distinguishable"] is None for row in rows)
    if same:
        told.append(
            {"text": f"{same} of {len(rows)} figures are not distinguishable.", "answered": False}
        )
    if unknown:
        text = f"{unknown} of {len(rows)} figures have too few blocks to tell."
        told.append({"text": text, "answered": False})
    return told


def _setup(row: Row) -> str:
    weights = " with random weights" if row["weights"] == "random" else ""
    return f"{row['model']} {row['precision']}{weights}"


def _title(metric: str) -> str:
    return NAMES.get(metric, (metric,))[0]


if __name__ == "__main__":
    sys.exit(main())
