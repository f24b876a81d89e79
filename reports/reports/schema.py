"""Writes what is made from results/columns.toml: `python -m reports.schema`.

That is results/schema/*.schema.json and the page of columns for people, results/COLUMNS.md.
"""

import json
from typing import Any

from reports.columns import RESULTS, Column, in_file, markdown

FILES = {
    "runs": "run",
    "stacks": "stack",
    "trials": "trial",
    "comparisons": "comparisons",
    "calibrations": "calibration",
    "overhead": "overhead",
    "crosschecks": "crosschecks",
}
TITLES = {
    "runs": "run.json: what a run measured, on what, with what",
    "stacks": "stacks/*.json: one interface of one start of a stack, or of one that never started",
    "trials": "trials/*.json: one planned trial",
    "comparisons": "comparisons.json: pairs of stacks, written when a run ends",
    "calibrations": "calibration/*.json: the generator held against a null server and its goals",
    "overhead": "overhead/*.json: what interfaces cost by themselves, on a null server",
    "crosschecks": "crosscheck/*.json: k6, Locust and an asyncio client beside the known truth",
}
# Files that hold a list of rows under the view's name.
LISTS = ("comparisons", "overhead", "crosschecks")
JSON_TYPES = {
    "VARCHAR": "string",
    "TIMESTAMPTZ": "string",
    "BIGINT": "integer",
    "INTEGER": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
}
# What an INVALID trial must not claim.
HEADLINES = ("throughput_per_s", "goodput", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms")


def file_schema(view: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the files behind a view."""
    columns = in_file(view)
    row: dict[str, Any] = {
        "type": "object",
        "properties": {column.name: _property(column) for column in columns},
        "required": [column.name for column in columns if column.required],
        "additionalProperties": False,
    }
    if view == "trials":
        row["if"] = {"properties": {"verdict": {"const": "INVALID"}}}
        row["then"] = {"properties": {name: {"type": "null"} for name in HEADLINES}}
        row["else"] = {"properties": {"offered": {"type": "integer", "minimum": 1}}}
    if view in LISTS:
        row = {
            "type": "object",
            "properties": {view: {"type": "array", "items": row}},
            "required": [view],
            "additionalProperties": False,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLES[view],
        "$comment": "Made from ../columns.toml by `python -m reports.schema`: edit that.",
        **row,
    }


def _property(column: Column) -> dict[str, Any]:
    unit = f" [{column.unit}]" if column.unit else ""
    found: dict[str, Any] = {"description": column.meaning + unit}
    if column.type == "JSON":
        # Free inside; null only where the column may be.
        found["type"] = ["object", "array"] if column.required else ["object", "array", "null"]
    elif column.type.endswith("[]"):
        items: dict[str, Any] = {"type": JSON_TYPES[column.type.removesuffix("[]")]}
        if column.values:
            items["enum"] = list(column.values)
        found["type"] = "array" if column.required else ["array", "null"]
        found["items"] = items
    else:
        kind = JSON_TYPES[column.type]
        found["type"] = kind if column.required else [kind, "null"]
        if column.values:
            found["enum"] = [*column.values, *([] if column.required else [None])]
        if column.type == "TIMESTAMPTZ":
            found["format"] = "date-time"
    return found


def text(view: str) -> str:
    """The schema as it stands in its file."""
    return json.dumps(file_schema(view), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them all."""
    for view, name in FILES.items():
        (RESULTS / "schema" / f"{name}.schema.json").write_text(text(view), "utf-8")
    (RESULTS / "COLUMNS.md").write_text(markdown(), "utf-8")


if __name__ == "__main__":
    main()
