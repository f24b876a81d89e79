"""Each step of the ensemble by hand, without a server: also what only the container's use."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.artefact import ensure_artefact
from bench.environments import ensure_environment
from bench.group import load_group
from bench.progress import Reporter

STACK = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """What steps.py saw, in the stack's own environment."""
    report = Reporter(Console(quiet=True))
    group = load_group(STACK.parent)
    artefact = ensure_artefact(group, group.models[0], "auto", report)
    python = ensure_environment(STACK, "cpu", report, ">=3.11,<3.13") / "bin" / "python"
    script = [str(STACK / "tests" / "steps.py"), str(STACK / "model_repository")]
    done = subprocess.run(
        [str(python), "-P", *script, str(artefact.folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("multiple", "shapes", "padding"),
    [
        (1, [[1, 3], [2, 16], [1, 17]], [0, 13, 0]),
        (16, [[1, 16], [2, 16], [1, 32]], [13, 13, 15]),  # the container's configuration
    ],
)
def test_lengths_are_rounded_up_where_batches_need_one_shape(
    multiple: int, shapes: list[list[int]], padding: list[int], facts: dict[str, Any]
) -> None:
    """Texts of 1; 1 and 14; 15 words: [CLS] and [SEP] count, what is added is masked padding."""
    found = facts["tokenize"]
    assert found[f"shapes, multiple of {multiple}"] == shapes
    assert found[f"tokens, multiple of {multiple}"] == [[3], [3, 16], [17]]
    assert found[f"padding, multiple of {multiple}"] == [[0] * one for one in padding]


def test_a_bad_text_fails_its_own_request_only(facts: dict[str, Any]) -> None:
    """And a text of just the limit is none."""
    over = "TEXT[0]: the text has 1000001 bytes, the limit is 1000000"
    assert facts["tokenize"]["each by itself"] == [
        "answered",
        ["INVALID_ARG", "TEXT[1]: the text is empty"],
        "answered",
        ["INVALID_ARG", over],
    ]


def test_rows_of_like_length_are_run_together(facts: dict[str, Any]) -> None:
    """By hand, with two tokens of padding allowed: rows of 2, 2 and 3 tokens, then the one of 6.

    Breaks with a row given to another request, a mask over padding, or pad ids that are kept.
    """
    found = facts["encode"]
    short = [[3, 4, 9], [2, 2, 9], [5, 6, 7]], [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    assert found["runs"] == [[*map(list, short)], [[[1, 2, 8, 3, 1, 2]], [[1] * 6]]]
    assert found["answers"] == [[[3, 4, 0], [5, 6, 7]], [[1, 2, 8, 3, 1, 2]], [[2, 2]]]
    assert found["counted"] == [4, 2, 2 + 2 + 3 + 6, 9 + 6]


def test_the_mean_is_over_a_texts_own_tokens(facts: dict[str, Any]) -> None:
    """(3, 0) and (3, 8) have the mean (3, 4), whose length is 5; what is masked counts nothing."""
    assert facts["pool"] == [[0.6, 0.8], [0.0, 1.0]]
