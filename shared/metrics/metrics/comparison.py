"""Which of two stacks is better, by how much, and can that be told at all."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple

from scipy.stats import t as student  # pyright: ignore[reportMissingTypeStubs]

CONFIDENCE = 0.95
MIN_BLOCKS = 3
METRICS = (
    "throughput_per_s",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "service_time_p50_ms",
    "ttft_p50_ms",
    "ttft_p95_ms",
    "itl_p95_ms",
    "tpot_p50_ms",
    "cpu_cores_used",
    "memory_peak_mb",
    "energy_j_per_unit",
    "recovery_s",
)
# After a search each stack met a load of its own: what was found is all that can be compared.
FOUND = {"search": ("rate_per_s",), "search_users": ("users",)}
# Of a ratio's logarithm: neither e^x beyond it nor the inverse is a number that a file can hold.
FURTHEST = 700.0
# Rows that differ in one of these are different experiments and never meet.
WORKLOAD = (
    "model",
    "weights",
    "precision",
    "device",
    "runtime",
    "generator",
    "interface",
    "load",
    "client_batch",
)


class Subject(NamedTuple):
    stack: str
    server_version: str | None


@dataclass(frozen=True)
class Comparison:
    """stack_a over stack_b on one metric and workload; ratio: geometric mean over the blocks."""

    run_id: str
    group_id: str
    workload: str
    model: str
    weights: str
    precision: str
    device: str
    runtime: str
    generator: str
    interface: str
    load: str
    client_batch: int
    metric: str
    stack_a: str
    stack_b: str
    server_version_a: str | None
    server_version_b: str | None
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    distinguishable: bool | None
    blocks: int
    pairs: int
    degraded: bool


def compare(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every pair of stacks on every metric and workload, from trial rows (as in the trial files).

    A block gives one value, the log-ratio of the two stacks; the interval is Student's t over the
    blocks' values at 1 - 0.05 / pairs (Bonferroni over the pairs of one metric and workload, so one
    sentence about all of them holds with 95%). Below 3 blocks the ratio stands without an interval
    and distinguishable is null. INVALID trials are left out. So is a stack, from one metric, that
    lacks its figure (null or not positive) in any other block: a p95 among failures or a recovery
    that never came is missing because it is bad, and the blocks that have one would flatter it; its
    pairs still count for the correction. e^±700 stands for all ratios beyond. A bootstrap over so
    few blocks is far too narrow, hence the t-interval.
    """
    found: list[dict[str, Any]] = []
    for key, subjects in _by_workload(rows).items():
        for metric in FOUND.get(_load_kind(subjects), METRICS):
            found += [asdict(one) for one in _pairs(key, metric, subjects)]
    return found


Subjects = dict[Subject, dict[Any, list[Mapping[str, Any]]]]


def _by_workload(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], Subjects]:
    """Rows as {(run, group, workload…): {stack: {block: trials}}}, INVALID ones left out."""
    found: dict[tuple[Any, ...], Subjects] = {}
    for row in rows:
        if row["verdict"] != "INVALID":
            key = (row["run_id"], row["group_id"], *(row.get(name) for name in WORKLOAD))
            subject = Subject(row["stack"], row.get("server_version"))
            blocks = found.setdefault(key, {}).setdefault(subject, defaultdict(list))
            blocks[row["block"]].append(row)
    return found


def _load_kind(subjects: Subjects) -> str:
    """The kind of one workload's load: the same in all of its rows."""
    return next(
        str(row.get("load_kind"))
        for blocks in subjects.values()
        for rows in blocks.values()
        for row in rows
    )


def _pairs(key: tuple[Any, ...], metric: str, subjects: Subjects) -> list[Comparison]:
    logs = {subject: _logs(blocks, metric) for subject, blocks in subjects.items()}
    pairs = [
        (
            a,
            b,
            [logs[a][block] - logs[b][block] for block in sorted(logs[a].keys() & logs[b].keys())],
        )
        for a, b in combinations(sorted(subjects, key=str), 2)
        if a.stack != b.stack
    ]
    pairs = [pair for pair in pairs if pair[2]]
    run_id, group_id, *workload = key
    names = dict(zip(WORKLOAD, workload, strict=True))
    title = f"{names['model']} · {names['interface']} · {names['load']}"
    whole = {s for s, blocks in subjects.items() if logs[s].keys() == blocks.keys()}
    found: list[Comparison] = []
    for a, b, ratios in pairs:
        if not {a, b} <= whole:
            continue
        low, high = _interval(ratios, len(pairs))
        used = [
            row
            for subject in (a, b)
            for block, trials in subjects[subject].items()
            if block in logs[a] and block in logs[b]
            for row in trials
        ]
        found.append(
            Comparison(
                run_id=run_id,
                group_id=group_id,
                workload=title,
                metric=metric,
                stack_a=a.stack,
                stack_b=b.stack,
                server_version_a=a.server_version,
                server_version_b=b.server_version,
                ratio=_ratio(fmean(ratios)),
                ratio_low=None if low is None else _ratio(low),
                ratio_high=None if high is None else _ratio(high),
                distinguishable=None if low is None or high is None else low > 0 or high < 0,
                blocks=len(ratios),
                pairs=len(pairs),
                degraded=any(row["verdict"] == "DEGRADED" for row in used),
                **names,
            )
        )
    return found


def _logs(blocks: Mapping[Any, list[Mapping[str, Any]]], metric: str) -> dict[Any, float]:
    """{block: log of the metric}, several trials of one block averaged."""
    found: dict[Any, float] = {}
    for block, trials in blocks.items():
        values = [row.get(metric) for row in trials]
        logs = [math.log(value) for value in values if value is not None and value > 0]
        if logs:
            found[block] = fmean(logs)
    return found


def _interval(ratios: list[float], pairs: int) -> tuple[float | None, float | None]:
    """Two-sided t-interval of the mean at 1 - 0.05 / pairs; (None, None) below MIN_BLOCKS."""
    n = len(ratios)
    if n < MIN_BLOCKS:
        return None, None
    level = 1 - (1 - CONFIDENCE) / (2 * pairs)
    quantile = float(student.ppf(level, n - 1))  # pyright: ignore[reportUnknownMemberType]
    half = quantile * stdev(ratios) / math.sqrt(n)
    return fmean(ratios) - half, fmean(ratios) + half


def _ratio(log: float) -> float:
    return math.exp(min(max(log, -FURTHEST), FURTHEST))
