"""The shared metric names are the same here, in the contract and in the schema of stack.toml."""

import json
import re
from pathlib import Path

from inference_client.metric_names import METRIC_NAMES

SHARED = Path(__file__).parents[2]


def names() -> list[str]:
    return [metric.name for metric in METRIC_NAMES]


def test_as_in_the_contract() -> None:
    text = (SHARED / "README.md").read_text()
    start = text.index("| name | counts |")
    rows = text[start : text.index("\n\n", start)].splitlines()
    firsts = "".join(row.split("|")[1] for row in rows)
    assert re.findall(r"`([a-z_]+)`", firsts) == names()


def test_as_in_the_schema() -> None:
    schema = json.loads((SHARED / "bench/bench/schemas/stack.schema.json").read_text())
    allowed = schema["properties"]["metrics"]["properties"]["map"]["properties"]
    assert sorted(allowed) == sorted(names())


def test_each_says_what_it_means() -> None:
    assert len(set(names())) == len(names())
    assert all(metric.meaning for metric in METRIC_NAMES)
