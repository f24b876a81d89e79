"""One trial: load a running server for a window, watch it, and turn what was seen into a row."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import metrics
from bench import gpu, prometheus
from bench.artefact import Artefact, Payload, payloads_of
from bench.cpus import CpuSplit
from bench.errors import StackFailed
from bench.generator import Generated, load_plan, make_plan, run_k6
from bench.group import Group, Load, Profile
from bench.plan import Trial, steady_s
from bench.processes import reset_peak, tree_peak_excess_bytes
from bench.sampler import Sampler
from bench.server import Running
from bench.store import write_json
from bench.surroundings import Reading, between, read_machine
from bench.verdict import Surroundings, Verdict, judge


@dataclass(frozen=True)
class Edge:
    """What was read at one edge of the window."""

    counters: prometheus.Counters | None
    machine: Reading


@dataclass
class Watch:
    """Readings taken while a trial runs."""

    running: Running
    sampler: Sampler
    cpus: Collection[int]
    edges: dict[str, Edge] = field(default_factory=dict[str, Edge])

    def read_edge(self, name: str) -> None:
        """Read the server's counters and the machine's state at "start" or "end"."""
        stack = self.running.stack
        url = self.running.fill(stack.metrics_url) if stack.metrics_url else None
        watched_ns = self.sampler.server.read().cpu_ns
        if self.sampler.generator:
            watched_ns += self.sampler.generator.read().cpu_ns
        self.edges[name] = Edge(
            counters=prometheus.scrape(url, stack.metrics_map),
            machine=read_machine(
                watched_ns, self.sampler.devices, self.running.processes, self.cpus
            ),
        )


@dataclass(frozen=True)
class Bench:
    """Everything about a run that a trial needs and that doesn't change while it goes on."""

    group: Group
    profile: Profile
    payloads: list[Payload]
    held_back: list[Payload]
    cpus: CpuSplit
    k6: Path
    device: str
    runtime: str
    raw: Path
    mark: str


def surroundings(watch: Watch, bench: Bench, before: Mapping[str, str]) -> Surroundings:
    """What the machine did beside the trial, between the two edges."""
    first, last = watch.edges["start"].machine, watch.edges["end"].machine
    return replace(
        between(first, last, len(bench.cpus.both)),
        shared_cpus=bench.cpus.shared,
        unpinned=bench.runtime == "ambient",
        before=before,
    )


def slo_context(bench: Bench, client_batch: int) -> dict[str, float | None]:
    """The SLO's limits for the metrics; none for client batches, which are judged by no SLO."""
    slo = bench.group.slos[bench.device]
    applies = client_batch == 1
    return {
        "slo_latency_ms": slo.latency_ms if applies else None,
        "slo_ttft_ms": slo.ttft_ms if applies else None,
        "slo_tpot_ms": slo.tpot_ms if applies else None,
        "slo_share": slo.share if applies else None,
    }


def burst_context(generated: Generated, load: Load, before_s: float) -> dict[str, int | None]:
    """When the burst began and ended, for the metrics; both null without one."""
    if load.kind != "burst":
        return {"burst_start_ns": None, "burst_end_ns": None}
    start = generated.window_start_ns + round(before_s * 1e9)
    return {"burst_start_ns": start, "burst_end_ns": start + round(load.burst_s * 1e9)}


def generate(
    bench: Bench,
    running: Running,
    artefact: Artefact,
    trial: Trial,
    load: Load,
    rate: float | None,
    seconds: float,
    seed: int,
    folder: Path,
) -> tuple[Generated, Watch]:
    """Run k6 with the samplers on; `seconds` of the window are before a burst, if there is one.

    Raises StackFailed if the server or k6 ends on the way.
    """
    plan = make_plan(
        mode="load",
        group=bench.group,
        artefact=artefact,
        payloads=payloads_of(bench.payloads, load),
        running=running,
        interface=trial.interface,
        load=load_plan(load, rate, bench.profile.warmup_s + seconds),
        client_batch=load.client_batch,
        seed=seed,
        warmup_s=bench.profile.warmup_s,
        window_s=seconds + load.burst_s + load.after_s,
        timeout_s=bench.profile.timeout_s,
        folder=folder,
    )
    devices = gpu.handles() if bench.device == "cuda" else []
    with Sampler(running.meter(), devices) as sampler:
        watch = Watch(running, sampler, bench.cpus.both)
        generated = run_k6(
            bench.k6,
            running.stack,
            plan,
            bench.cpus.client,
            folder,
            running.mark,
            on_start=sampler.watch_generator,
            on_window=watch.read_edge,
            keep_going=running.alive,
        )
    if not running.alive():
        raise StackFailed(f"the server {running.ending()}")
    if set(watch.edges) != {"start", "end"}:
        raise StackFailed("k6 never said when its window began")
    return generated, watch


def memory_peak_bytes(running: Running, sampler: Sampler) -> int:
    """The most memory a server held since its peak was reset.

    Of a container the sampler's readings: its cgroup's own high-water mark counts page cache too.
    """
    if running.container:
        return max(running.memory_bytes(), sampler.peak_bytes())
    return running.memory_bytes() + tree_peak_excess_bytes(running.pid)


def measure(
    bench: Bench,
    running: Running,
    artefact: Artefact,
    trial: Trial,
    load: Load,
    rate: float | None,
    engine_per_s: float | None,
    memory_idle_mb: float | None,
    before: Mapping[str, str],
) -> tuple[dict[str, Any], Verdict]:
    """Load, record, compute, judge. Returns (figures, verdict). Raises StackFailed, OSError.

    `before`: what disturbed the machine before the trial, by code.
    """
    folder = bench.raw / trial.id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reset_peak(running.pid)
    seconds = steady_s(bench.profile, load, rate)
    generated, watch = generate(
        bench, running, artefact, trial, load, rate, seconds, trial.seed, folder
    )
    peak = memory_peak_bytes(running, watch.sampler)
    metrics.store_records(folder / "records.csv", folder / "requests.parquet")
    (folder / "records.csv").unlink()
    metrics.store_samples(watch.sampler.rows, folder / "samples.parquet")
    counters = prometheus.difference(watch.edges["start"].counters, watch.edges["end"].counters)
    beside = surroundings(watch, bench, before)
    context: dict[str, Any] = {
        "window_start_ns": generated.window_start_ns,
        "window_end_ns": generated.window_end_ns,
        "slots_planned": generated.slots_planned,
        **burst_context(generated, load, seconds),
        "load_kind": load.kind,
        "users": load.users,
        "rate_per_s": rate,
        "client_batch": load.client_batch,
        "unit": bench.group.unit,
        **slo_context(bench, load.client_batch),
        "max_batch": running.stack.max_batch.get(bench.device),
        "engine_throughput_per_s": engine_per_s,
        "memory_idle_mb": memory_idle_mb,
        "memory_peak_mb": peak / 1e6,
        "server_cpus": len(bench.cpus.server),
        "generator_cpus": len(bench.cpus.client),
        **counters,
    }
    write_json(folder / "context.json", context)
    figures = metrics.compute(folder / "requests.parquet", folder / "samples.parquet", context)
    figures |= {"steal_share": beside.steal_share, "neighbour_cpus": beside.neighbour_cpus}
    return figures, judge(figures, load, beside, parity_held=True)
