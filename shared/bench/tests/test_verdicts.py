"""Each verdict's cause, brought about for real: the invariant is that what spoils a measurement is
on its row by its code, whatever else is going on on this machine.

STEAL, THROTTLED and a GPU can't be had here: they are judged from readings in the kernel's and
NVML's own form, here and in test_surroundings.py.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import starts
from starts import Place

import metrics
from bench import gpu, server
from bench.cpus import CpuSplit
from bench.group import Load
from bench.processes import marked
from bench.trial import measure

CLOSED = Load("closed", "closed", users=2)
OPEN = Load("open", "open", arrivals="constant", max_users=128)


def test_a_sound_trial_has_none_of_the_faults_below(place: Place) -> None:
    """Without this the other tests would pass with a judge that always says everything."""
    served = place.having([CLOSED]).serve(starts.echo("none"))
    others = {"NOISY_NEIGHBOUR", "STEAL", "THROTTLED"}  # the machine's, while tests run
    assert served.reasons("closed") <= others, served.verdicts
    assert served.figures["closed"]["completed"] > 100
    assert served.start["status"] == "measured"


def test_errors(place: Place) -> None:
    """One answer in five is a 500: the percentiles would be those of failing."""
    served = place.having([CLOSED]).serve(starts.echo("fails"))
    assert "ERRORS" in served.reasons("closed")
    assert served.verdicts["closed"].verdict == "INVALID"


def test_answers_that_change_after_the_gate(place: Place) -> None:
    """The drifting server keeps right what is checked under load and changes the rest: a stack
    that passed the gate and then takes a shortcut must not stay VALID."""
    served = place.having([CLOSED]).serve(starts.echo("drifts"))
    assert not served.figures["closed"]["wrong_answers"], "the check under load found it already"
    assert "PARITY_DRIFT" in served.reasons("closed")
    assert "after the trials" in (served.verdicts["closed"].detail or "")
    assert served.start["status"] == "failed" and "after the trials" in served.start["reason"]


def test_answers_from_a_cache(place: Place) -> None:
    """A cache makes every payload but the first sending free: the others' work is not done. A
    server that keeps quiet about it is found out after its trials, for all of them."""
    served = place.having([CLOSED, replace(CLOSED, name="another")]).serve(starts.echo("caches"))
    for load in ("closed", "another"):
        assert "UNEQUAL_WORK" in served.reasons(load)
        assert served.verdicts[load].verdict == "INVALID"
        assert "never-sent" in (served.verdicts[load].detail or "")
    assert served.start["repeat_ratio"] < 0.9


def test_work_that_cannot_be_checked(place: Place) -> None:
    """A server that dies of what it never saw: its rows passed the gate before, but what they are
    worth is not known. Broken by rows that stay VALID as nothing was found."""
    served = place.having([CLOSED]).serve(starts.echo("dies-unseen"))
    assert "NOT_MEASURED" in served.reasons("closed"), served.verdicts
    assert "could not be checked" in (served.verdicts["closed"].detail or "")
    assert served.start["status"] == "failed"


def test_a_cache_that_the_server_tells_of(place: Place) -> None:
    """Its own counter is enough, also where nothing was held back."""
    stack = replace(
        starts.echo("caches"),
        metrics_url="http://{host}:{http_port}/metrics",
        metrics_map={"cache_hits_count": {"name": "cache_hits_total"}},
    )
    served = place.having([CLOSED], held_back=[]).serve(stack)
    assert "UNEQUAL_WORK" in served.reasons("closed")
    assert "from a cache" in (served.verdicts["closed"].detail or "")
    assert served.figures["closed"]["cache_hits"] > 100


def test_overload(place: Place) -> None:
    """A server of 20/s at 60/s: with users enough the backlog grows, with 2 the load is not
    offered at all. And 60 requests are too few for a p95, however well they went."""
    few = replace(OPEN, name="few", max_users=2)
    served = place.having([OPEN, few], window_s=1, held_back=[]).serve(
        starts.echo("one-at-a-time"), {"open": 60, "few": 60}
    )
    assert "SATURATED" in served.reasons("open")
    assert "DROPPED_ITERATIONS" not in served.reasons("open")
    assert "DROPPED_ITERATIONS" in served.reasons("few")
    assert "TOO_FEW_SAMPLES" in served.reasons("open")


@pytest.mark.slow
def test_a_search_whose_result_does_not_last(place: Place) -> None:
    """A probe of 79 requests fits the server's burst, a full window at the lowest rate searched
    does not. The rate that only a probe saw must not stand as the stack's capacity."""
    load = Load("search", "search", arrivals="constant", max_users=128, low=0.1, high=1.0)
    served = place.having([load], window_s=12, held_back=[]).serve(
        starts.burstable(), {"search": 200.0}
    )
    assert served.reasons("search") == {"UNSTABLE_SEARCH"}
    assert "full windows did not" in (served.verdicts["search"].detail or "")
    path = served.figures["search"]["search_path"]
    assert [step["held"] for step in path if step["confirming"]] == [False] * 3


def test_a_server_that_dies_is_not_measured(place: Place) -> None:
    served = place.having([CLOSED]).serve(starts.echo("dies"))
    assert served.verdicts["closed"].reasons == ("NOT_MEASURED",)
    assert "server ended" in (served.verdicts["closed"].detail or "")


def test_records_that_give_no_figures(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a fault of the records, as a full disk makes one, that ends the whole run."""

    def broken(*_: object) -> None:
        raise metrics.RecordsError("requests.parquet: no space left")

    monkeypatch.setattr(metrics, "store_records", broken)
    served = place.having([CLOSED]).serve(starts.echo("none"))
    assert served.verdicts["closed"].reasons == ("NOT_MEASURED",)
    assert "no space left" in (served.verdicts["closed"].detail or "")


def test_a_generator_at_its_ceiling(place: Place) -> None:
    """32 users that never wait for the null server ask for all that k6 can do with one CPU. Only
    strangers on that CPU, or the hypervisor, can keep it from using 70%: then the row says so."""
    one = (max(os.sched_getaffinity(0)),)
    load = Load("flat-out", "closed", users=32)
    flat_out = place.having([load], cpus=replace(place.bench.cpus, client=one), held_back=[])
    running = starts.start(flat_out, starts.null_stack())
    try:
        artefact = replace(place.artefact, expected={})
        trial = starts.a_trial(load, "http")
        figures, verdict = measure(
            flat_out.bench, running, artefact, trial, load, None, None, None, {}
        )
    finally:
        server.stop(running)
    assert figures["completed"] > 100
    if figures["generator_cpu_share"] < 0.7:
        assert {"NOISY_NEIGHBOUR", "STEAL"} & set(verdict.reasons), figures
    else:
        assert "NEAR_GENERATOR_CEILING" in verdict.reasons


def test_a_crowded_machine(place: Place) -> None:
    """Server, generator and two strangers on one CPU, with packages that nothing pins, and a
    generator that gets no CPU for 0.4 s: five reasons, and each must be found beside the others."""
    one = (min(os.sched_getaffinity(0)),)
    crowded = place.having(
        [OPEN], window_s=2, cpus=CpuSplit(one, one, shared=True), runtime="ambient"
    )

    def starve(plan: dict[str, Any]) -> None:
        k6 = [pid for pid in marked(place.bench.mark) if comm(pid) == "k6"]
        assert k6, "the generator is not found"
        for order in (signal.SIGSTOP, signal.SIGCONT):
            for pid in k6:
                os.kill(pid, order)
            time.sleep(0.4)

    with starts.hogs(2), starts.in_window(place.bench.raw / "open", 0.5, starve):
        served = crowded.serve(starts.echo("none"), {"open": 50})
    wanted = {"SHARED_CPUS", "UNPINNED", "NOISY_NEIGHBOUR", "GENERATOR_LATE"}
    assert wanted <= served.reasons("open"), served.verdicts
    detail = served.verdicts["open"].detail or ""
    assert "before the trial other processes use" in detail, "nobody looked before the trial"


class OneGpu:
    """NVML's view of a machine with one GPU, as far as the runner asks; `holders` are facts given
    by the test, since no GPU can be had here. What the runner makes of them is real, as are the
    server and its processes."""

    class NVMLError(Exception):
        pass

    nvmlClocksThrottleReasonSwThermalSlowdown = 0x20
    nvmlClocksThrottleReasonHwSlowdown = 0x8
    nvmlClocksThrottleReasonHwThermalSlowdown = 0x40
    nvmlClocksThrottleReasonHwPowerBrakeSlowdown = 0x80

    def __init__(self, holders: Callable[[], list[int]]) -> None:
        self.holders = holders

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=10**9) for pid in self.holders()]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, device: int) -> int:
        return self.nvmlClocksThrottleReasonHwThermalSlowdown

    def unknown(self, *_: object) -> None:
        raise self.NVMLError

    nvmlDeviceGetUtilizationRates = nvmlDeviceGetMemoryInfo = nvmlDeviceGetPowerUsage = unknown


def test_a_server_that_is_not_on_the_gpu(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEVICE=cuda, and only a stranger holds memory on the GPU: the CPU's figures would be read as
    the GPU's. (The GPU is given by the test: OneGpu.)"""
    monkeypatch.setattr(gpu, "nvml", OneGpu(lambda: [os.getpid()]))
    served = place.having([CLOSED], device="cuda").serve(starts.echo("none"))
    assert served.verdicts["closed"].reasons == ("WRONG_DEVICE",)
    assert served.verdicts["closed"].verdict == "INVALID" and not served.figures["closed"]
    assert served.start["status"] == "failed"


def test_a_server_on_a_hot_and_shared_gpu(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server holds its memory on the GPU, but so does a stranger, and heat holds its clocks
    down. (The GPU is given by the test: OneGpu.)"""
    monkeypatch.setattr(gpu, "nvml", OneGpu(lambda: [os.getpid(), *marked(place.bench.mark)]))
    served = place.having([CLOSED], device="cuda", held_back=[]).serve(starts.echo("none"))
    assert {"THROTTLED", "NOISY_NEIGHBOUR"} <= served.reasons("closed")
    assert "WRONG_DEVICE" not in served.reasons("closed")
    assert f"process {os.getpid()} on the GPU" in (served.verdicts["closed"].detail or "")


def comm(pid: int) -> str:
    """A process's name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
