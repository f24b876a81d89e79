"""`make calibrate`: the long calibration, each of its figures beside its goal.

Rounds rather than repeats back to back: drift of the machine falls on all cases alike. A run in
which a hypervisor took more than 1% of the CPUs says nothing about the generator: it is left out,
counted, and repeated a bounded number of times.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.calibration import (
    LADDER,
    STEAL_LIMIT,
    Case,
    Span,
    highest_rate,
    measure_case,
    worst_p99_ms,
)
from bench.cpus import CpuSplit
from bench.measurement import header, save
from bench.progress import Reporter

RUNS = 5
MOST_RUNS = 8
# The first iterations open connections and warm caches.
SPAN = Span(warmup_s=2, window_s=6)
CASES = (
    Case("http", 1000, users=256),
    Case("grpc", 1000, users=256),
    Case("sse", 313, users=512, streams=True),
    Case("grpc-stream", 313, users=512, streams=True),
    Case("ws", 313, users=512, streams=True),
)
ERROR_MEDIAN_MS = 1.0
ERROR_WORST_MS = 2.0
LATE_MS = 0.5
CPU_S_UNARY = 0.3
CPU_S_STREAM = 1.3
RATE_PER_S = 4000.0
# Of the planned requests; what is lost at the window's edges is less.
WHOLE = 0.99


@dataclass(frozen=True)
class Goal:
    """One figure beside its goal; `protocol` is null where it is not one protocol's."""

    protocol: str | None
    figure: str
    unit: str
    reached: float | None
    goal: float
    at_most: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None where nothing could be measured."""
        if self.reached is None:
            return None
        return self.reached <= self.goal if self.at_most else self.reached >= self.goal

    def row(self) -> dict[str, Any]:
        """The goal as the file keeps it."""
        return {**vars(self), "met": self.met}


def kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs without much steal."""
    return [row for row in rows if row["steal_share"] <= STEAL_LIMIT]


def goals_of(case: Case, rows: list[dict[str, Any]]) -> list[Goal]:
    """A case's figures over its kept runs, beside their goals.

    Where a run was not offered or answered whole there are none: what was lost is what was late.
    """
    planned = case.rate_per_s * SPAN.window_s
    whole = all(row["requests"] >= WHOLE * planned and not row["dropped"] for row in kept(rows))
    usable = kept(rows) if whole else []

    def median(key: str) -> float | None:
        return statistics.median(row[key] for row in usable) if usable else None

    found: list[Goal] = []
    # A stream's last byte is its last chunk's: its error is in ITL already.
    for figure in ("ttft", "itl") if case.streams else ("latency",):
        key = f"{figure}_error_p99_ms"
        worst = max((row[key] for row in usable), default=None)
        name = f"{figure} error p99"
        found += [
            Goal(case.protocol, f"{name}, median of the runs", "ms", median(key), ERROR_MEDIAN_MS),
            Goal(case.protocol, f"{name}, worst run", "ms", worst, ERROR_WORST_MS),
        ]
    return [
        *found,
        Goal(case.protocol, "late start p99, median", "ms", median("late_error_p99_ms"), LATE_MS),
        Goal(
            case.protocol,
            "generator CPU per 1,000 " + ("streams" if case.streams else "requests"),
            "s",
            median("generator_cpu_s_per_1000"),
            CPU_S_STREAM if case.streams else CPU_S_UNARY,
        ),
    ]


def measure(k6: Path, cpus: CpuSplit, report: Reporter) -> dict[str, Any]:
    """All cases, at least RUNS runs each. Returns the file's object. Raises StackFailed."""
    facts = header(k6, cpus, "calibration_id")
    rows: dict[Case, list[dict[str, Any]]] = {case: [] for case in CASES}
    report.plan(len(CASES) * RUNS * (SPAN.warmup_s + SPAN.window_s + 1))
    for number in range(1, MOST_RUNS + 1):
        for case in CASES:
            if len(kept(rows[case])) >= RUNS:
                continue
            report.step(f"calibration {number}: {case.protocol} at {case.rate_per_s:g}/s")
            rows[case].append(measure_case(case, k6, cpus, SPAN))
            report.spent(SPAN.warmup_s + SPAN.window_s + 1)
    highest = highest_rate(k6, cpus, report, LADDER, Span(1, 2))
    goals = [goal for case in CASES for goal in goals_of(case, rows[case])]
    goals.append(
        Goal("http", "highest rate without drops", "1/s", highest, RATE_PER_S, at_most=False)
    )
    return {
        **facts,
        # The worst protocol's, in its median run.
        "calibration_error_p99_ms": max(
            (
                statistics.median(map(worst_p99_ms, usable))
                for runs in rows.values()
                if (usable := kept(runs))
            ),
            default=None,
        ),
        "highest_rate_per_s": highest,
        "runs_left_out": sum(len(runs) - len(kept(runs)) for runs in rows.values()),
        "goals_met": sum(goal.met is True for goal in goals),
        "goals_missed": sum(goal.met is not True for goal in goals),
        "goals": [goal.row() for goal in goals],
        "runs": [row for runs in rows.values() for row in runs],
    }


def calibrate_fully(k6: Path, cpus: CpuSplit, report: Reporter) -> tuple[dict[str, Any], Path]:
    """Measure and save. Returns what was saved, and where. Raises StackFailed."""
    found = measure(k6, cpus, report)
    return found, save("calibration", found["calibration_id"], found)
