"""What `make` hands on."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What whoever runs the tests may have set: make would hand it on.
SETTINGS = ("GROUP", "OPEN", "RESULTS", "RUN", "STACK", "WATCH")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve"], '-m pages --results "results"  --watch'),
        (["serve", "GROUP=2"], '--group "2"  --watch'),
        (["serve", "GROUP=1", "STACK=triton"], "-m bench serve"),
    ],
)
def test_what_is_served(words: list[str], told: str) -> None:
    """The report, built again while a run goes on; or the stack that is named. Broken by a STACK
    that is overlooked, or by the report in its place."""
    environ = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        ["make", "-n", *words], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    shown = " ".join(done.stdout.replace("\\\n", " ").split())
    assert " ".join(told.split()) in shown
    assert ("-m bench serve" in shown) == ("STACK=triton" in words)
