"""This stack's batcher against LitServe's on the same model, and against itself set otherwise.

From the repository's root:

    PYTHONPATH=shared/bench:shared/metrics .build/envs/study/bin/python -P \
        groups/3-embeddings/fastapi-pytorch/bench/compare.py --blocks 5

The group is copied to `.build/litserve/` with this stack and LitServe alone, and the runner
measures the copy as it measures any group: parity gate, the search for the highest rate at the SLO,
audit, in blocks of random order. `--settings documented --load poisson-25 --blocks 1` instead shows
how many of a quarter of the engine's rate are answered in time with each of LitServe's settings,
`--settings own --load closed-64` what this stack's own are worth. `--load ladder` asks as a search
does, but at the same fixed rates for all: where a search's short probes can't settle, their
requests still add up. RUN=<id> continues.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.group import load_group
from bench.paths import BUILD, ROOT

STACK = Path(__file__).resolve().parent.parent
HOME = BUILD / "litserve"
# What both serve with: LitServe's server.py imports these from its own folder.
SAME = ("bert.py", "model.py", "settings.py", "k6.js")
# By the name that a stack of the copy has: LitServe's documented settings, and this stack's own.
DOCUMENTED = {
    "litserve": {},  # its defaults: one text at a time
    "litserve-fast-queue": {"FAST_QUEUE": "1"},
    "litserve-2-workers": {"WORKERS_PER_DEVICE": "2"},
    "litserve-batch-4": {"MAX_BATCH_SIZE": "4", "BATCH_TIMEOUT": "0.002"},
    "litserve-batch-8": {"MAX_BATCH_SIZE": "8", "BATCH_TIMEOUT": "0.005"},
    "litserve-batch-8-at-once": {"MAX_BATCH_SIZE": "8", "BATCH_TIMEOUT": "0"},
}
OWN = {
    "in-order": {"PASSING_US": "0"},
    "one-at-a-time": {"MAX_BATCH": "1"},
    "any-padding": {"PADDING_TOKENS": "256"},
    "any-padding-any-tokens": {"PADDING_TOKENS": "256", "BATCH_TOKENS": "8192"},
}
SETTINGS = {**DOCUMENTED, **OWN}
LADDER = (0.15, 0.2, 0.25, 0.3, 0.4)  # shares of the engine's rate
PROFILE = """
[profiles.litserve]
blocks = {blocks}
warmup_s = 1
window_s = 8
min_requests = 120
timeout_s = 20
engine_s = 1.5
quiet_wait_s = 10
every_interface = []
first_interface = {loads}
"""
RUNG = """
[loads."ladder-{share}"]
kind = "open"
arrivals = "poisson"
share = {share}
max_users = 256
"""


def copy_group(settings: list[str], load: str, blocks: int) -> Path:
    """This group with this stack and one more a setting; returns the copy's groups folder."""
    group = STACK.parent
    folder = HOME / "groups" / group.name
    scripts = HOME / "shared" / "k6" / "js"
    for old in (folder, scripts):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(ROOT / "shared" / "k6" / "js", scripts)
    leave_out = shutil.ignore_patterns("tests", "bench", "__pycache__")
    for part in ("model", "payloads", "engines", STACK.name):
        shutil.copytree(group / part, folder / part, ignore=leave_out)
    rungs = [f"ladder-{share}" for share in LADDER] if load == "ladder" else [load]
    told = "".join(RUNG.format(share=share) for share in LADDER)
    told += PROFILE.format(loads=json.dumps(rungs), blocks=blocks)
    (folder / "group.toml").write_text((group / "group.toml").read_text() + told)
    for name in settings:
        if name in OWN:
            shutil.copytree(STACK, folder / name, ignore=leave_out)
        else:
            shutil.copytree(STACK / "bench" / "litserve", folder / name)
            for file in SAME:
                shutil.copy(STACK / file, folder / name)
        told = "".join(f'"{key}={value}", ' for key, value in SETTINGS[name].items())
        file = folder / name / "stack.toml"
        file.write_text(file.read_text().replace('["python"', f'["env", {told}"python"'))
    return folder.parent


def found(run: Path, figure: str) -> dict[str, list[float | None]]:
    """{stack: the figure in each block, None where a trial says nothing}."""
    rows = [json.loads(file.read_text()) for file in sorted(run.glob("trials/*.json"))]
    figures: dict[str, list[float | None]] = {}
    for row in sorted(rows, key=lambda row: row["block"]):
        valid = row["verdict"] != "INVALID"
        figures.setdefault(row["stack"], []).append(row[figure] if valid else None)
    return figures


def crossing(offered: dict[float, tuple[float, float]], share: float) -> float | None:
    """The rate at which goodput falls to `share`; None if that is not between two of the rates.

    `offered`: {rate: (requests answered in time, requests)}. Goodput can't rise with the rate, so
    neighbours where it seems to are pooled; between rates it is taken for a straight line.
    """
    pools: list[tuple[list[float], float, float]] = []
    for rate, (good, number) in sorted(offered.items()):
        pools.append(([rate], good, number))
        while len(pools) > 1 and pools[-1][1] / pools[-1][2] > pools[-2][1] / pools[-2][2]:
            rates, more_good, more = pools.pop()
            pools[-1] = (pools[-1][0] + rates, pools[-1][1] + more_good, pools[-1][2] + more)
    line = [(rate, good / number) for rates, good, number in pools for rate in rates]
    for (low, above), (high, below) in pairwise(line):
        if above >= share > below:
            return low + (above - share) / (above - below) * (high - low)
    return None


def climbed(run: Path, share: float) -> None:
    """Print each stack's goodput at each rate, all blocks together, and where it crosses `share`:
    in all blocks together, then in each."""
    rows = [json.loads(file.read_text()) for file in sorted(run.glob("trials/*.json"))]
    rows = [row for row in rows if row["verdict"] != "INVALID"]
    for stack in sorted({row["stack"] for row in rows}):
        mine = [row for row in rows if row["stack"] == stack]
        blocks = sorted({row["block"] for row in mine})
        by_block = [added([row for row in mine if row["block"] == block]) for block in blocks]
        together = added(mine)
        for rate, (good, number) in sorted(together.items()):
            print(f"{stack:<26}{rate:5.1f}/s  {good / number:.3f} of {number:.0f}")
        rates = [crossing(each, share) for each in (together, *by_block)]
        print(f"{stack:<26}{share} at", *(f"{rate:.1f}/s" if rate else "–" for rate in rates))


def added(rows: list[dict[str, Any]]) -> dict[float, tuple[float, float]]:
    """{rate: (requests answered in time, requests)} over these trials."""
    sums: dict[float, tuple[float, float]] = {}
    for row in rows:
        good, number = sums.get(row["rate_per_s"], (0.0, 0.0))
        more = row["goodput"] * row["offered"]
        sums[row["rate_per_s"]] = (good + more, number + row["offered"])
    return sums


def main() -> int:
    """Copy, measure, tell. Returns the runner's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--settings", default="litserve", help="documented, own, or names")
    parser.add_argument("--load", default="search", help="search, ladder, or a load's name")
    parser.add_argument("--blocks", type=int, default=5)
    chosen = parser.parse_args()
    several = {"documented": list(DOCUMENTED), "own": list(OWN)}
    settings = several.get(chosen.settings) or chosen.settings.split(",")
    if unknown := set(settings) - set(SETTINGS):
        parser.error(f"--settings: no {min(unknown)!r}; there are {', '.join(SETTINGS)}")
    results = Path(os.environ.get("RESULTS") or HOME / "results").resolve()
    before = set(results.glob("*"))
    variables = {
        "STUDY_GROUPS": str(copy_group(settings, chosen.load, chosen.blocks)),
        "GROUP": STACK.parent.name,
        "STACK": "",
        "PROFILE": "litserve",
        "RESULTS": str(results),
    }
    command = [sys.executable, "-P", "-m", "bench", "bench"]
    runner = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables})
    code: int | None = None
    while code is None:
        with contextlib.suppress(KeyboardInterrupt):  # the runner stops what it has started
            code = runner.wait()
    run = os.environ.get("RUN") or next((f.name for f in set(results.glob("*")) - before), "")
    group = load_group(STACK.parent)
    if chosen.load == "ladder":
        climbed(results / run, group.slos["cpu"].share)
        return code
    kind = group.loads[chosen.load].kind
    figure = {"search": "rate_per_s", "closed": "throughput_per_s"}.get(kind, "goodput")
    for stack, blocks in found(results / run, figure).items():
        print(f"{stack:<26}{figure:<18}", *(f"{one:7.2f}" if one else "      –" for one in blocks))
    compared = results / run / "comparisons.json"
    for one in json.loads(compared.read_text())["comparisons"] if compared.exists() else []:
        if one["metric"] == "rate_per_s" and one["ratio"] is not None:
            low, high = one["ratio_low"], one["ratio_high"]
            print(f"{one['stack_a']} / {one['stack_b']}: {one['ratio']:.2f} ({low:.2f}–{high:.2f})")
    return code


if __name__ == "__main__":
    sys.exit(main())
