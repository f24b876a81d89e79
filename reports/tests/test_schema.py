"""The schemas are what columns.toml says, and they refuse what a row must not be."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from golden import trial_row
from reports.columns import RESULTS, in_file, markdown
from reports.schema import FILES, file_schema, text


@pytest.mark.parametrize("view", sorted(FILES))
def test_the_schema_files_are_current(view: str) -> None:
    """Broken by editing columns.toml without `python -m reports.schema`."""
    file = RESULTS / "schema" / f"{FILES[view]}.schema.json"
    assert file.read_text("utf-8") == text(view), "run: python -m reports.schema"
    Draft202012Validator.check_schema(json.loads(text(view)))


@pytest.mark.parametrize(
    "fault",
    [
        {"verdict": "GOOD"},
        {"reasons": ["BAD_LUCK"]},
        {"latency_p95_msec": 3.0},
        {"stack": None},
        {"throughput_per_s": "9"},
        {"verdict": "INVALID", "reasons": ["ERRORS"]},
        {"offered": 0},
        {"offered": None},
    ],
)
def test_a_wrong_trial_is_refused(fault: dict[str, Any]) -> None:
    """A typo, an unknown verdict, figures of an INVALID trial, a measured trial of no requests."""
    validator = Draft202012Validator(file_schema("trials"))
    assert validator.is_valid(trial_row("alpha", 1))
    assert not validator.is_valid(trial_row("alpha", 1) | fault)


def test_every_column_is_described() -> None:
    """Broken by a column without meaning."""
    described = markdown()
    for view in FILES:
        for column in in_file(view):
            assert column.meaning
            assert column.where == "file" or f"| {column.name} |" in described
