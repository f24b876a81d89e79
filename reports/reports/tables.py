"""Renews the documents' measured tables from the newest results: `python -m reports.tables`.

A table stands between `<!-- name: … -->` and `<!-- end of name -->`: no figure is typed by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence

from bench.errors import UserError
from reports.columns import RESULTS
from reports.documents import Row, markdown, number, selected
from reports.files import Folder, results_folder
from reports.front_page import standard
from reports.probe_list import probe_list
from reports.stack_list import stacks

ROOT = RESULTS.parent


def rows_of(folder: Folder, view: str, key: str) -> list[Row]:
    """The newest measurement's rows of a view. Raises ValueError if there is none."""
    rows = selected(
        folder,
        f"select * from {view} where {key} = (select max_by({key}, measured_at) from {view})",
    )
    if not rows:
        raise ValueError(f"{folder.address} has no {view}: measure first")
    return rows


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


CROSSCHECKS = """
select server, load, generator, any_value(cpu_model) cpu_model, any_value(measured_at) measured_at,
    any_value(generator_version) generator_version, sum(requests)::bigint requests,
    min(reported_p50_ms) lowest_ms, max(reported_p50_ms) highest_ms, count(*) rounds,
    median(columns('(reported|truth|added)_p.*|generator_cpu.*'))
from crosschecks
where crosscheck_id = (select max_by(crosscheck_id, measured_at) from crosschecks)
group by server, load, generator
order by server <> 'null server', contains(load, 'stall'), load, generator <> 'k6', generator
"""


LATE = ("p95", "p99")


def p50_of_rounds(row: Row) -> str:
    """The reported p50, and its range where the tool had several windows."""
    middle, *ends = (row[name] for name in ("reported_p50_ms", "lowest_ms", "highest_ms"))
    if row["rounds"] == 1:
        return number(middle, 0)
    return f"{number(middle, 0)} ({'–'.join(number(end, 0) for end in ends)})"


def crosscheck(folder: Folder) -> str:
    """Each tool's latencies beside the truth, medians where it had several windows."""
    rows = selected(folder, CROSSCHECKS)
    if not rows:
        raise ValueError(f"{folder.address} has no crosschecks: measure first")
    lines = [
        [
            f"{row['server']}, {row['load']}, {row['generator']}",
            f"{row['requests']:,}",
            " / ".join([p50_of_rounds(row), *(number(row[f"reported_{p}_ms"], 0) for p in LATE)]),
            " / ".join(number(row[f"truth_{p}_ms"], 0) for p in ("p50", *LATE)),
            " / ".join(number(row[f"added_{p}_ms"]) for p in ("p50", "p99")),
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
    "stacks": lambda folder: stacks(folder, ROOT / "groups"),
    "standard": standard,
    "probes": lambda _: probe_list(ROOT / "groups"),
}
DOCUMENTS = (ROOT / "README.md", ROOT / "shared" / "crosscheck" / "README.md")
PLACE = re.compile(r"(<!-- (\w+): [^>]*-->\n).*?(<!-- end of \2 -->)", re.S)


def renewed(text: str, folder: Folder) -> str:
    """A document's text with its tables from these results. Raises ValueError, KeyError."""
    return PLACE.sub(lambda found: f"{found[1]}{TABLES[found[2]](folder)}\n{found[3]}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite all documents, or none. Returns 2 if there is nothing to fill a table with."""
    parser = argparse.ArgumentParser(prog="reports.tables", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    folder = results_folder(parser.parse_args(arguments).results)
    try:
        texts = {file: renewed(file.read_text("utf-8"), folder) for file in DOCUMENTS}
    except (ValueError, UserError) as error:
        print(f"tables: {error}", file=sys.stderr)
        return 2
    for document, text in texts.items():
        document.write_text(text, "utf-8")
        print(f"renewed the tables of {document.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
