"""Renews the documents' measured tables from the newest results: `python -m reports.tables`.

A table stands between `<!-- name: … -->` and `<!-- end of name -->`: no figure is typed by hand.
"""

import argparse
import json
import re
from collections.abc import Callable
from typing import Any

from reports.columns import RESULTS
from reports.files import Folder, results_folder
from reports.load import open_results

ROOT = RESULTS.parent
Row = dict[str, Any]


def rows_of(folder: Folder, view: str, key: str) -> list[Row]:
    """The newest measurement's rows of a view. Raises ValueError if there is none."""
    with open_results(folder) as loaded:
        cursor = loaded.db.execute(
            f"select * from {view} where {key} = (select max_by({key}, measured_at) from {view})"
        )
        names = [column[0] for column in cursor.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if not rows:
        raise ValueError(f"{folder} has no {view}: measure first")
    return rows


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a reader; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def markdown(heading: list[str], lines: list[list[str]]) -> str:
    """A Markdown table whose figures are to the right."""
    table = [heading, ["---"] + ["---:"] * (len(heading) - 1), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def where(row: Row) -> str:
    """Machine and date of a measurement, in a line."""
    return f"{row['cpu_model']}, {row['measured_at']:%Y-%m-%d}"


def overhead_cell(row: Row) -> str:
    """p50 / p95, and what opening a connection took where one was."""
    cell = f"{number(row['overhead_p50_ms'])} / {number(row['overhead_p95_ms'])}"
    opened = row["connect_p50_ms"]
    return cell if opened is None else f"{cell} + {number(opened)}"


def overhead(folder: Folder) -> str:
    """What interfaces add, a row an interface and kind of connection."""
    rows = rows_of(folder, "overhead", "overhead_id")
    sizes = sorted({row["payload_bytes"] for row in rows})
    by_key = {(r["interface"], r["connection"], r["payload_bytes"]): r for r in rows}
    kinds = dict.fromkeys((row["connection"], row["interface"]) for row in rows)
    lines = [
        [f"{interface}, {connection} connection"]
        + [overhead_cell(by_key[interface, connection, size]) for size in sizes]
        for connection, interface in sorted(kinds, reverse=True)
    ]
    heading = ["p50 / p95 ms; + p50 of opening", *(f"{size:,} B" for size in sizes)]
    return f"{where(rows[0])}:\n\n{markdown(heading, lines)}"


def crosscheck(folder: Folder) -> str:
    """Each tool's latencies beside the truth."""
    rows = rows_of(folder, "crosschecks", "crosscheck_id")
    lines = [
        [
            f"{row['server']}, {row['load']}, {row['generator']}",
            f"{row['requests']:,}",
            *(
                " / ".join(number(row[f"{kind}_{end}_ms"], 0) for end in ("p50", "p95", "p99"))
                for kind in ("reported", "truth")
            ),
            " / ".join(number(row[f"added_{end}_ms"]) for end in ("p50", "p99")),
            number(row["generator_cpu_s_per_1000"]),
        ]
        for row in rows
    ]
    heading = [
        "server, load, tool",
        "requests",
        "reported p50 / p95 / p99 ms",
        "truth",
        "added p50 / p99 ms",
        "CPU s per 1,000",
    ]
    tools = sorted({f"{row['generator']} {row['generator_version']}" for row in rows})
    return f"{where(rows[0])}, {', '.join(tools)}:\n\n{markdown(heading, lines)}"


def calibration(folder: Folder) -> str:
    """The generator's figures beside their goals."""
    (row,) = rows_of(folder, "calibrations", "calibration_id")
    machine, goals = json.loads(row["machine"]), json.loads(row["goals"])
    lines = [
        [
            f"{goal['protocol']}: {goal['figure']}",
            f"{number(goal['reached'], 2 if goal['at_most'] else 0)} {goal['unit']}",
            f"{'≤' if goal['at_most'] else '≥'} {goal['goal']:,g}",
            {True: "yes", False: "no", None: "–"}[goal["met"]],
        ]
        for goal in goals
    ]
    date = f"{row['measured_at']:%Y-%m-%d}"
    return f"{machine['cpu_model']}, {date}:\n\n{markdown(['', 'here', 'goal', 'met'], lines)}"


TABLES: dict[str, Callable[[Folder], str]] = {
    "overhead": overhead,
    "crosscheck": crosscheck,
    "calibration": calibration,
}
DOCUMENTS = (ROOT / "README.md", ROOT / "shared" / "crosscheck" / "README.md")
PLACE = re.compile(r"(<!-- (\w+): [^>]*-->\n).*?(<!-- end of \2 -->)", re.S)


def renewed(text: str, folder: Folder) -> str:
    """A document's text with its tables from these results. Raises ValueError, KeyError."""
    return PLACE.sub(lambda found: f"{found[1]}{TABLES[found[2]](folder)}\n{found[3]}", text)


def main() -> None:
    """Rewrite all documents."""
    parser = argparse.ArgumentParser(prog="reports.tables", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    folder = results_folder(parser.parse_args().results)
    for document in DOCUMENTS:
        document.write_text(renewed(document.read_text("utf-8"), folder), "utf-8")
        print(f"renewed the tables of {document.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
