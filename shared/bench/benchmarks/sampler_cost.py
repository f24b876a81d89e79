"""What watching costs the watched: a stack with the samplers on against off.

`PYTHONPATH=shared/bench:shared/metrics python -P shared/bench/benchmarks/sampler_cost.py --group 1
--stack NAME --load closed-1 --pairs 100 --seconds 2`. The aim: CPU seconds a request and p99 differ
by at most 2%.

One server, and one load of one payload that never stops, so that nothing but the samplers differs:
they are switched on and off every few seconds, in pairs of random order. The kernel's nanosecond
accounting of the server's threads is read at each switch; a request that a switch cuts belongs to
both sides by its share of time. What drifts over minutes falls on both sides of a pair alike, and
many short pairs average what doesn't.
"""

import argparse
import csv
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from rich.console import Console
from scipy.stats import t as student  # pyright: ignore[reportMissingTypeStubs]

from bench import gpu
from bench.artefact import Artefact, payloads_of, read_payloads
from bench.cpus import CpuSplit, split_cpus
from bench.errors import StackFailed, UserError
from bench.folders import find_groups, find_stacks
from bench.generator import load_plan, make_plan, run_k6
from bench.group import Group, load_group
from bench.lock import machine_to_ourselves
from bench.processes import TreeMeter, adopt_orphans, descendants
from bench.progress import Reporter
from bench.running import Running
from bench.sampler import Sampler
from bench.serve import served
from bench.settings import read_settings, resolve_device
from bench.tools import ensure_k6

WARMUP_S = 5.0
RESAMPLES = 2000
SEED = 7


@dataclass(frozen=True)
class Side:
    """One side of a pair: from one switch to the next, CLOCK_MONOTONIC ns; the server's CPU ns."""

    pair: int
    sampled: bool
    start_ns: int
    end_ns: int
    cpu_ns: int


@dataclass(frozen=True)
class Answer:
    """An answered request, CLOCK_MONOTONIC ns."""

    intended_ns: int
    sent_ns: int
    done_ns: int


def cpu_ns(pid: int) -> int:
    """CPU time of a server's live threads in ns, by the scheduler: finer than clock ticks."""
    total = 0
    for process in descendants(pid):
        for task in Path(f"/proc/{process}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except OSError:
                continue
    return total


def switch(
    pairs: int,
    seconds: float,
    read: Callable[[], int],
    sampler: Callable[[], Any],
    draw: random.Random,
) -> list[Side]:
    """Switch the samplers on and off, `seconds` a side. Takes 2 * pairs * seconds."""
    sides: list[Side] = []
    before, begin = read(), time.monotonic_ns()
    due = begin / 1e9
    for pair in range(pairs):
        for sampled in draw.sample([True, False], 2):
            due += seconds
            watching = sampler() if sampled else None
            if watching:
                watching.__enter__()
            time.sleep(max(0.0, due - time.monotonic()))
            if watching:
                watching.__exit__(None, None, None)
            after, end = read(), time.monotonic_ns()
            sides.append(Side(pair, sampled, begin, end, after - before))
            before, begin = after, end
    return sides


def requests_in(sides: Sequence[Side], answers: Sequence[Answer]) -> list[float]:
    """Requests served in each side; one that a switch cuts counts by its share of time."""
    sent = np.array([one.sent_ns for one in answers], dtype=np.int64)
    done = np.array([one.done_ns for one in answers], dtype=np.int64)

    def served_in(side: Side) -> float:
        inside = np.minimum(done, side.end_ns) - np.maximum(sent, side.start_ns)
        return float((np.clip(inside, 0, None) / (done - sent)).sum())

    return [served_in(side) for side in sides]


def cpu_ratios(sides: Sequence[Side], answers: Sequence[Answer]) -> list[float]:
    """CPU seconds a request, on over off: one log-ratio a pair."""
    served_in = requests_in(sides, answers)
    each = {(s.pair, s.sampled): s.cpu_ns / n for s, n in zip(sides, served_in, strict=True)}
    pairs = sorted({side.pair for side in sides})
    return [math.log(each[pair, True] / each[pair, False]) for pair in pairs]


def t_interval(logs: Sequence[float]) -> tuple[float, float, float]:
    """(low, middle, high) of the ratio: Student's t over the pairs' log-ratios, 95%."""
    n, middle = len(logs), fmean(logs)
    quantile = float(student.ppf(0.975, n - 1))  # pyright: ignore[reportUnknownMemberType]
    half = quantile * stdev(logs) / math.sqrt(n)
    return math.exp(middle - half), math.exp(middle), math.exp(middle + half)


def p99_interval(
    sides: Sequence[Side], answers: Sequence[Answer], seed: int
) -> tuple[float, float, float]:
    """(low, middle, high) of p99 on over off, all pairs pooled: a bootstrap over the pairs, 95%.

    Pairs, not requests, are drawn: what delays one request delays its neighbours.
    """

    def latencies(side: Side) -> list[float]:
        mine = (a for a in answers if side.start_ns <= a.intended_ns < side.end_ns)
        return [(a.done_ns - a.intended_ns) / 1e6 for a in mine]

    found = {(side.pair, side.sampled): latencies(side) for side in sides}
    pairs = sorted({side.pair for side in sides})

    def ratio(drawn: Sequence[int]) -> float:
        on, off = (
            np.percentile(np.concatenate([found[pair, sampled] for pair in drawn]), 99)
            for sampled in (True, False)
        )
        return float(on / off)

    draw = random.Random(seed)
    drawn = [ratio(draw.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), ratio(pairs), float(high)


def read_answers(file: Path) -> list[Answer]:
    """The answered requests of k6's raw records."""
    with file.open(newline="") as stream:
        return [
            Answer(int(row["intended_ns"]), int(row["sent_ns"]), int(row["done_ns"]))
            for row in csv.DictReader(stream)
            if row["ok"] == "true"
        ]


def load_and_switch(
    k6: Path,
    group: Group,
    running: Running,
    artefact: Artefact,
    load: str,
    pairs: int,
    seconds: float,
    cpus: CpuSplit,
    device: str,
) -> tuple[list[Side], list[Answer]]:
    """One k6 run with all pairs in it. Raises StackFailed if k6 or the server ends on the way."""
    sides: list[Side] = []
    generator: list[int] = []
    devices = gpu.handles() if device == "cuda" else []

    def sampler() -> Sampler:
        one = Sampler(TreeMeter(running.pid), devices)
        one.watch_generator(generator[0])
        return one

    def switch_all() -> None:
        asked = (lambda: cpu_ns(running.pid)), sampler, random.Random(SEED)
        sides.extend(switch(pairs, seconds, *asked))

    switching = threading.Thread(target=switch_all, daemon=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = group.loads[load]
        window_s = 2 * pairs * seconds + 2
        plan = make_plan(
            mode="load",
            group=group,
            artefact=artefact,
            payloads=payloads_of(read_payloads(group), chosen)[:1],
            running=running,
            interface=running.stack.interfaces[0].name,
            load=load_plan(chosen, None, WARMUP_S + window_s),
            client_batch=chosen.client_batch,
            seed=SEED,
            warmup_s=WARMUP_S,
            window_s=window_s,
            timeout_s=20,
            folder=folder,
        )
        run_k6(
            *(k6, running.stack, plan, cpus.client, folder, running.mark),
            on_start=generator.append,
            on_window=lambda edge: switching.start() if edge == "start" else None,
            keep_going=running.alive,
        )
        switching.join()
        answers = read_answers(folder / "records.csv")
    if len(sides) != 2 * pairs or not answers or not all(requests_in(sides, answers)):
        raise StackFailed("a side of a pair without answers: let --seconds be longer")
    return sides, answers


def told(figure: str, found: tuple[float, float, float]) -> str:
    """On over off, with its interval, in words."""
    low, middle, high = (value - 1 for value in found)
    return f"{figure}: {middle:+.2%} with the samplers on, 95% interval {low:+.2%} to {high:+.2%}"


def main() -> int:
    """Measure all pairs and print both ratios. Returns 2 on wrong use, 3 if the stack failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--load", default="closed-1", help="one of the group's closed loads")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2, help="of each side of a pair")
    chosen = parser.parse_args()
    adopt_orphans()
    cpus = split_cpus(dict(os.environ))
    settings = read_settings()
    try:
        (folder,) = find_stacks(find_groups(chosen.group), chosen.stack)
        group = load_group(folder.parent)
        if chosen.load not in group.loads or group.loads[chosen.load].kind != "closed":
            closed = [load.name for load in group.loads.values() if load.kind == "closed"]
            raise UserError(f"--load {chosen.load}: not one of {', '.join(closed)}")
        with (
            Reporter(Console(width=160)) as report,
            machine_to_ourselves(report),
            tempfile.TemporaryDirectory() as logs,
        ):
            k6 = ensure_k6(report)
            device = resolve_device(settings.device)
            os.sched_setaffinity(0, cpus.client)
            with served(folder, settings, cpus, Path(logs), report) as (running, artefact):
                sides, answers = load_and_switch(
                    *(k6, group, running, artefact, chosen.load, chosen.pairs, chosen.seconds),
                    *(cpus, device),
                )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except StackFailed as error:
        print(error, file=sys.stderr)
        return 3
    print(f"{chosen.stack}, {chosen.load}: {chosen.pairs} pairs of 2 x {chosen.seconds:g} s")
    print(told("CPU seconds a request", t_interval(cpu_ratios(sides, answers))))
    print(told("p99 latency", p99_interval(sides, answers, SEED)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
