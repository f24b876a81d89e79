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


def selected(folder: Folder, sql: str) -> list[Row]:
    """A query's rows by column name."""
    with open_results(folder) as loaded:
        cursor = loaded.db.execute(sql)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def rows_of(folder: Folder, view: str, key: str) -> list[Row]:
    """The newest measurement's rows of a view. Raises ValueError if there is none."""
    rows = selected(
        folder,
        f"select * from {view} where {key} = (select max_by({key}, measured_at) from {view})",
    )
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
        raise ValueError(f"{folder} has no crosschecks: measure first")
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


# What the front page says in words: a metric under a load, on the stacks' REST interface.
SENTENCES = (
    ("throughput_per_s", "closed-8", "Answers per second to 8 callers"),
    (
        "latency_p95_ms",
        "poisson-50",
        "p95 under Poisson arrivals at half of what the engine can do",
    ),
    ("latency_p50_ms", "closed-1", "p50 of a single caller"),
)


def found(row: Row) -> str:
    """What a load found out by itself."""
    if row["load_kind"] == "search":
        return f": {number(row['rate'], 1)}/s"
    if row["load_kind"] == "search_users":
        return f": {number(row['users'], 1)} users"
    if row["load_kind"] == "burst":
        return f": recovers in {number(row['recovery'], 1)} s"
    return ""


def sentence(rows: list[Row], metric: str, load: str, title: str) -> str:
    """Each pair of stacks on one metric: by how much they differ, or that it can't be told."""
    pairs = [
        f"{row['stack_a']} is {row['ratio_low']:.2f}–{row['ratio_high']:.2f}× {row['stack_b']}"
        if row["distinguishable"]
        else f"{row['stack_a']} and {row['stack_b']} are not distinguishable"
        for row in rows
        if row["metric"] == metric and row["load"] == load
    ]
    return f"- {title}: {'; '.join(pairs) or 'no answer'}."


def standard(folder: Folder) -> str:
    """The first group's newest standard run: means over its blocks, and what can be told apart.

    Models and precisions are experiments of their own; the sentences are about the first of them.
    """
    newest = """(
      select max_by(run_id, started_at) from runs
      where profile = 'standard' and run_id in (
        select run_id from trials where group_id = (select min(group_id) from trials)))"""
    alike = "load, stack, interface, model, weights, precision"
    mine = f"run_id = {newest} and group_id = (select min(group_id) from trials)"
    runs = selected(folder, f"select * from runs where run_id = {newest}")
    if not runs:
        raise ValueError(f"{folder.address} has no run of profile standard: measure first")
    run = runs[0]
    rows = selected(
        folder,
        f"""
        with counted as (
          select {alike}, count(*) as times,
            rtrim(verdict || ' ' || array_to_string(reasons, ', ')) as said
          from trials where {mine} group by all),
        said as (
          select {alike},
            string_agg(times || '× ' || said, '; ' order by said desc) as verdicts
          from counted group by all)
        select {alike}, any_value(load_kind) as load_kind,
          avg(rate_per_s) as rate, avg(users) as users, avg(recovery_s) as recovery,
          avg(throughput_per_s) as throughput, avg(latency_p50_ms) as p50,
          avg(latency_p95_ms) as p95, avg(goodput) as goodput,
          avg(serving_efficiency) as efficiency, any_value(verdicts) as verdicts,
          any_value(unit) as unit
        from trials join said using ({alike})
        where {mine} and (load_kind not like 'search%' or verdict <> 'INVALID')
        group by all order by load, interface desc, stack, model, precision""",
    )
    first, unit = rows[0], rows[0]["unit"]
    different = selected(
        folder,
        f"""select * from comparisons where {mine} and interface = 'rest'
          and model = '{first["model"]}' and precision = '{first["precision"]}' order by all""",
    )
    experiments = {(row["model"], row["precision"]) for row in rows}

    def kind(row: Row) -> str:
        return f", {row['model']} {row['precision']}" if len(experiments) > 1 else ""

    lines = [
        [
            f"{row['load']}{found(row)}, {row['stack']}, {row['interface']}{kind(row)}",
            number(row["throughput"], 1),
            number(row["p50"], 0),
            number(row["p95"], 0),
            "–" if row["goodput"] is None else f"{row['goodput']:.0%}",
            number(row["efficiency"]),
            row["verdicts"],
        ]
        for row in rows
    ]
    heading = [
        "load, stack, interface",
        f"{unit}/s",
        "p50 ms",
        "p95 ms",
        "within SLO",
        "of engine",
        "verdicts",
    ]
    about = (
        f"{first['model']} with **{first['weights']} weights**, {first['precision']}, "
        f"{run['machine_name']}, {run['started_at']:%Y-%m-%d}; means over the blocks of "
        f"[{run['run_id']}](results/{run['run_id']}):"
    )
    said = "\n".join(sentence(different, *one) for one in SENTENCES)
    which = (
        "Which differences are real "
        "(95% intervals over the blocks, corrected for the number of pairs):"
    )
    return f"{about}\n\n{markdown(heading, lines)}\n\n{which}\n\n{said}"


TABLES: dict[str, Callable[[Folder], str]] = {
    "overhead": overhead,
    "crosscheck": crosscheck,
    "calibration": calibration,
    "standard": standard,
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
