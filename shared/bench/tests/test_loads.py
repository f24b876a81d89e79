"""Loads that find something out, on the real runner against a server of exactly known capacity.

The fixture stack `paced` reckons turns instead of sleeping them: 100 requests a second, three at a
time, 30 ms each; it refuses who would wait longer than 0.6 s. However busy the machine is, it never
serves more, so whatever holds above that is a fault of the search.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import metrics
from bench import server
from bench.paths import BUILD, ROOT
from bench.processes import end_processes, marked

# About 100 s of measuring.
pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parent / "fixtures" / "groups"
CAPACITY = 100.0
SERVICE_MS = 30.0
# What the machine's other work may do to a trial; the figures asserted here survive it.
NOISE = {
    "GENERATOR_LATE", "NOISY_NEIGHBOUR", "STEAL", "THROTTLED", "SHARED_CPUS",
    "NEAR_GENERATOR_CEILING",
}  # fmt: skip


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One run of all these loads: {load: row}; `seen` has the figures of an INVALID one, too."""
    assert (BUILD / "tools" / "bin" / "k6").exists(), "k6 is not built: run `make test`"
    folder = tmp_path_factory.mktemp("loads")
    asked = {"STUDY_GROUPS": str(FIXTURES), "RESULTS": str(folder), "DEVICE": "cpu"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bench", "bench"],
            cwd=ROOT,
            env={**os.environ, **asked, "STACK": "paced", "PROFILE": "finding"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    finally:
        end_processes(marked(server.run_mark()), 1)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(file.read_text()) for file in folder.glob("*/trials/*.json")]
    assert len(rows) == 5, done.stdout
    for row in rows:
        (raw,) = folder.glob(f"*/raw/{row['trial_id']}")
        context = json.loads((raw / "context.json").read_text())
        row["seen"] = metrics.compute(raw / "requests.parquet", None, context)
    return {row["load"]: row for row in rows}


def found(row: dict[str, Any], name: str) -> float:
    """What a search found: the last full window's users or rate, which held."""
    path = row["search_path"]
    assert len(path) >= 4, path
    last = path[-1]
    assert last["confirming"] and last["held"], path
    assert set(row["reasons"]) <= NOISE | {"SATURATED"}, row["reasons"]
    assert row[name] == (None if row["verdict"] == "INVALID" else last[name])
    return last[name]


def test_the_rate_found_is_the_server_s_capacity(trials: dict[str, dict[str, Any]]) -> None:
    """Never above what can be served but by the overload that a probe is too short to show; below
    it by the tolerance, two steps down and what the machine's noise costs.

    Broken by a bracket that isn't bisected (half or double), by probes judged by throughput instead
    of goodput, or by a search over users reported as a rate."""
    row = trials["search"]
    rate = found(row, "rate_per_s")
    assert 0.7 * CAPACITY <= rate <= 1.06 * CAPACITY, row["search_path"]
    for step in row["search_path"]:
        assert step["users"] is None and step["offered"] > 0
        if step["rate_per_s"] > 1.1 * CAPACITY:
            assert not step["held"], step
    assert any(step["held"] is False for step in row["search_path"]), "no upper bound was seen"
    assert row["seen"]["offered"] == pytest.approx(rate * row["seen"]["window_s"], abs=1.5)


def test_the_users_found_are_what_the_limit_lets_wait(trials: dict[str, dict[str, Any]]) -> None:
    """3 users take 30 ms, 12 take 120; 15 take 150, the limit, and their own time on the way.

    13 and 14 depend on how their turns fall. Down to 10: two steps and the machine's noise.

    Broken by an open load in a search over users, whose answers get later for ever."""
    row = trials["search-users"]
    assert 10 <= found(row, "users") < 15, row["search_path"]
    assert all(step["held"] is False for step in row["search_path"] if step["users"] >= 16)


def test_a_burst_is_refused_felt_and_over(trials: dict[str, dict[str, Any]]) -> None:
    """300 in a second: 100 are served, 60 wait, the others are refused; at 50/s the 60 are gone
    after 1.2 s. None of it makes the row INVALID or SATURATED.

    Broken by a burst's edges taken from the warm-up's start, by a rate that stays at the base, or
    by a verdict that takes refusals for errors."""
    row = trials["burst"]
    seen = row["seen"]
    assert set(row["reasons"]) <= NOISE, row["reasons"]
    assert row["rate_per_s"] == 50
    assert seen["burst_offered"] == pytest.approx(300, abs=2)
    assert 0.7 * 140 <= seen["burst_refused"] <= 1.2 * 140
    assert seen["refused"] <= 1.2 * seen["burst_refused"], "refused outside the burst"
    assert seen["before_burst_p95_ms"] >= SERVICE_MS
    assert seen["recovery_s"] is None or 0.6 <= seen["recovery_s"] <= 2.4


def test_a_load_above_capacity_is_saturated_and_one_below_is_not(
    trials: dict[str, dict[str, Any]],
) -> None:
    """At 115% the backlog grows by 15 / 115 of the rate; at 50% it does not grow.

    Broken by a backlog of the window's own requests alone, or by a mark on every open load."""
    above, below = trials["above-capacity"], trials["below-capacity"]
    assert "SATURATED" in above["reasons"]
    assert 0.7 * 15 / 115 <= above["seen"]["backlog_slope"] <= 1.5 * 15 / 115
    assert "SATURATED" not in below["reasons"]
    assert above["seen"]["refused"] == 0, "marked because of its backlog, not of refusals"
