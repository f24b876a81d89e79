"""Which rows are run together, without a server."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILE = Path(__file__).resolve().parents[1] / "model_repository" / "encoder" / "1" / "batches.py"


@pytest.fixture(scope="module")
def step() -> Any:
    """The step's own file: it is run inside Triton, so it is not on any path."""
    spec = importlib.util.spec_from_file_location("encoder_batches", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@given(
    lengths=st.lists(st.integers(2, 256), max_size=150),
    texts=st.integers(1, 64),
    tokens=st.integers(2, 4096),
    padding=st.integers(1, 4096),
)
def test_every_row_is_run_once_within_the_limits(
    lengths: list[int], texts: int, tokens: int, padding: int, step: Any
):
    """The bug this would catch: a lost or doubled row, or an execution above the limits."""
    groups = step.batches(lengths, step.Limits(texts, tokens, padding))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert lengths[group[-1]] == longest, "the caller pads to the last row's length"
        assert len(group) == 1 or (len(group) <= texts and len(group) * longest <= tokens)


@pytest.mark.parametrize(
    ("padding", "groups"),
    [(14, [[0, 3, 2], [1]]), (738, [[0, 3, 2, 1]]), (737, [[0, 3, 2], [1]])],
)
def test_like_lengths_are_run_together(padding: int, groups: list[list[int]], step: Any):
    """The point of it: one long text does not make short ones pay, unless that is cheap.

    With the long one, three texts padded to 4 tokens would be padded to 250: 3 × 246 = 738 more.
    """
    assert step.batches([3, 250, 4, 3], step.Limits(32, 1000, padding)) == groups
