"""A bare engine is the ceiling of a stack only if both compute with the same code."""

from pathlib import Path

import pytest

GROUPS = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("group", "name"), [("2-text-generation", "linear.py"), ("3-embeddings", "bert.py")]
)
def test_the_engine_computes_with_the_stacks_own_code(group: str, name: str) -> None:
    """Folders are isolated, so the code is there twice. Breaks when only one copy is improved."""
    engine, stack = (
        GROUPS / group / part / name for part in ("engines/pytorch", "fastapi-pytorch")
    )
    assert engine.read_bytes() == stack.read_bytes(), f"{engine} and {stack} differ"
