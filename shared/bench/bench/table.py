"""The terminal's tables and lines: the plan before, a line a trial, the run's summary after."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.group import Profile
from bench.plan import Start
from bench.store import read_json

Row = dict[str, Any]
# Heading, justification, cell.
Column = tuple[str, Literal["left", "right"], Callable[[Row], str]]

# A server can't be faster than its engine; what is above this is the engine's measurement.
ENGINE_AT_FAULT = 1.02

COLOURS = {"VALID": "green", "DEGRADED": "yellow", "INVALID": "red"}


def number(value: float | None, digits: int = 1) -> str:
    """A figure for a person; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def plan_line(group: str, profile: Profile, starts: Sequence[Start]) -> str:
    """One line that says what a group's run consists of."""
    stacks = sorted({start.stack for start in starts})
    trials = sum(len(start.trials) for start in starts)
    return (
        f"{group}: profile {profile.name}, {profile.blocks} block(s), "
        f"{', '.join(stacks) or 'no stack that runs here'}; {trials} trials of "
        f"{profile.warmup_s:g} + {profile.window_s:g} s"
    )


def load_cell(row: Row) -> str:
    """The load's name, with what a search found or how long a burst was felt."""
    if row["verdict"] == "INVALID":
        return row["load"]
    if row["load_kind"] == "search":
        return f"{row['load']}: {row['rate_per_s']:g}/s"
    if row["load_kind"] == "search_users":
        return f"{row['load']}: {row['users']} users"
    if row["load_kind"] == "burst":
        return f"{row['load']}: {number(row['recovery_s'])} s"
    return row["load"]


def stack_names(rows: Sequence[Row]) -> Callable[[Row], str]:
    """What a row's stack is called, with its model and precision where the rows have several."""
    models = {row["model"] for row in rows}
    precisions = {(row["stack"], row["precision"]) for row in rows}
    several = {stack for stack, _ in precisions if sum(s == stack for s, _ in precisions) > 1}

    def name(row: Row) -> str:
        parts = [row["stack"]]
        parts += [row["model"]] if len(models) > 1 else []
        parts += [row["precision"]] if row["stack"] in several else []
        return " ".join(parts)

    return name


def trial_line(row: dict[str, Any]) -> str:
    """One finished trial in a line."""
    variant = f" {row['precision']}" if f".{row['precision']}." in row["trial_id"] else ""
    place = f"{row['stack']}{variant} {row['interface']} {load_cell(row)} (block {row['block']})"
    why = f" {', '.join(row['reasons'])}" if row["reasons"] else ""
    if row["throughput_per_s"] is None:
        return f"{place}: {row['verdict']}{why}{': ' + row['detail'] if row['detail'] else ''}"
    return (
        f"{place}: {number(row['throughput_per_s'])} {row['unit']}/s, "
        f"p95 {number(row['latency_p95_ms'], 0)} ms, {row['verdict']}{why}"
    )


def shown_columns(rows: Sequence[Row], width: int) -> list[Column]:
    """The columns that fit: a narrow terminal gets the fewest."""
    unit = rows[0]["unit"]
    columns: list[Column] = [
        ("stack", "left", stack_names(rows)),
        ("interface", "left", lambda row: row["interface"]),
        ("load", "left", load_cell),
    ]
    if any(row["block"] > 1 for row in rows):
        columns.append(("block", "right", lambda row: str(row["block"])))
    columns.append((f"{unit}/s", "right", lambda row: number(row["throughput_per_s"])))
    if width >= 100:
        columns.append(("p50 ms", "right", lambda row: number(row["latency_p50_ms"], 0)))
    columns.append(("p95 ms", "right", lambda row: number(row["latency_p95_ms"], 0)))
    if width >= 120:
        columns.append(("goodput", "right", lambda row: number(row["goodput"], 2)))
        columns.append(("CPUs", "right", lambda row: number(row["cpu_cores_used"], 2)))
        columns.append(("of engine", "right", lambda row: number(row["serving_efficiency"], 2)))
    columns.append(("verdict", "left", verdict_cell))
    return columns


def verdict_cell(row: dict[str, Any]) -> str:
    """The verdict in its colour, and why."""
    reasons = f" {', '.join(row['reasons'])}" if row["reasons"] else ""
    return f"[{COLOURS[row['verdict']]}]{row['verdict']}[/]{reasons}"


def trials_table(rows: Sequence[dict[str, Any]], title: str, width: int) -> Table:
    """All trials of a group, one row each."""
    shown = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    columns = shown_columns(rows, width)
    for heading, justify, _ in columns:
        shown.add_column(heading, justify=justify, no_wrap=heading != "verdict")
    for row in rows:
        shown.add_row(*(cell(row) for _, _, cell in columns))
    return shown


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All whole JSON files of a folder, in the order of their names."""
    return [row for file in sorted(folder.glob("*.json")) if (row := read_json(file))]


def best_efficiency(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line a stack: the best share of its bare engine that it reached."""
    best: dict[str, float] = {}
    name = stack_names(rows)
    for row in rows:
        if (value := row["serving_efficiency"]) is not None:
            best[name(row)] = max(best.get(name(row), 0.0), value)
    return [
        f"{stack}: serves {value:.0%} of what its bare engine does on these CPUs"
        + (
            " (more than it can be: the engine's run or a coarse window is at fault)"
            if value > ENGINE_AT_FAULT
            else ""
        )
        for stack, value in sorted(best.items())
    ]


def goals_table(found: dict[str, Any]) -> Table:
    """What `make calibrate` found, each figure beside its goal."""
    title = "Generator against the null server's own record"
    shown = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for heading in ("protocol", "figure"):
        shown.add_column(heading)
    for heading in ("reached", "goal"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("met")
    for goal in found["goals"]:
        digits = 2 if goal["at_most"] else 0
        shown.add_row(
            goal["protocol"],
            goal["figure"],
            f"{number(goal['reached'], digits)} {goal['unit']}",
            f"{'≤' if goal['at_most'] else '≥'} {number(goal['goal'], digits)}",
            {True: "[green]yes[/]", False: "[red]no[/]", None: "–"}[goal["met"]],
        )
    return shown


def print_calibration(console: Console, found: dict[str, Any], file: Path) -> None:
    """What `make calibrate` found."""
    console.print(goals_table(found))
    stolen = [row["steal_share"] for row in found["runs"]]
    console.print(
        f"{len(stolen)} runs, {found['runs_left_out']} left out for CPU steal above 1% "
        f"(median {statistics.median(stolen):.1%}, most {max(stolen):.1%}). "
        f"{found['goals_met']} of {len(found['goals'])} goals met. Each run: {file}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def print_run(console: Console, folder: Path, facts: dict[str, Any]) -> None:
    """The summary at the end of a run."""
    trials = read_rows(folder / "trials")
    stacks = read_rows(folder / "stacks")
    for group in facts["groups"]:
        rows = [row for row in trials if row["group_id"] == group]
        if rows:
            weights = ", ".join(sorted({row["weights"] for row in rows}))
            title = f"{group}  ({facts['device']}, {weights} weights)"
            console.print(trials_table(rows, title, console.width))
            for line in best_efficiency(rows):
                console.print(line, highlight=False)
    for row in stacks:
        if row["status"] != "measured":
            fix = f" To change that: {row['fix']}" if row.get("fix") else ""
            console.print(
                f"{row['stack']} {row['interface']}: {row['status']}: {row['reason']}.{fix}",
                markup=False,
                highlight=False,
            )
    counts = {name: sum(row["verdict"] == name for row in trials) for name in COLOURS}
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.print(f"{words}. Results: {folder}", markup=False, highlight=False, soft_wrap=True)
