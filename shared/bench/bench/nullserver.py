"""One load of the null server: a server that answers when it is told to and records when it did.

What calibration, overhead and cross-check share. The server runs on the servers' CPUs and the
generator on its own, as in every trial.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cpus import CpuSplit
from bench.errors import StackFailed
from bench.generator import generator_environment, read_summary
from bench.machine import HostTimes, host_times
from bench.paths import BUILD, K6_SOURCE
from bench.processes import MARK, TreeMeter
from bench.server import run_mark, spawn
from metrics import Load, store_records

START_ALLOWANCE_S = 60


@dataclass(frozen=True)
class Pace:
    """How the server answers: after `delay_ms`, streams in `chunks` pieces `gap_ms` apart."""

    delay_ms: float = 0
    gap_ms: float = 0
    chunks: int = 1


@dataclass(frozen=True)
class Taken:
    """What one load left in its folder, and what it cost.

    `sent` counts warm-up and window; CPU seconds are the generator's in the window alone.
    """

    load: Load
    sent: int
    dropped: int
    cpu_s: float
    steal_share: float


@contextlib.contextmanager
def scratch() -> Generator[Path]:
    """A folder for one load's files, removed afterwards."""
    (BUILD / "state").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="null-", dir=BUILD / "state"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def null_server(pace: Pace, cpus: Sequence[int], folder: Path) -> Generator[dict[str, str]]:
    """A null server on these CPUs; yields its addresses. Raises StackFailed.

    Its record is written to folder/log.json when it ends.
    """
    process = spawn(
        [
            *(str(BUILD / "tools" / "bin" / "nullserver"), "-delay", f"{pace.delay_ms}ms"),
            *("-gap", f"{pace.gap_ms}ms", "-chunks", str(pace.chunks)),
            *("-log", str(folder / "log.json")),
        ],
        cwd=folder,
        env={**generator_environment(cpus), MARK: run_mark("null-server")},
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


def open_load(rate_per_s: float, users: int, seconds: float) -> dict[str, Any]:
    """A plan's `load`: constant arrivals."""
    stages = [{"rate_per_s": rate_per_s, "seconds": seconds}]
    return {"kind": "open", "arrivals": "constant", "max_users": users, "stages": stages}


def make_plan(
    interface: str,
    load: dict[str, Any],
    targets: dict[str, str],
    folder: Path,
    *,
    warmup_s: float,
    window_s: float,
    payload: bytes = b"x" * 100,
    new_connections: bool = False,
) -> dict[str, Any]:
    """A plan for the null server's own k6.js."""
    (folder / "payload").write_bytes(payload)
    return {
        "mode": "load",
        "interface": interface,
        "targets": targets,
        "model": "null",
        "request": {},
        "client_batch": 1,
        "seed": 1,
        "payloads": [{"name": "payload", "path": str(folder / "payload")}],
        "expected": [None],
        "load": load,
        "warmup_s": warmup_s,
        "window_s": window_s,
        "timeout_s": 10,
        "new_connections": new_connections,
        "records": str(folder / "records.csv"),
        "answers": str(folder / "answers.ndjson"),
        "summary": str(folder / "k6.json"),
    }


def send(k6: Path, plan: dict[str, Any], cpus: CpuSplit, folder: Path) -> Taken:
    """Carry out a plan with k6 against a null server that runs. Raises StackFailed if k6 fails.

    The figures of the window need the server's log, which is there when the server has ended.
    """
    (folder / "plan.json").write_text(json.dumps(plan))
    process = spawn(
        [
            *(str(k6), "run", "--quiet", "--no-usage-report", "--summary-mode=disabled"),
            *("--address", "", "-e", f"PLAN={folder / 'plan.json'}", "k6.js"),
        ],
        cwd=K6_SOURCE / "tests",
        env={**generator_environment(cpus.client), MARK: run_mark("null-server")},
        cpus=cpus.client,
        stdout=folder / "k6.stdout",
        stderr=folder / "k6.stderr",
    )
    try:
        edges = watch(process, plan, folder / "k6.json", cpus)
        code = process.wait(START_ALLOWANCE_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    summary = read_summary(folder / "k6.json")
    if code != 0 or summary is None or len(edges) < 2:
        words = (folder / "k6.stderr").read_text(errors="replace").strip()[-300:]
        raise StackFailed(f"null server, {plan['interface']}: k6 exited with code {code}: {words}")
    store_records(folder / "records.csv", folder / "requests.parquet")
    (cpu, host), (cpu_after, host_after) = edges
    elapsed = max(1e-9, host_after.at - host.at) * len(cpus.both)
    return Taken(
        Load(
            folder / "requests.parquet",
            folder / "log.json",
            (summary["window_start_ns"], summary["window_end_ns"]),
        ),
        summary["requests"],
        summary["slots_dropped"],
        cpu_after - cpu,
        (host_after.steal_s - host.steal_s) / elapsed,
    )


def watch(
    process: subprocess.Popen[bytes], plan: dict[str, Any], summary: Path, cpus: CpuSplit
) -> list[tuple[float, HostTimes]]:
    """The generator's CPU seconds and the machine's at both edges of the window."""
    edges: list[tuple[float, HostTimes]] = []
    meter = TreeMeter(process.pid)
    deadline = time.monotonic() + plan["warmup_s"] + plan["window_s"] + START_ALLOWANCE_S
    while process.poll() is None and time.monotonic() < deadline and len(edges) < 2:
        if said := read_summary(summary):
            due = said["window_end_ns" if edges else "window_start_ns"]
            time.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            edges.append((meter.read().cpu_ns / 1e9, host_times(cpus.both)))
        else:
            time.sleep(0.02)
    return edges


@contextlib.contextmanager
def taken(
    k6: Path,
    cpus: CpuSplit,
    pace: Pace,
    interface: str,
    load: dict[str, Any],
    *,
    warmup_s: float,
    window_s: float,
    payload: bytes = b"x" * 100,
    new_connections: bool = False,
) -> Generator[Taken]:
    """Start a null server, load it with k6, stop it; the files last as long as the context.

    Raises StackFailed if either fails.
    """
    with scratch() as folder:
        with null_server(pace, cpus.server, folder) as targets:
            plan = make_plan(
                interface,
                load,
                targets,
                folder,
                warmup_s=warmup_s,
                window_s=window_s,
                payload=payload,
                new_connections=new_connections,
            )
            found = send(k6, plan, cpus, folder)
        yield found
