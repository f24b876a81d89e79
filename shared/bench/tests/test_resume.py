"""Going on with a run: what a user sets beside RUN may not silently be ignored."""

from pathlib import Path

import pytest
from rich.console import Console

from bench.__main__ import TARGETS
from bench.cpus import CpuSplit
from bench.errors import UserError
from bench.resume import refuse_contradiction, same_cpus
from bench.settings import Settings

THEN = Settings(
    *("1", "triton,torchserve", None, None, "standard", "cpu", "native", "random"),
    run="r1",
    duration_s=8.0,
)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PROFILE", "smoke", "PROFILE=standard"),
        ("GROUP", "2", "GROUP=1"),
        ("STACK", "triton", "STACK=triton,torchserve"),
        ("INTERFACE", "grpc", "it"),
        ("DEVICE", "cuda", "DEVICE=cpu"),
        ("WEIGHTS", "pretrained", "WEIGHTS=random"),
        ("DURATION", "9", "DURATION=8"),
    ],
)
def test_a_variable_that_contradicts_the_run_is_named(name: str, value: str, says: str) -> None:
    """Broken by a run that goes on with its own settings and lets the user believe the others."""
    with pytest.raises(
        UserError, match=rf"{name}={value}: run r1 was started with(out)? ?{says}"
    ) as refused:
        refuse_contradiction(THEN, {name: value})
    assert "leave it out" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROFILE", "standard"),
        ("GROUP", "1-image-classification"),
        ("STACK", "1-image-classification/torchserve,triton"),
        ("DEVICE", "auto"),
        ("WEIGHTS", "auto"),
        ("DURATION", "8"),
        ("PROFILE", ""),
    ],
)
def test_what_says_the_same_is_no_contradiction(name: str, value: str) -> None:
    refuse_contradiction(THEN, {name: value})


def test_a_run_goes_on_with_its_own_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one run measured on different CPUs are not comparable."""
    facts = {"run_id": "r1", "server_cpus": [0], "client_cpus": [1], "shared_cpus": False}
    here = CpuSplit((1,), (0,), False)
    assert same_cpus(facts, here) == CpuSplit((0,), (1,), False)
    monkeypatch.setenv("SERVER_CPUS", "1")
    with pytest.raises(UserError, match="SERVER_CPUS=1: run r1 has SERVER_CPUS=0"):
        same_cpus(facts, here)


@pytest.mark.parametrize("target", ["bench", "replay", "recompute"])
def test_a_slip_in_results_makes_no_folder(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is looked for before a folder is made for it. Broken by an empty folder beside the
    results, which the next call takes for them."""
    slip = tmp_path / "reslts"
    monkeypatch.setenv("RESULTS", str(slip))
    with pytest.raises(UserError, match=f"RUN=r1: no such run in {slip}, there are no results"):
        TARGETS[target](THEN, Console())
    assert not slip.exists()
