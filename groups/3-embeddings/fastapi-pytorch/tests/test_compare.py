"""bench/compare.py makes a group that the runner accepts, of what is here and LitServe."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import config

STACK = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def compare() -> Any:
    spec = importlib.util.spec_from_file_location("compare_litserve", STACK / "bench/compare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_copied_group(compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each setting is a stack of its own with the very model, requests and lock; the group itself
    has no such stack. Breaks if a file that both share is moved, or a knob is renamed."""
    assert "litserve" not in [folder.name for folder in config.stack_folders(STACK.parent)]
    monkeypatch.setattr(compare, "HOME", tmp_path)
    groups = compare.copy_group(list(compare.SETTINGS), "search", 3)
    (folder,) = groups.iterdir()
    assert config.load_group(folder).profiles["litserve"].blocks == 3
    names = [found.name for found in config.stack_folders(folder)]
    assert names == sorted([STACK.name, *compare.SETTINGS])
    for name, settings in compare.SETTINGS.items():
        stack = config.load_stack(folder / name)
        told = [f"{key}={value}" for key, value in settings.items()]
        knobs = (
            folder / name / ("settings.py" if name in compare.OWN else "server.py")
        ).read_text()
        assert all(f'"{key}"' in knobs for key in settings), name
        assert list(stack.command) == ["env", *told, "python", "server.py"]
        assert (folder / name / "bert.py").read_bytes() == (STACK / "bert.py").read_bytes()
        assert (folder / name / "requirements.cpu.lock").exists()


def test_what_a_run_found(compare: Any, tmp_path: Path):
    """A search that found nothing is a gap, not a rate."""
    (tmp_path / "trials").mkdir()
    for block, verdict in ((2, "VALID"), (1, "INVALID")):
        row = f'{{"block": {block}, "stack": "a", "verdict": "{verdict}", "rate_per_s": 7.5}}'
        (tmp_path / "trials" / f"{block}.json").write_text(row)
    assert compare.found(tmp_path, "rate_per_s") == {"a": [None, 7.5]}
