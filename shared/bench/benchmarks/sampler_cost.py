"""What watching costs the watched: a stack with the samplers on against off, in pairs.

`PYTHONPATH=shared/bench:shared/metrics python -P shared/bench/benchmarks/sampler_cost.py --group 1
--stack NAME --load closed-1 --pairs 10 --seconds 10`. One server, its windows in pairs of random
order; the aim is at most 2% more CPU seconds a request and p99. Both kinds of window read the
server's CPU time at their edges only; what is switched is the 10 Hz sampler of every trial.
"""

import argparse
import contextlib
import csv
import math
import os
import random
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from rich.console import Console
from scipy.stats import t as student  # pyright: ignore[reportMissingTypeStubs]

from bench import config, gpu
from bench.artefact import Artefact, read_payloads
from bench.cpus import CpuSplit, split_cpus
from bench.errors import StackFailed, UserError
from bench.generator import load_plan, make_plan, run_k6
from bench.lock import machine_to_ourselves
from bench.processes import TreeMeter, adopt_orphans
from bench.progress import Reporter
from bench.sampler import Sampler
from bench.serve import served
from bench.server import Running
from bench.settings import Settings, read_settings, resolve_device
from bench.tools import ensure_k6

WARMUP_S = 1.0
FIGURES = ("CPU seconds a request", "p99 latency")


def window(
    k6: Path,
    group: config.Group,
    running: Running,
    artefact: Artefact,
    load: str,
    seconds: float,
    seed: int,
    cpus: CpuSplit,
    device: str,
    sampled: bool,
) -> tuple[float, float]:
    """One window under load: (the server's CPU seconds a request, p99 latency in ms)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = group.loads[load]
        plan = make_plan(
            mode="load",
            group=group,
            artefact=artefact,
            payloads=read_payloads(group),
            running=running,
            interface=running.stack.interfaces[0].name,
            load=load_plan(chosen, None, WARMUP_S + seconds),
            client_batch=chosen.client_batch,
            seed=seed,
            warmup_s=WARMUP_S,
            window_s=seconds,
            timeout_s=20,
            folder=folder,
        )
        edges: list[int] = []
        with contextlib.ExitStack() as stack:
            on_start = None
            if sampled:
                devices = gpu.handles() if device == "cuda" else []
                sampler = stack.enter_context(Sampler(TreeMeter(running.pid), devices))
                on_start = sampler.watch_generator
            found = run_k6(
                k6,
                running.stack,
                plan,
                cpus.client,
                folder,
                running.mark,
                on_start=on_start or (lambda pid: None),
                on_window=lambda edge: edges.append(TreeMeter(running.pid).read().cpu_ns),
                keep_going=running.alive,
            )
        with (folder / "records.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["ok"] in ("true", "1")]
    # The CPU time of a window is spent on what is answered in it.
    ended = sum(found.window_start_ns <= int(r["done_ns"]) < found.window_end_ns for r in rows)
    waits = [
        (int(row["done_ns"]) - int(row["intended_ns"])) / 1e6
        for row in rows
        if found.window_start_ns <= int(row["intended_ns"]) < found.window_end_ns
    ]
    if len(edges) != 2 or not ended or not waits:
        raise StackFailed("a window without answers")
    return (edges[1] - edges[0]) / 1e9 / ended, float(np.percentile(waits, 99))


def told(figure: str, ratios: list[float]) -> str:
    """On over off with its 95% t-interval, from one log-ratio a pair."""
    n, middle = len(ratios), fmean(ratios)
    quantile = float(student.ppf(0.975, n - 1))  # pyright: ignore[reportUnknownMemberType]
    half = quantile * stdev(ratios) / math.sqrt(n)
    low, mid, high = (math.expm1(value) for value in (middle - half, middle, middle + half))
    return f"{figure}: {mid:+.2%} with the samplers on, 95% interval {low:+.2%} to {high:+.2%}"


def main() -> int:
    """Measure all pairs and print both ratios. Returns 2 on wrong use, 3 if the stack failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--load", default="closed-1", help="one of the group's closed loads")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10)
    chosen = parser.parse_args()
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    settings: Settings = read_settings()
    draw = random.Random(7)
    ratios: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    with Reporter(Console(width=160)) as report, machine_to_ourselves(report):
        try:
            (folder,) = config.find_stacks(config.find_groups(chosen.group), chosen.stack)
            k6 = ensure_k6(report)
            group = config.load_group(folder.parent)
            device = resolve_device(settings.device)
            os.sched_setaffinity(0, cpus.client)
            with (
                tempfile.TemporaryDirectory() as logs,
                served(folder, settings, cpus, Path(logs), report) as (running, artefact),
            ):
                for pair in range(-1, chosen.pairs):
                    got: dict[bool, tuple[float, float]] = {}
                    for sampled in draw.sample([True, False], 2):
                        got[sampled] = window(
                            *(k6, group, running, artefact, chosen.load, chosen.seconds),
                            *(pair + 2, cpus, device, sampled),
                        )
                    if pair < 0:
                        continue  # the first pair warms up
                    for figure, on, off in zip(FIGURES, got[True], got[False], strict=True):
                        ratios[figure].append(math.log(on / off))
                    report.note(f"pair {pair + 1}: on {got[True]}, off {got[False]}")
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        except StackFailed as error:
            print(error, file=sys.stderr)
            return 3
    print(f"{chosen.stack}, {chosen.load}, {chosen.pairs} pairs of {chosen.seconds:g} s")
    for figure in FIGURES:
        print(told(figure, ratios[figure]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
