"""How wrong the generator's figures can be on this machine: measured on a null server.

The null server answers with known delays and writes down when it really sent. Its record is the
truth; what the generator stamped is compared with it. The short form here precedes each run; the
long one, held against the goals, is in goals.py.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cpus import CpuSplit
from bench.errors import StackFailed
from bench.nullserver import Pace, Taken, open_load, taken
from bench.progress import Reporter
from metrics import MetricsError, calibration_errors

PACE = Pace(delay_ms=2, gap_ms=10, chunks=32)
FIGURES = ("latency", "ttft", "itl")


@dataclass(frozen=True)
class Case:
    """One protocol at one rate; a stream has 32 chunks, so 313/s are 10,000 chunks a second.

    Rates are not in phase with the server's chunk clock: all chunks would fall due at once.
    """

    protocol: str
    rate_per_s: float
    users: int
    streams: bool = False


@dataclass(frozen=True)
class Span:
    """Seconds of a case: what is left out at first, and what counts."""

    warmup_s: float
    window_s: float


# Each case of the short form has the 368 requests that a p99 needs: with fewer, one request that
# the machine held up is the p99.
SHORT_SPAN = Span(0.5, 1.2)
SHORT = (
    Case("http", 503, users=64),
    Case("grpc", 503, users=64),
    Case("sse", 313, users=256, streams=True),
    Case("grpc-stream", 313, users=256, streams=True),
    Case("ws", 313, users=256, streams=True),
)
# Offered rates of unary requests that are tried for the generator's ceiling, one after the other.
LADDER = (1000, 2000, 4000, 6000, 8000, 12000, 16000)
SHORT_LADDER = (1000, 4000)
TRIES = 4
STEAL_LIMIT = 0.01  # share of the CPUs that a hypervisor took, above which a run tells nothing


def measure_case(case: Case, k6: Path, cpus: CpuSplit, span: Span) -> dict[str, Any]:
    """Run one case. Returns its row in run.json's `calibration`; times in ms.

    Errors are stamps here minus stamps there; `late` is actual minus intended start. Raises
    StackFailed if k6 or the null server fails, or if no try had a single answer in its window.
    """
    load = open_load(case.rate_per_s, case.users, span.warmup_s + span.window_s)
    for _ in range(TRIES):
        # A machine that stands still for a second sends nothing in it.
        with (
            contextlib.suppress(MetricsError),
            taken(
                k6, cpus, PACE, case.protocol, load, warmup_s=span.warmup_s, window_s=span.window_s
            ) as found,
        ):
            return row_of(case, span, found, calibration_errors(found.load))
    raise StackFailed(
        f"calibration: {case.protocol} at {case.rate_per_s:g}/s: not one request was answered in"
        f" {TRIES} tries: something else takes the CPUs of this machine; end it, or try again later"
    )


def row_of(case: Case, span: Span, found: Taken, errors: list[dict[str, Any]]) -> dict[str, Any]:
    """A case's row from what was taken and its errors, one entry a figure."""
    row: dict[str, Any] = {
        "protocol": case.protocol,
        "rate_per_s": case.rate_per_s,
        "requests": max(error["samples"] for error in errors if error["figure"] == "late"),
        "dropped": found.dropped,
        "generator_cpu_s_per_1000": 1000 * found.cpu_s / (case.rate_per_s * span.window_s),
        "steal_share": found.steal_share,
    }
    for error in errors:
        for key in ("p50_ms", "p99_ms", "max_ms"):
            row[f"{error['figure']}_error_{key}"] = error[key]
    return row


def worst_p99_ms(row: dict[str, Any]) -> float:
    """The largest p99 among a case's errors of latency, TTFT and ITL."""
    keys = (f"{figure}_error_p99_ms" for figure in FIGURES)
    return max(row[key] for key in keys if key in row)


def highest_rate(
    k6: Path, cpus: CpuSplit, report: Reporter, ladder: tuple[int, ...], span: Span
) -> float:
    """The highest unary rate of the ladder sent on time: nothing dropped, lateness p99 ≤ 5 ms."""
    reached = 0.0
    for rate in ladder:
        report.step(f"calibration: does it send {rate} requests/s on time?")
        if not sent_on_time(rate, k6, cpus, span):
            break
        reached = float(rate)
    return reached


def sent_on_time(rate: float, k6: Path, cpus: CpuSplit, span: Span) -> bool:
    """Whether unary requests leave on time at this rate.

    A failed try in which a hypervisor took CPU says nothing about the generator: it is repeated.
    """
    for _ in range(TRIES):
        row = measure_case(Case("http", rate, users=512), k6, cpus, span)
        if not row["dropped"] and row["late_error_p99_ms"] <= 5:
            return True
        if row["steal_share"] <= STEAL_LIMIT:
            break
    return False


def calibrate(k6: Path, cpus: CpuSplit, report: Reporter) -> dict[str, Any]:
    """Measure all cases in short. Returns run.json's `calibration`. Raises StackFailed.

    `calibration_error_p99_ms` is the worst p99 over the cases' latency, TTFT and ITL errors.
    """
    rows: list[dict[str, Any]] = []
    for case in SHORT:
        report.step(f"calibration: {case.protocol} at {case.rate_per_s:g}/s")
        rows.append(measure_case(case, k6, cpus, SHORT_SPAN))
    return {
        "calibration_error_p99_ms": max(map(worst_p99_ms, rows)),
        "cases": rows,
        "highest_rate_per_s": highest_rate(k6, cpus, report, SHORT_LADDER, SHORT_SPAN),
    }
