"""How often a comparison errs, in runs simulated from a real one's blocks."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.power import (
    BLOCKS,
    METRICS,
    PUBLISH_BLOCKS,
    RUN,
    block_spreads,
    called_different,
    power,
    read_trials,
    residuals,
    shape,
)

RUNS = 500
GROUPS = Path(__file__).resolve().parents[3] / "groups"
POOLS = {metric: residuals(read_trials(RUN), metric) for metric in METRICS}


def test_what_is_resampled_is_the_noise_alone() -> None:
    """Stack and block effects left in would be resampled as noise, and hide any error rate."""
    for metric, found in POOLS.items():
        assert len(found) >= 3, f"{metric}: too few workloads vary"
        for rest in found.values():
            assert rest.shape[0] >= 2 and rest.shape[1] >= 2
            assert np.allclose(rest.mean(0), 0) and np.allclose(rest.mean(1), 0)
        assert all(0 < spread < 1 for spread in block_spreads(found).values())


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("metric", METRICS)
def test_two_copies_of_one_stack_are_not_called_different(metric: str, blocks: int) -> None:
    """In 95% of runs. Broken by a normal quantile or a bootstrap over few blocks (10 to 27% wrong),
    or by blocks that are not paired (the drift they share would count as noise: 0% wrong)."""
    wrong = round(called_different(POOLS[metric], blocks, RUNS, seed=blocks) * RUNS)
    low, high = binom.ppf([0.0005, 0.9995], RUNS, 0.05)
    assert low <= wrong <= high, f"{wrong} of {RUNS}"


def test_a_true_tenth_is_found_at_publish_settings() -> None:
    """In 90% of runs up to the block spread that the README states, and not for free: at twice that
    it is often missed. Broken by an interval that is too wide, or by noise that is not applied."""
    for file in GROUPS.glob("*/group.toml"):
        profiles = tomllib.loads(file.read_text())["profiles"]
        assert profiles["publish"]["blocks"] >= PUBLISH_BLOCKS, file
    noise = np.concatenate([shape(found) for found in POOLS.values()])
    for stacks, spread in ((2, 0.045), (3, 0.035)):
        assert power(noise, spread, stacks, RUNS, 1, PUBLISH_BLOCKS) >= 0.9
        assert power(noise, 2 * spread, stacks, RUNS, 1, PUBLISH_BLOCKS) < 0.7
