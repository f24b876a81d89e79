"""What the machine does beside a trial, from two readings of its counters."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import gpu
from bench.machine import HostTimes, host_times
from bench.thermal import Heat, read_heat, throttling
from bench.verdict import Surroundings


@dataclass(frozen=True)
class Reading:
    """The machine's counters at one moment. `ours_cpu_s`: what runner, generator and server used.

    `strangers`: processes on the GPU that are none of ours.
    """

    host: HostTimes
    ours_cpu_s: float
    heat: Heat
    strangers: tuple[str, ...] = ()


def read_machine(
    watched_cpu_ns: int,
    devices: Sequence[Any],
    ours: Callable[[], Collection[int]],
    cpus: Collection[int],
) -> Reading:
    """Read the counters now. `watched_cpu_ns`: CPU time of what the runner started; `ours`: its
    processes, asked for only where there are others on the GPU to tell them from; `cpus`: those of
    server and generator, whose steal counts.
    """
    holders = gpu.memory_by_process(devices)
    strangers = sorted(set(holders) - set(ours())) if holders else []
    return Reading(
        host=host_times(cpus),
        ours_cpu_s=watched_cpu_ns / 1e9 + time.process_time(),
        heat=read_heat(devices),
        strangers=tuple(f"process {p}" for p in strangers if Path(f"/proc/{p}").exists()),
    )


def between(first: Reading, last: Reading, cpus: int) -> Surroundings:
    """What happened between two readings; steal is a share of the `cpus` CPUs they were of."""
    seconds = max(1e-9, last.host.at - first.host.at)
    steal = (last.host.steal_s - first.host.steal_s) / seconds / max(1, cpus)
    busy = last.host.busy_s - first.host.busy_s
    ours = last.ours_cpu_s - first.ours_cpu_s
    return Surroundings(
        steal_share=max(0.0, steal),
        neighbour_cpus=max(0.0, (busy - ours) / seconds),
        throttled=throttling(first.heat, last.heat),
        strangers=tuple(dict.fromkeys(first.strangers + last.strangers)),
    )
