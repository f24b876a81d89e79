"""Which rows are run together, without a server."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILE = Path(__file__).resolve().parents[1] / "model_repository" / "encoder" / "1" / "batches.py"


@pytest.fixture(scope="module")
def batches() -> Any:
    """The step's own file: it is run inside Triton, so it is not on any path."""
    spec = importlib.util.spec_from_file_location("encoder_batches", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.batches


@given(
    lengths=st.lists(st.integers(2, 256), max_size=150),
    texts=st.integers(1, 64),
    tokens=st.integers(2, 4096),
)
def test_every_row_is_run_once_within_the_limits(
    lengths: list[int], texts: int, tokens: int, batches: Any
):
    """The bug this would catch: a lost or doubled row, or an execution above the budget."""
    groups = batches(lengths, texts, tokens)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert lengths[group[-1]] == longest, "the caller pads to the last row's length"
        assert len(group) == 1 or (len(group) <= texts and len(group) * longest <= tokens)


def test_like_lengths_are_run_together(batches: Any):
    """The point of it: one long text does not make short ones pay."""
    assert batches([3, 250, 4, 3], 32, 256) == [[0, 3, 2], [1]]
