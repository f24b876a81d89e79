"""A stack against its own copy, for real."""

import json
import os
import subprocess
import sys

import pytest

from bench.paths import ROOT


@pytest.mark.slow
def test_a_stack_is_measured_against_its_own_copy(study) -> None:
    """Both are measured in each block and compared. Broken by a copy that is not a stack of its
    own, or by comparisons that leave it out."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", str(ROOT / "shared" / "bench" / "benchmarks" / "aa.py")),
            *("--group", "9", "--stack", "steady", "--profile", "standard"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            **{"STUDY_GROUPS": str(study.groups), "RESULTS": str(study.results), "DEVICE": "cpu"},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = study.runs()
    rows = study.trials(run).values()
    assert {row["stack"] for row in rows} == {"steady", "steady-again"} and len(rows) == 6
    compared = json.loads((study.results / run / "comparisons.json").read_text())["comparisons"]
    (speed,) = [one for one in compared if one["metric"] == "throughput_per_s"]
    assert speed["blocks"] == 3 and 0.5 < speed["ratio"] < 2
    assert "comparisons of a stack with itself" in done.stdout
