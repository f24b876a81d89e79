"""Comparisons of stacks: honest when there is no difference, right when there is one."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from metrics import compare

WORKLOAD = {
    "run_id": "r", "group_id": "g", "model": "m", "weights": "random", "precision": "fp32",
    "device": "cpu", "runtime": "native", "generator": "k6", "interface": "rest",
    "load": "closed-4", "client_batch": 1, "server_version": "1", "verdict": "VALID",
}  # fmt: skip


def trials(values: dict[str, list[float]], **more: Any) -> list[dict[str, Any]]:
    """Trial rows: {stack: throughput by block}."""
    assert values, "no stacks to compare"
    return [
        WORKLOAD | {"stack": stack, "block": block, "throughput_per_s": value} | more
        for stack, blocks in values.items()
        for block, value in enumerate(blocks, 1)
    ]


def test_ratio_and_interval_are_the_paired_t_of_the_logs() -> None:
    """One pair: scipy's own one-sample t-interval of the log-ratios.

    Broken by unpaired variances, by ratios of means or by a normal quantile."""
    a, b = [10.0, 11.0, 13.0, 12.0], [5.0, 6.0, 6.1, 5.5]
    (row,) = compare(trials({"a": a, "b": b}))
    logs = np.log(np.array(a) / np.array(b))
    low, high = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    assert row["ratio"] == pytest.approx(math.exp(logs.mean()))
    assert [row["ratio_low"], row["ratio_high"]] == pytest.approx([math.exp(low), math.exp(high)])
    assert (row["blocks"], row["pairs"], row["distinguishable"]) == (4, 1, True)


def test_after_a_search_only_what_was_found_is_compared() -> None:
    """Each stack met its own load: a ratio of their latencies would be of two experiments.

    Broken by treating a search's rows as rows of one load."""
    found = {"rate_per_s": 40.0, "latency_p50_ms": 20.0, "users": 3}
    rows = trials({"a": [40.0, 41], "b": [20.0, 21]}, load_kind="search", **found)
    assert {row["metric"] for row in compare(rows)} == {"rate_per_s"}
    rows = trials({"a": [40.0, 41], "b": [20.0, 21]}, load_kind="search_users", **found)
    assert {row["metric"] for row in compare(rows)} == {"users"}
    rows = trials({"a": [40.0, 41], "b": [20.0, 21]}, load_kind="burst", recovery_s=2.0)
    assert {row["metric"] for row in compare(rows)} == {"throughput_per_s", "recovery_s"}


def test_three_stacks_are_corrected_for_three_pairs() -> None:
    """Broken by an uncorrected interval."""
    rows = compare(trials({"a": [10.0, 11, 13], "b": [5.0, 6, 6], "c": [7.0, 7, 9]}))
    assert [(r["stack_a"], r["stack_b"], r["pairs"]) for r in rows] == [
        ("a", "b", 3), ("a", "c", 3), ("b", "c", 3),
    ]  # fmt: skip
    logs = np.log(np.array([10, 11, 13]) / np.array([5, 6, 6]))
    low, _ = stats.t.interval(1 - 0.05 / 3, 2, logs.mean(), stats.sem(logs))
    assert rows[0]["ratio_low"] == pytest.approx(math.exp(low))


@pytest.mark.parametrize("blocks", [3, 5, 10])
def test_equal_stacks_are_told_apart_in_five_percent(blocks: int) -> None:
    """Without a true difference "distinguishable" comes up in about 5% of 2,000 runs.

    Broken by a bootstrap over the blocks: 27% at 3 blocks. Seeded; bounds are 4 sigma wide."""
    noise = np.random.default_rng(7).lognormal(0, 0.1, (2000, 2, blocks))
    called = sum(
        compare(trials({"a": list(pair[0]), "b": list(pair[1])}))[0]["distinguishable"]
        for pair in noise
    )
    assert 0.03 < called / 2000 < 0.07


def test_drift_of_the_machine_cancels() -> None:
    """Blocks that are slow for both stacks leave the ratio exact. Broken by unpaired blocks."""
    (row,) = compare(trials({"a": [10.0, 20, 40], "b": [5.0, 10.001, 20]}))
    assert row["distinguishable"] and 1.99 < row["ratio_low"] < row["ratio_high"] < 2.01


def test_too_few_blocks_and_rows_that_must_not_meet() -> None:
    """Two blocks: a ratio without interval. INVALID, null and other weights never enter.

    Broken by a key that forgets weights, precision, runtime or interface."""
    (row,) = compare(trials({"a": [2.0, 2.0], "b": [1.0, 1.0]}))
    assert row["ratio"] == pytest.approx(2)
    assert row["ratio_low"] is row["ratio_high"] is row["distinguishable"] is None
    a = trials({"a": [2.0, 2.0, 2.0]})
    for other in ({"weights": "pretrained"}, {"precision": "int8"}, {"runtime": "container"},
                  {"interface": "grpc"}, {"verdict": "INVALID"}, {"throughput_per_s": None},
                  {"run_id": "other"}, {"client_batch": 8}):  # fmt: skip
        assert compare(a + trials({"b": [1.0, 1.0, 1.0]}, **other)) == [], other
    assert compare([]) == []
    assert compare(a + trials({"b": [1.0] * 3}, verdict="DEGRADED"))[0]["degraded"] is True


@pytest.mark.parametrize("lacking", [None, 0.0])
def test_a_stack_is_not_judged_by_its_good_blocks_only(lacking: float | None) -> None:
    """A metric that a counted block lacks is not compared; the same block INVALID is left out.

    Broken by skipping it: a stack that refuses in two blocks of five is judged by the other three.
    """
    rows = trials({"a": [2.0] * 5, "b": [1.0, 1.1, 1.0, 1.0, 1.1], "c": [1.0] * 5})
    assert len(compare(rows)) == 3
    b = [row for row in rows if row["stack"] == "b"]
    b[3]["throughput_per_s"] = lacking
    assert [(row["stack_a"], row["stack_b"], row["pairs"]) for row in compare(rows)] == [
        ("a", "c", 3)
    ]
    b[3]["verdict"] = "INVALID"
    assert [(row["stack_b"], row["blocks"]) for row in compare(rows)] == [
        ("b", 4), ("c", 5), ("c", 4),
    ]  # fmt: skip


def test_a_ratio_beyond_all_bounds_is_cut() -> None:
    """e^±700, and distinguishable by the interval itself: files hold no infinity. Broken by an
    exponential that overflows (and with it the end of a run), or by an end that becomes 0."""
    rows = trials({"a": [1e300, 1e301, 1e302], "b": [1e-300, 1e-301, 1e-302]})
    (row,) = compare(rows)
    assert row["ratio"] == row["ratio_high"] == row["ratio_low"] == math.exp(700)
    assert row["distinguishable"]
    (turned,) = compare([one | {"stack": {"a": "z"}.get(one["stack"], "b")} for one in rows])
    assert (turned["stack_a"], turned["ratio"]) == ("b", math.exp(-700))
    (wide,) = compare(trials({"a": [1e200, 1e-200, 1.0], "b": [1.0, 1.0, 1.0]}))
    assert (wide["ratio_low"], wide["ratio_high"]) == (math.exp(-700), math.exp(700))
    assert wide["ratio"] == pytest.approx(1) and wide["distinguishable"] is False
