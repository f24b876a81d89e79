"""How wrong the generator's figures can be on this machine: measured on a null server.

The null server answers with known delays and writes down when it really sent. Its record is the
truth; what the generator stamped is compared with it. The same in short precedes each run.
"""

import contextlib
import json
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import metrics
from bench.cpus import CpuSplit
from bench.errors import StackFailed
from bench.generator import generator_environment, read_summary
from bench.machine import host_times
from bench.paths import BUILD, K6_SOURCE
from bench.processes import MARK
from bench.progress import Reporter
from bench.server import run_mark, spawn

# Rates that are not in phase with the server's chunk clock: otherwise all chunks fall due at once.
WARMUP_S = 2.0


@dataclass(frozen=True)
class Case:
    """One protocol at one rate. A stream has 32 chunks: 303/s are 9,700 events a second."""

    protocol: str
    rate_per_s: float
    delay_ms: float = 2
    gap_ms: float = 10
    users: int = 256


FULL = (
    Case("http", 1000),
    Case("grpc", 1000),
    Case("sse", 303, users=512),
    Case("grpc-stream", 151),
    Case("ws", 151),
)
SHORT = (Case("http", 303, users=64), Case("grpc", 303, users=64), Case("sse", 47, users=64))
# Offered rates of unary requests that are tried for the generator's ceiling, one after the other.
LADDER = (1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True)
class Measured:
    """One case's outcome; CPU seconds are the generator's, over warm-up and window."""

    case: Case
    requests: int
    dropped: int
    cpu_s_per_1000: float
    steal_share: float
    errors: list[dict[str, Any]]

    def row(self) -> dict[str, Any]:
        """The outcome as run.json keeps it."""
        figures: dict[str, Any] = {}
        for error in self.errors:
            for key in ("p50_ms", "p99_ms", "max_ms"):
                figures[f"{error['figure']}_error_{key}"] = error[key]
        return {
            "protocol": self.case.protocol,
            "rate_per_s": self.case.rate_per_s,
            "requests": self.requests,
            "dropped": self.dropped,
            "generator_cpu_s_per_1000": self.cpu_s_per_1000,
            "steal_share": self.steal_share,
            **figures,
        }


@contextlib.contextmanager
def null_server(case: Case, cpus: Sequence[int], folder: Path) -> Generator[dict[str, str]]:
    """A null server with its own CPUs; yields its addresses, its record is in folder/log.json."""
    process = spawn(
        [
            *(str(BUILD / "tools" / "bin" / "nullserver"), "-delay", f"{case.delay_ms}ms"),
            *("-gap", f"{case.gap_ms}ms", "-chunks", "32", "-log", str(folder / "log.json")),
        ],
        cwd=folder,
        env={**generator_environment(cpus), MARK: run_mark("calibration")},
        cpus=cpus,
        stdout=folder / "null.stdout",
        stderr=folder / "null.stderr",
    )
    try:
        deadline = time.monotonic() + 10
        while not (line := (folder / "null.stdout").read_text().strip()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackFailed(f"null server: {(folder / 'null.stderr').read_text().strip()}")
            time.sleep(0.02)
        yield json.loads(line)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_plan(case: Case, targets: dict[str, str], window_s: float, folder: Path) -> dict[str, Any]:
    """A plan for the null server's own k6.js."""
    payload = folder / "payload"
    payload.write_bytes(b"x" * 100)
    seconds = WARMUP_S + window_s
    return {
        "mode": "load",
        "interface": case.protocol,
        "targets": targets,
        "model": "null",
        "request": {},
        "client_batch": 1,
        "seed": 1,
        "payloads": [{"name": "payload", "path": str(payload)}],
        "expected": [None],
        "load": {
            "kind": "open",
            "arrivals": "constant",
            "max_users": case.users,
            "stages": [{"rate_per_s": case.rate_per_s, "seconds": seconds}],
        },
        "warmup_s": WARMUP_S,
        "window_s": window_s,
        "timeout_s": 10,
        "records": str(folder / "records.csv"),
        "answers": str(folder / "answers.ndjson"),
        "summary": str(folder / "k6.json"),
    }


def measure_case(case: Case, k6: Path, cpus: CpuSplit, window_s: float) -> Measured:
    """Run one case. Raises StackFailed if k6 or the null server fails."""
    (BUILD / "state").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="calibration-", dir=BUILD / "state"))
    try:
        before = host_times()
        with null_server(case, cpus.server, folder) as targets:
            plan = make_plan(case, targets, window_s, folder)
            (folder / "plan.json").write_text(json.dumps(plan))
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            process = spawn(
                [
                    *(str(k6), "run", "--quiet", "--no-usage-report"),
                    *("--summary-mode=disabled", "--address", ""),
                    *("-e", f"PLAN={folder / 'plan.json'}", "k6.js"),
                ],
                cwd=K6_SOURCE / "tests",
                env={**generator_environment(cpus.client), MARK: run_mark("calibration")},
                cpus=cpus.client,
                stdout=folder / "k6.stdout",
                stderr=folder / "k6.stderr",
            )
            try:
                code = process.wait(WARMUP_S + window_s + 60)
            except BaseException:
                process.kill()
                process.wait()
                raise
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = read_summary(folder / "k6.json")
        if code != 0 or summary is None:
            words = (folder / "k6.stderr").read_text(errors="replace").strip()[-300:]
            raise StackFailed(f"calibration, {case.protocol}: k6 exited with code {code}: {words}")
        after = host_times()
        log = json.loads((folder / "log.json").read_text())["requests"]
        metrics.store_records(folder / "records.csv", folder / "requests.parquet")
        errors = metrics.calibration_errors(
            folder / "requests.parquet",
            [(entry["request"], entry["sent_ns"]) for entry in log],
            (summary["window_start_ns"], summary["window_end_ns"]),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    elapsed = max(1e-9, after.at - before.at) * len(set(cpus.server) | set(cpus.client))
    return Measured(
        case,
        summary["requests"],
        summary["slots_dropped"],
        1000 * cpu_s / max(1, summary["requests"]),
        (after.steal_s - before.steal_s) / elapsed,
        errors,
    )


def late_p99_ms(measured: Measured) -> float:
    """The case's 99th percentile of lateness."""
    return next(e["p99_ms"] for e in measured.errors if e["figure"] == "late")


def highest_rate(k6: Path, cpus: CpuSplit, report: Reporter) -> float:
    """The highest unary rate of the ladder sent on time: nothing dropped, lateness p99 ≤ 5 ms."""
    reached = 0.0
    for rate in LADDER:
        report.step(f"calibration: does it send {rate} requests/s on time?")
        measured = measure_case(Case("http", rate, users=512), k6, cpus, 2)
        if measured.dropped or late_p99_ms(measured) > 5:
            break
        reached = float(rate)
    return reached


def calibrate(k6: Path, cpus: CpuSplit, report: Reporter, *, short: bool) -> dict[str, Any]:
    """Measure all cases. Returns run.json's `calibration`. Raises StackFailed.

    `calibration_error_p99_ms` is the worst p99 over the cases' latency, TTFT and ITL errors.
    """
    rows: list[dict[str, Any]] = []
    worst = 0.0
    for case in SHORT if short else FULL:
        report.step(f"calibration: {case.protocol} at {case.rate_per_s:g}/s")
        measured = measure_case(case, k6, cpus, 1.5 if short else 8)
        rows.append(measured.row())
        worst = max(worst, *(e["p99_ms"] for e in measured.errors if e["figure"] != "late"))
    return {
        "calibration_error_p99_ms": worst,
        "short": short,
        "cases": rows,
        "highest_rate_per_s": None if short else highest_rate(k6, cpus, report),
    }
