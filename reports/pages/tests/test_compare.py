"""What changed between two runs, on golden results."""

import re
from pathlib import Path

import pytest

from golden import RUN
from pages.compare import main

from .conftest import Golden, trials

LATER = {
    "run_id": "20260102-000000-aaaa",
    "started_at": "2026-01-02T00:00:00Z",
    "git_commit": "b" * 40,
}


def compared(folder: Path, to: Path, capsys: pytest.CaptureFixture[str], *sides: str) -> str:
    assert main(["--results", str(folder), "--to", str(to), *sides]) == 0
    assert (to / "compare.html").read_text("utf-8").startswith("<!doctype html>")
    return capsys.readouterr().out


def test_a_change_is_told_with_its_interval(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Throughput doubles: logarithms with the same standard deviation s on both sides, so Welch's
    error is s·√(2/3) on 4 degrees of freedom; one row a metric, so t is 2.776: by hand,
    2 · e^±0.1080. Broken by A over B, or by an interval over pairs that aren't pairs."""
    golden(trials("alpha", (20, 21, 22)))
    folder = golden(trials("alpha", (44, 40, 42)), **LATER)
    text = compared(folder, tmp_path, capsys, RUN, "bbbbbbb")
    assert "alpha, rest, closed-4: throughput in B is 1.80–2.23× that in A." in text


def test_a_change_beyond_all_bounds_is_told(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures 10^600 apart, up and down: e^±700 stands for that. Broken by an exponential that
    overflows, or by three hundred digits in a cell."""
    more = {"latency_p50_ms": 1e300, "latency_p95_ms": None, "cpu_cores_used": None}
    golden(trials("alpha", (1e-300, 1e-299, 1e-298), **more))
    folder = golden(
        trials("alpha", (1e300, 1e299, 1e298), **more | {"latency_p50_ms": 1e-300}), **LATER
    )
    text = compared(folder, tmp_path, capsys, RUN, LATER["run_id"])
    assert "alpha, rest, closed-4: throughput in B is 1e+304× that in A." in text
    assert "alpha, rest, closed-4: latency p50 in B is 9.9e-305× that in A." in text
    assert not re.search(r"\d{20}", (tmp_path / "compare.html").read_text("utf-8"))


def test_a_change_names_its_experiment(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One stack and load at two precisions: each change says at which. Broken by a sentence that
    holds for either."""
    int8 = {"precision": "int8"}
    now = [row | {"trial_id": f"{row['trial_id']}.8"} | int8 for row in trials("alpha", (5, 5, 5))]
    golden(trials("alpha", (20, 21, 22)) + now)
    then = [row | {"throughput_per_s": 50.0} for row in now]
    folder = golden(trials("alpha", (20, 21, 22)) + then, **LATER)
    text = compared(folder, tmp_path, capsys, RUN, LATER["run_id"])
    said = "alpha, rest, closed-4, resnet50 int8: throughput in B is 10.00× that"
    assert said in text and "fp32" not in text


def test_a_run_is_not_judged_by_its_good_blocks_only(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three blocks of B are a tenth faster, and in two its p95 lies among failures. Broken by
    leaving these out: it would be called better as it got worse."""
    golden(trials("alpha", (20, 20.1, 20.2, 20, 20.1), latency_p95_ms=200.0))
    later = trials("alpha", (20, 20.1, 20.2, 20, 20.1), latency_p95_ms=180.0)
    for row in later[3:]:
        row["latency_p95_ms"] = None
    text = compared(golden(later, **LATER), tmp_path, capsys, RUN, LATER["run_id"])
    assert "latency p95" not in text
    for row in later[3:]:
        row["latency_p95_ms"] = 180.0
    text = compared(golden(later, **LATER), tmp_path, capsys, RUN, LATER["run_id"])
    assert "latency p95 in B is 0.90" in text


def test_noise_is_no_change(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden(trials("alpha", (20, 21, 22)))
    folder = golden(trials("alpha", (21, 22, 20.5)), **LATER)
    text = compared(folder, tmp_path, capsys, RUN, LATER["run_id"])
    assert "figures are not distinguishable" in text
    assert "that in A" not in text


def test_different_experiments_never_meet(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other weights, another machine: nothing to compare. Broken by a join without them."""
    golden(trials("alpha", (20, 21, 22)))
    folder = golden(trials("alpha", (40, 41, 42), weights="random"), **LATER)
    assert "No answer" in compared(folder, tmp_path, capsys, RUN, LATER["run_id"])


def test_too_few_blocks(golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden(trials("alpha", (20, 21)))
    folder = golden(trials("alpha", (40, 41, 42)), **LATER)
    assert "too few blocks to tell" in compared(folder, tmp_path, capsys, RUN, LATER["run_id"])


@pytest.mark.parametrize("sides", [("nonsense", RUN), (RUN, RUN)])
def test_a_wrong_side_is_one_line(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str], sides: tuple[str, str]
) -> None:
    folder = golden(trials("alpha", (20, 21, 22)))
    assert main(["--results", str(folder), "--to", str(tmp_path), *sides]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
