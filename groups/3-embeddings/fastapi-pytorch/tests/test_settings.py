"""What the server runs with unless told otherwise, where others rely on it."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.stack import load_stack

STACK = Path(__file__).resolve().parents[1]
BATCH = ("MAX_BATCH", "BATCH_TOKENS", "PADDING_TOKENS")
ROW = re.compile(rf"^\| {', '.join(f'`{name}`' for name in BATCH)} \| (.+?); (.+?) \|", re.M)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stack's settings.py, in an environment that sets none of them."""
    for name in (*BATCH, "DEVICE", "PRECISION", "THREADS", "WORKERS"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("embeddings_settings", STACK / "settings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_batch_is_as_large_as_is_said(device: str, code: Any, monkeypatch: pytest.MonkeyPatch):
    """In the README, and in stack.toml, by which batch efficiency is divided. Breaks when a default
    is changed here only: every row's batch efficiency is wrong then, and nothing else shows it."""
    monkeypatch.setenv("DEVICE", device)
    found = code.from_environment()
    told = ROW.search((STACK / "README.md").read_text())
    assert told is not None
    said = [int(each) for each in told[1 if device == "cpu" else 2].split(", ")]
    assert said == [found.max_batch, found.batch_tokens, found.padding_tokens]
    assert load_stack(STACK).max_batch[device] == found.max_batch
