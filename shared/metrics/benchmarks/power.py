"""How often `metrics.compare` errs, in runs simulated from the blocks of a real one.

`PYTHONPATH=. python benchmarks/power.py [run folder] [simulated runs]`. What is resampled: the part
of each trial's log value that neither its stack nor its block explains. Each simulated run draws
from that, adds a drift that all stacks of a block share, and has known true ratios.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics import compare

RUN = Path(__file__).resolve().parents[3] / "results" / "20261121-181655-26a4"
METRICS = ("throughput_per_s", "latency_p50_ms", "latency_p95_ms", "cpu_cores_used")
BLOCKS = (3, 5, 10)
PUBLISH_BLOCKS = 5
SPREADS = (0.02, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.08)
# Common to all stacks of a block: it must cancel.
DRIFT = 0.2
Floats = NDArray[np.float64]
Row = dict[str, Any]


def read_trials(run: Path) -> list[Row]:
    """A run's trial rows. Raises ValueError if there are none."""
    rows = [json.loads(file.read_text()) for file in sorted((run / "trials").glob("*.json"))]
    if not rows:
        raise ValueError(f"there are no trials in {run}")
    return rows


def residuals(rows: Sequence[Row], metric: str) -> dict[str, Floats]:
    """{workload: what stack and block don't explain of log(metric)}, shape (stacks, blocks).

    Scaled so that its variance is that of one trial; two stacks' log-ratio has twice that.
    Workloads with fewer than 2 whole stacks or 2 blocks, or without variation, are left out.
    """
    cells: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row["verdict"] != "INVALID" and (row[metric] or 0) > 0:
            workload = f"{row['interface']} {row['load']}"
            cells[workload][row["stack"]][row["block"]] = math.log(row[metric])
    found: dict[str, Floats] = {}
    for workload, stacks in cells.items():
        blocks = sorted({block for values in stacks.values() for block in values})
        whole = [
            [values[b] for b in blocks] for values in stacks.values() if len(values) == len(blocks)
        ]
        if len(whole) < 2 or len(blocks) < 2:
            continue
        logs = np.array(whole)
        rest = logs - logs.mean(1, keepdims=True) - logs.mean(0, keepdims=True) + logs.mean()
        s, b = rest.shape
        rest *= math.sqrt(s * b / ((s - 1) * (b - 1)))
        if rest.std() > 1e-9:
            found[workload] = rest
    return found


def block_spreads(found: Mapping[str, Floats]) -> dict[str, float]:
    """{workload: standard deviation over the blocks of two stacks' log-ratio}."""
    return {workload: float(rest.std()) * math.sqrt(2) for workload, rest in found.items()}


def shape(found: Mapping[str, Floats]) -> Floats:
    """All residuals, each workload's at unit variance: the form of the noise without its size."""
    return np.concatenate([(rest / rest.std()).ravel() for rest in found.values()])


def simulated(
    draw: np.random.Generator,
    noise: Floats,
    spreads: Sequence[float],
    logs: Sequence[float],
    blocks: int,
    runs: int,
) -> list[Row]:
    """Trial rows of many runs. `logs`: the stacks' true log values; a run draws one spread."""
    size = draw.choice(spreads, (runs, 1, 1)) / math.sqrt(2)
    drift = draw.normal(0, DRIFT, (runs, blocks, 1))
    values = np.array(logs) + drift + size * draw.choice(noise, (runs, blocks, len(logs)))
    return [
        {
            "run_id": run,
            "group_id": "",
            "stack": f"stack {stack}",
            "block": block,
            "verdict": "VALID",
            "throughput_per_s": math.exp(values[run, block, stack]),
        }
        for run in range(runs)
        for block in range(blocks)
        for stack in range(len(logs))
    ]


def found_apart(rows: Sequence[Row]) -> int:
    """In how many runs the first two stacks come out as distinguishable."""
    first = [
        one for one in compare(rows) if (one["stack_a"], one["stack_b"]) == ("stack 0", "stack 1")
    ]
    assert len(first) == len({row["run_id"] for row in rows}), "a simulated run was not compared"
    return sum(one["distinguishable"] for one in first)


def called_different(found: Mapping[str, Floats], blocks: int, runs: int, seed: int) -> float:
    """Share of runs that call two copies of one stack different; should be 0.05 at most."""
    draw = np.random.default_rng(seed)
    spreads = list(block_spreads(found).values())
    return found_apart(simulated(draw, shape(found), spreads, (0, 0), blocks, runs)) / runs


def power(noise: Floats, spread: float, stacks: int, runs: int, seed: int, blocks: int) -> float:
    """Share of runs that tell two stacks apart of which one is truly 10% better."""
    logs = [math.log(1.1), *[0.0] * (stacks - 1)]
    rows = simulated(np.random.default_rng(seed), noise, [spread], logs, blocks, runs)
    return found_apart(rows) / runs


def main() -> None:
    """Print both tables and this run's own block spreads, as Markdown."""
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else RUN
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    trials = read_trials(run)
    pools = {metric: residuals(trials, metric) for metric in METRICS}
    print(f"{run.name}, {runs} simulated runs a cell\n")
    print(
        "| metric | "
        + " | ".join(f"same stack twice, {b} blocks" for b in BLOCKS)
        + " | block spread, median (range) |"
    )
    print("|---" * (len(BLOCKS) + 2) + "|")
    for metric, found in pools.items():
        same = [f"{1 - called_different(found, b, runs, b):.1%}" for b in BLOCKS]
        spreads = list(block_spreads(found).values())
        own = f"{np.median(spreads):.1%} ({min(spreads):.1%}–{max(spreads):.1%})"
        print(f"| `{metric}` | {' | '.join(same)} | {own} |")
    print("\n| true 10% found, 5 blocks | " + " | ".join(f"{s:.1%}" for s in SPREADS) + " |")
    print("|---" * (len(SPREADS) + 1) + "|")
    noise = np.concatenate([shape(found) for found in pools.values()])
    for stacks in (2, 3):
        row = [f"{power(noise, s, stacks, runs, stacks, PUBLISH_BLOCKS):.1%}" for s in SPREADS]
        print(f"| {stacks} stacks | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
