"""The columns of the results, read from results/columns.toml; printed as Markdown."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "results"
PERCENTILES = ("p50", "p90", "p95", "p99", "p999")
ONE_ROW = {
    "runs": "a run",
    "stacks": "a stack of a group in a run: a model, precision, interface and block of it",
    "trials": "a planned trial",
    "latest": "a trial that counts today: the newest usable ones of each experiment and stack",
    "comparisons": "a pair of stacks on one metric and workload in a run",
    "requests": "a request, where raw records are kept",
    "samples": "a sample of resources, where raw records are kept",
    "calibrations": "a `make calibrate`",
    "overhead": "an interface, payload size and kind of connection in a `make overhead`",
    "crosschecks": "a generator under a load in a `make crosscheck`",
}


@dataclass(frozen=True)
class Column:
    """One column: `where` is "both", "view" (derived) or "file" (not in the view).

    `since` is the first schema_version in which a required column is there: older files lack it.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    required: bool = False
    values: tuple[str, ...] = ()
    where: str = "both"
    since: int = 1


@cache
def load_columns() -> dict[str, tuple[Column, ...]]:
    """{view: its columns in order}, percentile families spelt out."""
    text = (RESULTS / "columns.toml").read_text("utf-8")
    found: dict[str, tuple[Column, ...]] = {}
    for view, entries in tomllib.loads(text).items():
        columns: list[Column] = []
        for name, entry in entries.items():
            if name.endswith(".*"):
                columns += [c for c in found[name.removesuffix(".*")] if c.where != "file"]
            else:
                columns += _expand(name, entry)
        found[view] = tuple(columns)
    return found


def in_file(view: str) -> tuple[Column, ...]:
    """The columns that the view's files hold."""
    return tuple(column for column in load_columns()[view] if column.where != "view")


def in_view(view: str) -> tuple[Column, ...]:
    """The columns that the view shows."""
    return tuple(column for column in load_columns()[view] if column.where != "file")


def _expand(name: str, entry: dict[str, object]) -> list[Column]:
    if entry["type"] != "percentiles":
        values = entry.get("values")
        listed = tuple(str(value) for value in values) if isinstance(values, list) else ()  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return [
            Column(
                name,
                str(entry["type"]),
                str(entry["meaning"]),
                str(entry.get("unit", "")),
                bool(entry.get("required", False)),
                listed,
                str(entry.get("where", "both")),
                int(str(entry.get("since", 1))),
            )
        ]
    unit, meaning = str(entry["unit"]), str(entry["meaning"])
    found: list[Column] = []
    for percentile in PERCENTILES:
        column = f"{name.removesuffix('*')}{percentile}_{unit}"
        short = percentile.replace("p999", "p99.9")
        found += [
            Column(column, "DOUBLE", f"{short}: {meaning}; null: n too small, or it failed", unit),
            Column(f"{column}_low", "DOUBLE", f"lower end of {column}'s 95% interval", unit),
            Column(
                f"{column}_high",
                "DOUBLE",
                "upper end; null beside a value: unbounded, it lies among failed requests",
                unit,
            ),
        ]
    return found


def markdown() -> str:
    """The columns as Markdown tables, one a view."""
    lines = [
        "# Columns of the results",
        "",
        "Made from `columns.toml` by `python -m reports.schema`: edit that.",
        "",
    ]
    for view in load_columns():
        lines += [f"## {view}", "", f"One row: {ONE_ROW[view]}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        for column in in_view(view):
            values = f" ({', '.join(column.values)})" if column.values else ""
            never = "" if not column.required else ", never null"
            kind = f"{column.type}{never}"
            lines.append(f"| {column.name} | {kind} | {column.unit} | {column.meaning}{values} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
