"""What machine this is, its state, and what else ran on it. Nothing is written by hand."""

import os
import platform
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import gpu
from bench.paths import ROOT
from bench.processes import TICK_NS


@dataclass(frozen=True)
class HostTimes:
    """Seconds since boot: all CPUs busy, stolen from the asked ones by a hypervisor; when read."""

    busy_s: float
    steal_s: float
    at: float


def host_times(cpus: Collection[int], stat: Path = Path("/proc/stat")) -> HostTimes:
    """The kernel's CPU accounting now, `steal_s` of these CPUs only; zeros without /proc/stat."""
    try:
        lines = [line.split() for line in stat.read_text().splitlines() if line.startswith("cpu")]
    except OSError:
        return HostTimes(0.0, 0.0, time.monotonic())
    ticks = {name: [int(word) for word in words[:8]] for name, *words in lines}
    user, nice, system, _idle, _wait, irq, softirq, _steal = ticks["cpu"]
    steal = sum(ticks[f"cpu{cpu}"][7] for cpu in cpus if f"cpu{cpu}" in ticks)
    tick = TICK_NS / 1e9
    busy = user + nice + system + irq + softirq
    return HostTimes(busy * tick, steal * tick, time.monotonic())


def read_first(*files: str) -> str | None:
    """The first of these files that can be read, stripped."""
    for file in files:
        try:
            return Path(file).read_text().strip()
        except OSError:
            continue
    return None


def cpu_model() -> str:
    """The CPU's name as the kernel gives it."""
    for line in (read_first("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_mhz() -> float | None:
    """The clock of the first CPU now, in MHz."""
    for line in (read_first("/proc/cpuinfo") or "").splitlines():
        if line.startswith("cpu MHz"):
            return float(line.partition(":")[2])
    return None


def boost() -> bool | None:
    """Whether the CPUs may clock above their base; None where the kernel doesn't tell."""
    if no_turbo := read_first("/sys/devices/system/cpu/intel_pstate/no_turbo"):
        return no_turbo == "0"
    allowed = read_first("/sys/devices/system/cpu/cpufreq/boost")
    return None if allowed is None else allowed == "1"


def chosen(options: str) -> str | None:
    """The bracketed one of a kernel setting's options: `always [madvise] never`."""
    return next((word.strip("[]") for word in options.split() if word.startswith("[")), None)


def memory_mb() -> int | None:
    """The machine's memory in MB."""
    for line in (read_first("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) * 1024 / 1e6)
    return None


def describe_machine() -> dict[str, Any]:
    """The machine for run.json: CPU and its clocks in MHz, kernel, governor, memory, GPUs."""
    os_release = dict(
        line.split("=", 1)
        for line in (read_first("/etc/os-release") or "").splitlines()
        if "=" in line
    )
    cpufreq = "/sys/devices/system/cpu/cpu0/cpufreq"
    clocks = {
        end: int(khz) / 1000 if (khz := read_first(f"{cpufreq}/cpuinfo_{end}_freq")) else None
        for end in ("min", "max")
    }
    return {
        "cpu_model": cpu_model(),
        "cpu_min_mhz": clocks["min"],
        "cpu_max_mhz": clocks["max"],
        "cpu_mhz": cpu_mhz(),
        "boost": boost(),
        "hypervisor": " hypervisor" in (read_first("/proc/cpuinfo") or ""),
        "numa_nodes": len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or None,
        "transparent_hugepages": chosen(
            read_first("/sys/kernel/mm/transparent_hugepage/enabled") or ""
        ),
        "cpus": os.cpu_count() or 1,
        "smt": read_first("/sys/devices/system/cpu/smt/active") == "1",
        "kernel": platform.release(),
        "os": os_release.get("PRETTY_NAME", platform.system()).strip('"'),
        "arch": platform.machine(),
        "governor": read_first("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clocksource": read_first(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        "memory_mb": memory_mb(),
        "gpus": gpu.describe(gpu.handles()),
    }


def git(*words: str) -> str | None:
    """A git command's output in this checkout, or None."""
    try:
        said = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether anything but results differs from it)."""
    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--", ".", ":(exclude)results")
    return commit, None if status is None else bool(status)
