"""bench/compare.py makes a group that the runner accepts, of what is here and LitServe."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.folders import stack_folders
from bench.group import load_group
from bench.stack import load_stack

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
    assert "litserve" not in [folder.name for folder in stack_folders(STACK.parent)]
    monkeypatch.setattr(compare, "HOME", tmp_path)
    groups = compare.copy_group(list(compare.SETTINGS), "ladder", 3)
    (folder,) = groups.iterdir()
    profile = load_group(folder).profiles["litserve"]
    assert (profile.blocks, len(profile.first_interface)) == (3, len(compare.LADDER))
    names = [found.name for found in stack_folders(folder)]
    assert names == sorted([STACK.name, *compare.SETTINGS])
    for name, settings in compare.SETTINGS.items():
        stack = load_stack(folder / name)
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


def test_where_goodput_crosses(compare: Any):
    """By hand. Breaks if an uneven pair of windows is taken for two crossings, or for none."""
    falling = {10.0: (100.0, 100.0), 20.0: (96.0, 100.0), 30.0: (90.0, 100.0)}
    assert compare.crossing(falling, 0.95) == pytest.approx(20 + 10 / 6)
    uneven = {10.0: (100.0, 100.0), 20.0: (94.0, 100.0), 25.0: (98.0, 100.0), 30.0: (84.0, 100.0)}
    assert compare.crossing(uneven, 0.95) == pytest.approx(25 + 5 * 0.01 / 0.12)
    assert compare.crossing({10.0: (99.0, 100.0), 20.0: (97.0, 100.0)}, 0.95) is None


def test_blocks_add_up(compare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Two blocks of unlike length count by their requests; what is INVALID does not count."""
    (tmp_path / "trials").mkdir()
    trials = [(1, 20.0, 1.0, 100), (1, 30.0, 0.8, 100), (2, 20.0, 0.9, 300), (2, 30.0, 0.8, 100)]
    for number, (block, rate, goodput, offered) in enumerate(trials):
        row = {"block": block, "stack": "a", "verdict": "VALID", "rate_per_s": rate}
        row |= {"goodput": goodput, "offered": offered}
        (tmp_path / "trials" / f"{number}.json").write_text(json.dumps(row))
    void = {"block": 3, "stack": "a", "verdict": "INVALID", "rate_per_s": 20.0}
    (tmp_path / "trials" / "9.json").write_text(json.dumps(void))
    compare.climbed(tmp_path, 0.9)
    said = capsys.readouterr().out
    assert "20.0/s  0.925 of 400" in said
    assert "0.9 at 22.0/s 25.0/s 20.0/s" in said
