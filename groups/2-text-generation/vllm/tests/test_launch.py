"""launch.py names what it can't work with, before vLLM is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("variables", "phrase"),
    [
        ({"MODEL_DIR": "nowhere"}, "has no model.safetensors"),
        ({"THREADS": "two"}, "THREADS must be a whole number above 0, not 'two'"),
        ({"QUEUE": "0"}, "QUEUE must be a whole number above 0, not '0'"),
        ({"DEVICE": "tpu"}, "DEVICE must be cpu or cuda, not 'tpu'"),
        ({"PRECISION": "int8"}, "PRECISION must be fp32, bf16 or fp16, not 'int8'"),
    ],
)
def test_a_wrong_setting_is_named(variables: dict[str, str], phrase: str, tmp_path: Path) -> None:
    """The bug this would catch: a page of traceback half a minute later, naming none of them."""
    env = {"PATH": os.environ["PATH"], "STATE_DIR": str(tmp_path), **variables}
    said = subprocess.run(
        [sys.executable, "-P", "launch.py"],
        cwd=FOLDER,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode != 0
    assert phrase in said.stderr
    assert "Traceback" not in said.stderr
