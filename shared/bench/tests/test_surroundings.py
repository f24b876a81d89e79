"""What happens beside a trial, judged from recorded counters, and the wait for a quiet machine.

STEAL and THROTTLED can't be caused on a machine of one's own: the readings are files in the form of
/proc/stat and /sys, everything after them is the runner's.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench import gpu, quiet
from bench.device import wrong_device
from bench.group import Load
from bench.machine import HostTimes, host_times
from bench.progress import Reporter
from bench.settings import resolve_device
from bench.surroundings import Reading, between
from bench.thermal import Heat, read_heat, throttling
from bench.verdict import judge

COOL = Heat(None, ())
FIGURES = {"offered": 200, "errors": 0, "latency_p95_ms": 10.0}


def stat(folder: Path, user: int, steal: int) -> HostTimes:
    """Read a /proc/stat with these ticks (of 10 ms); CPUs 1 and 10 are asked for, 2 is not."""
    file = folder / "stat"
    file.write_text(
        f"cpu  {user} 0 500 90000 20 0 7 {steal + 9 * user} 0 0\n"
        f"cpu1 {user // 2} 0 250 45000 10 0 3 {steal - steal // 3} 0 0\n"
        f"cpu2 0 0 0 0 0 0 0 {9 * user} 0 0\n"
        f"cpu10 {user // 2} 0 250 45000 10 0 3 {steal // 3} 0 0\n"
        "intr 1 2 3\n"
    )
    return host_times((1, 10), file)


def codes(first: Reading, last: Reading) -> dict[str, str]:
    """The verdict's reasons for a good trial between two readings, with its detail."""
    said = judge(FIGURES, Load("a", "closed", users=1), between(first, last, 2), parity_held=True)
    return dict.fromkeys(said.reasons, said.detail or "")


@pytest.mark.parametrize(
    ("busy", "ours_s", "steal", "wanted"),
    [
        (800, 8.0, 0, set[str]()),
        (800, 8.0, 15, set[str]()),  # 0.15 s of 2 CPUs in 10 s: 0.75%
        (800, 8.0, 400, {"STEAL"}),
        (800, 5.0, 0, {"NOISY_NEIGHBOUR"}),
        (800, 5.0, 400, {"STEAL", "NOISY_NEIGHBOUR"}),
    ],
)
def test_counters_of_the_kernel(
    tmp_path: Path, busy: int, ours_s: float, steal: int, wanted: set[str]
) -> None:
    """10 s on two CPUs. Counting steal as a neighbour's work, or in one CPU's share instead of
    both's, or that of a CPU which neither side uses, or our own CPU time as a stranger's, gives
    other codes."""
    before = replace(stat(tmp_path, 1000, 30), at=100.0)
    after = replace(stat(tmp_path, 1000 + busy, 30 + steal), at=110.0)
    found = codes(Reading(before, 1.0, COOL), Reading(after, 1.0 + ours_s, COOL))
    assert set(found) == wanted
    if "STEAL" in wanted:
        assert "20.0% of the CPU time" in found["STEAL"]


def heat(sys: Path, throttled: int, cooling: int, kind: str = "Processor") -> Heat:
    """Read a /sys with two CPUs that were throttled so often, and one cooling device."""
    files = {
        "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": throttled,
        "devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 4,
        "class/thermal/cooling_device0/type": kind,
        "class/thermal/cooling_device0/cur_state": cooling,
    }
    for name, value in files.items():
        (sys / name).parent.mkdir(parents=True, exist_ok=True)
        (sys / name).write_text(f"{value}\n")
    return read_heat((), sys)


def test_heat_of_the_kernel(tmp_path: Path) -> None:
    """Throttled before the trial is the past; a fan at work is no throttling."""
    first, same, more = heat(tmp_path, 7, 0), heat(tmp_path, 7, 0), heat(tmp_path, 9, 0)
    assert first.events == 11
    assert throttling(first, same) is None
    assert throttling(first, more) == "CPUs were throttled 2 times"
    assert throttling(first, heat(tmp_path, 7, 3)) == "the kernel cools 1 CPUs"
    assert throttling(first, heat(tmp_path, 7, 3, "Fan")) is None
    assert read_heat((), tmp_path / "nothing") == COOL
    host = stat(tmp_path, 1000, 0)
    assert set(codes(Reading(host, 0.0, first), Reading(host, 0.0, more))) == {"THROTTLED"}


class Told(Reporter):
    """A reporter that keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


def readings(*neighbours: float) -> Iterator[Reading]:
    """Two readings a look, a second apart, with so many CPUs used by others in each look."""
    busy = at = 0.0
    for cpus in neighbours:
        yield Reading(HostTimes(busy, 0.0, at), 0.0, COOL)
        busy, at = busy + cpus, at + 1.0
        yield Reading(HostTimes(busy, 0.0, at), 0.0, COOL)


def test_the_runner_waits_for_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it waits for, goes on when the machine is quiet, and then marks nothing."""
    monkeypatch.setattr(quiet, "LOOK_S", 0)
    read, told = readings(0.8, 1.2, 0.1), Told()
    assert quiet.wait_until_quiet(lambda: next(read), 2, 600, told) == {}
    assert next(read, None) is None, "it did not look until it was quiet"
    assert told.steps == ["waiting for the machine to become quiet (other processes use 0.8 CPUs)"]


def test_the_wait_is_bounded_and_marks_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that never becomes quiet must not stop the run, nor go unnoticed. (The time that
    passes is the test's own: its clock moves a second a look.)"""
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _: None)
    monkeypatch.setattr(quiet, "time", clock)
    read = readings(*[0.8] * 50)
    found = quiet.wait_until_quiet(lambda: next(read), 2, 4, Told())
    assert found == {"NOISY_NEIGHBOUR": "before the trial other processes use 0.8 CPUs"}
    assert sum(1 for _ in read) == 2 * (50 - 4), "four looks are what four seconds allow"


@pytest.mark.parametrize(
    ("device", "holders", "grown", "right"),
    [
        ("cuda", {1: 10**9}, 10**9, True),  # the server itself
        ("cuda", {}, 0, False),
        ("cuda", {2: 10**9}, 10**9, False),  # a stranger that NVML shows with this machine's pid
        ("cuda", {2**30: 10**9}, 10**9, True),  # NVML's pids are another view's: memory grew
        ("cuda", {}, 10**9, True),  # NVML shows no process, but memory grew
        ("cpu", {}, 0, True),
        ("cpu", {1: 10**9}, 0, False),
    ],
)
def test_the_device(device: str, holders: dict[int, int], grown: int, right: bool) -> None:
    """Process 1 stands for the server, 2**30 for a process that this machine doesn't have."""
    names = {1: os.getpid(), 2: os.getppid()}
    held = {names.get(pid, pid): size for pid, size in holders.items()}
    assert (wrong_device(device, [os.getpid()], held, grown) is None) == right


class ThreeGpus:
    """NVML's view of a machine with three GPUs, which can't be had here; a handle is its number."""

    class NVMLError(Exception):
        pass

    def __init__(self, cuda: int = 13000) -> None:
        self.cuda = cuda

    def nvmlInit(self) -> None:
        pass

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, device: int) -> str:
        return ("GPU-aa-0", "GPU-ab-1", "GPU-cc-2")[device]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "MIG-dd":
            raise self.NVMLError
        return uuid


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2, 0", [2, 0]),
        ("0,3,1", [0]),
        ("-1,0", []),
        ("GPU-ab,GPU-cc-2", [1, 2]),
        ("GPU-a", []),  # two begin so
        ("MIG-dd", ["MIG-dd"]),
        ("MIG-ee", []),
    ],
)
def test_only_the_visible_gpus_are_watched(
    asked: str | None, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by charging a server with the memory and power of the GPUs beside its own, and with
    their jobs as neighbours: NVML tells of all GPUs, whatever CUDA is told."""
    monkeypatch.setattr(gpu, "nvml", ThreeGpus())
    if asked is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert gpu.handles() == seen


def test_a_driver_older_than_the_locks_means_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a GPU is asked for by name. Broken by a plain `make bench` that takes a GPU on which
    not one of the servers can start."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for cuda, means in ((13000, "cuda"), (13020, "cuda"), (12080, "cpu")):
        monkeypatch.setattr(gpu, "nvml", ThreeGpus(cuda))
        assert resolve_device("auto") == means
        assert resolve_device("cuda") == "cuda"
    assert "CUDA 12.8" in (gpu.outdated_driver() or "")
