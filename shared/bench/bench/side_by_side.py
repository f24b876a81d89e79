"""A run and its replay, figure by figure."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import metrics
from bench.table import number, read_rows

Row = dict[str, Any]
FIGURES = {
    "throughput_per_s": "{unit}/s",
    "latency_p50_ms": "p50 ms",
    "latency_p95_ms": "p95 ms",
}


def ratios(old: Iterable[Row], new: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    """{(group, stack, interface, model, load, metric): a row of `metrics.compare`, new over old}.

    The blocks are paired: block n of both had the same seed, order and rates.
    """
    both = [
        {**row, "run_id": "", "group_id": f"{row['group_id']}/{row['stack']}", "stack": age}
        for age, rows in (("old", old), ("new", new))
        for row in rows
    ]
    return {
        (*row["group_id"].split("/"), row["interface"], row["model"], row["load"], row["metric"]): (
            row
        )
        for row in metrics.compare(both)
    }


def middle(rows: Sequence[Row], metric: str) -> str:
    """The geometric mean over the blocks; below 3 blocks with the percentile's own interval."""
    values = [row[metric] for row in rows if row["verdict"] != "INVALID" and row[metric]]
    if not values:
        return "–"
    digits = 0 if min(values) >= 100 else 2
    shown = number(math.exp(fmean(map(math.log, values))), digits)
    lows: list[Any] = [row.get(f"{metric}_low") for row in rows]
    highs: list[Any] = [row.get(f"{metric}_high") for row in rows]
    if len(values) < 3 and all(lows) and all(highs):
        return f"{shown} ({number(min(lows), digits)}–{number(max(highs), digits)})"
    return shown


def ratio_cell(row: Row | None) -> str:
    """new / old with its interval, marked where that leaves 1 out."""
    if row is None:
        return "–"
    if row["ratio_low"] is None:
        return f"{row['ratio']:.2f}"
    text = f"{row['ratio']:.2f} ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})"
    return f"[yellow]{text} *[/]" if row["distinguishable"] else text


def new_table(*leading: str) -> Table:
    """An empty table: the leading columns, then the figure, old, new and their ratio."""
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    for heading in (*leading, "figure"):
        table.add_column(heading, no_wrap=True)
    for heading in ("old", "new", "new / old"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def print_side_by_side(console: Console, old: Path, new: Path) -> None:
    """The figures and what they come to: one table, or on a narrow terminal one a workload."""
    before, after = read_rows(old / "trials"), read_rows(new / "trials")
    if not before or not after:
        console.print(f"nothing to compare: no trials in {old if not before else new}")
        return
    found = ratios(before, after)
    wide = console.width >= 100
    console.print(f"{old.name} and its replay {new.name}", highlight=False)
    table = new_table("stack", "interface", "load")
    for place in sorted({place_of(row) for row in after}):
        names = (place[1], place[2], place[4])
        if not wide:
            console.print(f"\n {' '.join(names)}", highlight=False)
            table = new_table()
        mine = [[row for row in rows if place_of(row) == place] for rows in (before, after)]
        for nth, (metric, heading) in enumerate(FIGURES.items()):
            cells = [middle(rows, metric) for rows in mine]
            cells.append(ratio_cell(found.get((*place, metric))))
            table.add_row(
                *((names if nth == 0 else ("", "", "")) if wide else ()),
                heading.format(unit=mine[1][0]["unit"]),
                *(cells if wide else (cell.replace(" (", "\n(") for cell in cells)),
            )
        if not wide:
            console.print(table)
    if wide:
        console.print(table)
    print_meaning(console, [row for key, row in found.items() if key[-1] in FIGURES])


def place_of(row: Row) -> tuple[str, ...]:
    """Which trials of the blocks belong together."""
    return (row["group_id"], row["stack"], row["interface"], row["model"], row["load"])


def print_meaning(console: Console, rows: Sequence[Row]) -> None:
    """What the intervals are, and how many ratios differ from 1 beside how many do by chance."""
    judged = [row for row in rows if row["distinguishable"] is not None]
    if not judged:
        text = "Fewer than 3 blocks: intervals are each percentile's own, a ratio has none."
    else:
        apart = sum(row["distinguishable"] for row in judged)
        text = (
            f"{apart} of {len(judged)} ratios differ from 1 (*; 95% t-intervals over the blocks); "
            f"chance alone gives about {0.05 * len(judged):.1f}."
        )
    console.print(text, highlight=False)
