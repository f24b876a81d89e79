"""`make replay RUN=<id>`: a run once more, settings, seed, order, rates and digests the same."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench import machine
from bench.cpus import CpuSplit, format_cpus
from bench.errors import UserError
from bench.progress import Reporter
from bench.resume import recorded_cpus, resumed
from bench.run import bench
from bench.settings import Settings

# What makes a machine another one.
MACHINE = ("cpu_model", "cpus", "memory_mb", "kernel", "governor", "gpus")


def gpu_names(machine: Mapping[str, Any]) -> list[str]:
    """Their clocks and power change from hour to hour, their names don't."""
    gpus: list[dict[str, Any]] = machine.get("gpus") or []
    return [str(gpu["name"]) for gpu in gpus]


def other_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase for each property in which two machines differ."""
    found: list[str] = []
    for name in MACHINE:
        was, here = then.get(name), now.get(name)
        if name == "gpus":
            was, here = gpu_names(then), gpu_names(now)
        if was != here:
            found.append(f"{name} was {was}, here it is {here}")
    return found


def cpus_then(facts: Mapping[str, Any], here: CpuSplit, report: Reporter) -> CpuSplit:
    """The CPUs of the earlier run where this machine has them, else those of here."""
    then = recorded_cpus(facts)
    if set(then.server + then.client) <= os.sched_getaffinity(0):
        return then
    report.note(
        f"its CPUs {format_cpus(then.server)} and {format_cpus(then.client)} are not here: "
        f"server on {format_cpus(here.server)}, client on {format_cpus(here.client)}"
    )
    return here


def replay(settings: Settings, cpus: CpuSplit, report: Reporter) -> int:
    """Measure RUN again as a new run and show both. Returns the exit code of `bench`.

    Raises UserError naming each lock, artefact, payload, k6.js or source that is not as it was.
    Another machine is no obstacle; it is said.
    """
    if not settings.run:
        raise UserError("say which run: make replay RUN=<id>")
    wanted, facts = resumed(settings.run)
    for difference in other_machine(facts["machine"], machine.describe_machine()):
        report.note(f"another machine than then: {difference}")
    return bench(replace(wanted, run=None), cpus_then(facts, cpus, report), report, again=facts)
