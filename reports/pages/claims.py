"""What was measured here, in words, beside what the study's earlier tables claim."""

from typing import Any

from pages.names import NAMES, written

# The figures of general claims: unit, and what it is of.
GENERAL = {
    "ready_s": ("s", "until ready, the model loaded"),
    "memory_idle_mb": ("MB", "idle, the model included"),
    "gpu_utilization": ("%", ""),
    "users": ("callers", "within the limit"),
    "overhead_p50_ms": ("ms", "p50, any payload, kept and new connections"),
}
Row = dict[str, Any]


def measured(row: Row, unit: str) -> str:
    """The best that was measured of a stack's claim, and under which load."""
    if row["measured_best"] is None:
        return "no such figure here" if row["column_name"] is None else "not measured"
    value, name = row["measured_best"], row["column_name"]
    of = NAMES.get(name, ("", "ms", ""))[1].format(unit=unit)
    random = ", random weights" if row["weights"] == "random" else ""
    where = f"{row['model']} {row['precision']}{random}, {row['load_title']}"
    return f"{_figure(value, 'callers' if name == 'users' else of)} ({where})"


def range_measured(row: Row) -> str:
    """The range over all groups, of a claim about servers or interfaces in general."""
    if row["low"] is None:
        return "no such figure here" if row["column_name"] is None else "not measured"
    of, what = GENERAL[row["column_name"]]
    scale = 100 if of == "%" else 1
    ends = [written(scale * row[side]) for side in ("low", "high")]
    return f"{'–'.join(dict.fromkeys(ends))} {of} {what}".strip()


def _figure(value: float, of: str) -> str:
    return f"{100 * value:.0f}%" if of == "%" else f"{written(value)} {of}"
