"""Run a stack's k6.js under k6: once per trial, and in check mode for the parity gate."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.artefact import Artefact, Payload
from bench.errors import StackFailed
from bench.group import Group, Load
from bench.parity import load_keys
from bench.processes import MARK
from bench.server import HOST, Running, spawn
from bench.stack import Stack

# A window is over when its last request is answered or timed out; k6 itself starts within seconds.
START_ALLOWANCE_S = 90  # k6's start, and the check of the answers after the load
# Bytes: what k6 may fill before it collects, and the least that leaves room above what it holds.
HEAP_LIMIT = 4 << 30
HEAP_NEEDED = 1 << 30


@dataclass(frozen=True)
class Generated:
    """What a k6 run left behind; times in CLOCK_MONOTONIC nanoseconds."""

    window_start_ns: int
    window_end_ns: int
    slots_planned: int
    slots_dropped: int
    requests: int


def load_plan(load: Load, rate_per_s: float | None, seconds: float) -> dict[str, Any]:
    """The plan's `load` table: `seconds` at one rate, and a burst and what follows it after."""
    if load.kind == "closed":
        return {"kind": "closed", "users": load.users}
    stages = [{"rate_per_s": rate_per_s, "seconds": seconds}]
    if load.kind == "burst" and load.share and rate_per_s:
        stages += [
            {"rate_per_s": rate_per_s * load.burst_share / load.share, "seconds": load.burst_s},
            {"rate_per_s": rate_per_s, "seconds": load.after_s},
        ]
    return {
        "kind": "open",
        "arrivals": load.arrivals,
        "max_users": load.max_users,
        "stages": stages,
    }


def make_plan(
    *,
    mode: str,
    group: Group,
    artefact: Artefact,
    payloads: Sequence[Payload],
    running: Running,
    interface: str,
    load: dict[str, Any],
    client_batch: int,
    seed: int,
    warmup_s: float,
    window_s: float,
    timeout_s: float,
    folder: Path,
) -> dict[str, Any]:
    """The plan handed to k6, as shared/README.md describes it."""
    return {
        "mode": mode,
        "interface": interface,
        "targets": {name: f"{HOST}:{port}" for name, port in running.ports.items()},
        "model": artefact.model,
        "request": group.request,
        "client_batch": client_batch,
        "seed": seed,
        "payloads": [payload.planned() for payload in payloads],
        "expected": load_keys(
            artefact.expected,
            [payload.name for payload in payloads],
            group.parity,
            running.stack.precision,
        ),
        "load": load,
        "warmup_s": warmup_s,
        "window_s": window_s,
        "timeout_s": timeout_s,
        "records": str(folder / "records.csv"),
        "answers": str(folder / "answers.ndjson"),
        "summary": str(folder / "k6.json"),
    }


def generator_environment(cpus: Sequence[int]) -> dict[str, str]:
    """k6's settings: never one P (its collections would stall answers), collections rare."""
    return {
        **os.environ,
        "GOMAXPROCS": str(max(2, len(cpus))),
        **collections(psutil.virtual_memory().available),
        "K6_NO_USAGE_REPORT": "true",
    }


def collections(available: int) -> dict[str, str]:
    """When Go collects garbage, by the bytes of memory that are free: a quarter of them may fill up
    first. On one core a collection beside hundreds of streams holds chunks up by 10 to 40 ms.
    """
    heap = min(available // 4, HEAP_LIMIT)
    if heap < HEAP_NEEDED:
        return {"GOGC": "400"}
    return {"GOGC": "off", "GOMEMLIMIT": str(heap)}


def read_summary(file: Path) -> dict[str, Any] | None:
    """The summary as far as it is written, or None."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def run_k6(
    k6: Path,
    stack: Stack,
    plan: Mapping[str, Any],
    cpus: Sequence[int],
    folder: Path,
    mark: str,
    *,
    on_start: Callable[[int], None] = lambda pid: None,
    on_window: Callable[[str], None] = lambda edge: None,
    keep_going: Callable[[], bool] = lambda: True,
) -> Generated:
    """One k6 run. `on_window` is called at the window's "start" and "end".

    Raises StackFailed if k6 fails, hangs, or `keep_going` says that the server is gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    summary = Path(plan["summary"])
    summary.unlink(missing_ok=True)
    process = spawn(
        [
            *(str(k6), "run", "--quiet", "--no-usage-report", "--summary-mode=disabled"),
            *("--address", "", "-e", f"PLAN={file}", "k6.js"),
        ],
        cwd=stack.folder,
        env={**generator_environment(cpus), MARK: mark},
        cpus=cpus,
        stdout=folder / "k6.stdout",
        stderr=folder / "k6.stderr",
    )
    try:
        on_start(process.pid)
        wait_k6(process, plan, summary, on_window, keep_going)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    said = read_summary(summary)
    if process.returncode != 0 or said is None:
        raise StackFailed(f"k6 exited with code {process.returncode}: {k6_words(folder)}")
    return Generated(
        said["window_start_ns"],
        said["window_end_ns"],
        said["slots_planned"],
        said["slots_dropped"],
        said["requests"],
    )


def wait_k6(
    process: subprocess.Popen[bytes],
    plan: Mapping[str, Any],
    summary: Path,
    on_window: Callable[[str], None],
    keep_going: Callable[[], bool],
) -> None:
    """Wait for k6 to end, calling `on_window` at both edges. Raises StackFailed if it hangs."""
    count = len(plan["payloads"]) if plan["mode"] == "check" else 1
    allowed = plan["warmup_s"] + plan["window_s"] + count * plan["timeout_s"] + START_ALLOWANCE_S
    deadline = time.monotonic() + allowed
    edges = ["start", "end"] if plan["mode"] == "load" else []
    while process.poll() is None:
        if edges and (said := read_summary(summary)):
            due = said[f"window_{edges[0]}_ns"]
            if time.monotonic_ns() >= due:
                on_window(edges.pop(0))
                continue
        if not keep_going():
            raise StackFailed("the server ended while it was being measured")
        if time.monotonic() > deadline:
            raise StackFailed(f"k6 did not end within {allowed:.0f} s")
        time.sleep(0.02)
    if edges == ["end"]:
        on_window("end")


def k6_words(folder: Path) -> str:
    """The end of what k6 complained about."""
    try:
        lines = (folder / "k6.stderr").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " | ".join(line.strip()[:300] for line in lines[-3:]) or "(it said nothing)"


def read_answers(file: Path) -> list[dict[str, Any]]:
    """Check mode's answers, one a payload, in order. A torn last line is left out."""
    answers: list[dict[str, Any]] = []
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return answers
    for line in lines:
        try:
            answers.append(json.loads(line))
        except ValueError:
            continue
    return answers
