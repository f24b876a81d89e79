"""Locust and the asyncio client of shared/crosscheck as processes that leave raw records."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.cpus import CpuSplit
from bench.errors import StackFailed
from bench.paths import ROOT
from bench.processes import MARK
from bench.server import run_mark, spawn
from metrics import store_records

PROJECT = ROOT / "shared" / "crosscheck"
WARMUP_S = 3.0
WINDOW_S = 10.0
USERS = 4


@dataclass(frozen=True)
class Cell:
    """One load by one tool: USERS callers, or `rate_per_s`, which makes it open."""

    generator: str
    load: str
    rate_per_s: float | None = None
    stalled: bool = False


def client_command(cell: Cell, env: Path, base: str, requests: Path, folder: Path) -> list[str]:
    """The command of a tool that is not k6."""
    if cell.generator == "locust":
        return [
            *(str(env / "bin" / "locust"), "-f", str(PROJECT / "replay.py"), "--headless"),
            *("--host", base, "--users", str(USERS), "--spawn-rate", str(USERS)),
            *("--only-summary", "--exit-code-on-error=0"),
        ]
    load = ("--rate", str(cell.rate_per_s)) if cell.rate_per_s else ("--users", str(USERS))
    return [
        *(str(env / "bin" / "python"), str(PROJECT / "asyncio_client.py"), base, *load),
        *("--requests", str(requests), "--out", str(folder)),
        *("--warmup", str(WARMUP_S), "--window", str(WINDOW_S)),
    ]


def run_client(
    cell: Cell, env: Path, base: str, requests: Path, cpus: CpuSplit, folder: Path
) -> None:
    """Run Locust or the asyncio client; its records lie in the folder. Raises StackFailed."""
    process = spawn(
        client_command(cell, env, base, requests, folder),
        cwd=PROJECT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            MARK: run_mark("crosscheck"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "REQUESTS": str(requests),
            "RECORDS": str(folder),
            "WARMUP": str(WARMUP_S),
            "WINDOW": str(WINDOW_S),
        },
        cpus=cpus.client,
        stdout=folder / "client.stdout",
        stderr=folder / "client.stderr",
    )
    try:
        code = process.wait(WARMUP_S + WINDOW_S + 60)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise StackFailed(f"{cell.generator} did not end in time") from None
        raise
    if code != 0:
        words = (folder / "client.stderr").read_text(errors="replace").strip()[-300:]
        raise StackFailed(f"{cell.generator} exited with code {code}: {words}")


def client_window(folder: Path) -> tuple[int, int]:
    """The window that a client says it kept to; its records become Parquet."""
    said = json.loads((folder / "client.json").read_text())
    store_records(folder / "records.csv", folder / "requests.parquet")
    return said["window_start_ns"], said["window_end_ns"]
