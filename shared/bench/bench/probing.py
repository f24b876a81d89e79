"""A search on a running server: probe, bracket, bisect, then measure what was found in full."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import metrics
from bench.artefact import Artefact
from bench.group import Load
from bench.plan import Trial, probe_s
from bench.search import Bounds, Span, confirm, find, shown
from bench.server import Running
from bench.trial import Bench, generate, measure, slo_context
from bench.verdict import Verdict, conclude

# A probe that can't tell is repeated once, with other arrivals, and the two are pooled.
MOST_WINDOWS = 2
# Far from every other seed of a run.
SEED_STEP = 10**9

Figures = dict[str, Any]


@dataclass(frozen=True)
class Searched:
    """What the search acts on."""

    bench: Bench
    running: Running
    artefact: Artefact
    trial: Trial
    load: Load


def span_of(load: Load, highest: float | None) -> Span:
    """Where to search: rates up to `highest` (the ceiling's share `high`), or up to max_users."""
    if highest is None:
        return Span(1, load.max_users, isqrt(load.max_users), whole=True)
    return Span(highest * load.low / load.high, highest, highest / 2)


def fixed(load: Load, value: float) -> tuple[Load, float | None]:
    """The search's load at one value, as an ordinary closed or open load with its rate."""
    if load.kind == "search_users":
        return replace(load, kind="closed", users=int(value)), None
    return replace(load, kind="open"), value


def spell(load: Load, value: float) -> str:
    """A value of the search in words."""
    if load.kind == "search":
        return f"{value:g}/s"
    return "1 user" if value == 1 else f"{value:g} users"


def step(
    load: Load, value: float, figures: Figures, held: bool | None, *, confirming: bool
) -> Figures:
    """One entry of the search's path; `held` is null where a probe could not tell."""
    return {
        "users": int(value) if load.kind == "search_users" else None,
        "rate_per_s": value if load.kind == "search" else None,
        "offered": figures["offered"],
        "goodput": figures["goodput"],
        "p95_ms": figures["latency_p95_ms"],
        "held": held,
        "confirming": confirming,
    }


def probe(on: Searched, value: float, seed: int) -> Figures:
    """The figures of one short window. Raises StackFailed if the server or k6 ends on the way."""
    bench = on.bench
    load, rate = fixed(on.load, value)
    folder = bench.raw / f"{on.trial.id}.probe"
    shutil.rmtree(folder, ignore_errors=True)
    seconds = probe_s(bench.group.slos[bench.device], rate)
    generated, _ = generate(
        bench, on.running, on.artefact, on.trial, load, rate, seconds, seed, folder
    )
    metrics.store_records(folder / "records.csv", folder / "probe.parquet")
    (folder / "records.csv").unlink()
    window = {
        "window_start_ns": generated.window_start_ns,
        "window_end_ns": generated.window_end_ns,
    }
    limits = slo_context(bench, load.client_batch)
    return metrics.compute(folder / "probe.parquet", None, window | limits)


def probe_until_clear(on: Searched, value: float, share: float, path: list[Figures]) -> bool:
    """Whether the SLO holds at this value, by one window or, if that can't tell, two pooled.

    Nothing in a probe is left out: what the generator sent late, refusals and dropped requests
    count against the value, so a disturbed probe can make the result too low but never too high.
    """
    good = offered = 0
    for window in range(MOST_WINDOWS):
        # The same arrivals for every value, so that two probes differ by their rate alone.
        figures = probe(on, value, on.trial.seed + window * SEED_STEP)
        offered += figures["offered"]
        good += round((figures["goodput"] or 0.0) * figures["offered"])
        held = shown(good, offered, share)
        if window + 1 == MOST_WINDOWS and held is None:
            held = offered > 0 and good / offered >= share
        path.append(step(on.load, value, figures, held, confirming=False))
        if held is not None:
            return held
    return False


def why_none(load: Load, bounds: Bounds) -> str | None:
    """Why a search has no result, in words; None if it has one."""
    if bounds.holds is None and bounds.fails is not None:
        return f"the SLO fails even at the lowest load searched, {spell(load, bounds.fails)}"
    if bounds.fails is None and bounds.holds is not None:
        key = "max_users" if load.kind == "search_users" else "high"
        at = spell(load, bounds.holds)
        return f"the SLO still holds at the highest load searched, {at}: raise {key}"
    return None


def search(
    bench: Bench,
    running: Running,
    artefact: Artefact,
    trial: Trial,
    load: Load,
    highest: float | None,
    engine_per_s: float | None,
    memory_idle_mb: float | None,
    before: Mapping[str, str],
) -> tuple[Figures, Verdict]:
    """The highest load at which the SLO holds: (figures of its confirming window, verdict).

    The figures hold `users` or `rate_per_s` as found and the whole `search_path`; where there is no
    result, the verdict says why. `before`: as in measure. Raises StackFailed, OSError.
    """
    on = Searched(bench, running, artefact, trial, load)
    share = bench.group.slos[bench.device].share
    span = span_of(load, highest)
    path: list[Figures] = []
    full: tuple[Figures, Verdict] | None = None

    def confirmed(value: float) -> bool:
        nonlocal full
        at, rate = fixed(load, value)
        figures, verdict = measure(
            bench, running, artefact, trial, at, rate, engine_per_s, memory_idle_mb, before
        )
        full = {**figures, "users": at.users, "rate_per_s": rate}, verdict
        held = bool(figures["slo_met"])
        path.append(step(load, value, figures, held, confirming=True))
        return held

    bounds = find(lambda value: probe_until_clear(on, value, share, path), span)
    why = why_none(load, bounds)
    if why is None and bounds.holds is not None:
        if confirm(confirmed, bounds.holds, span) is not None and full is not None:
            return {**full[0], "search_path": path}, full[1]
        tried = ", ".join(
            f"{spell(load, entry['users'] or entry['rate_per_s'])} ({entry['goodput'] or 0:.2f})"
            for entry in path
            if entry["confirming"]
        )
        why = f"probes held, full windows did not; goodput at {tried}"
    return {"search_path": path}, conclude({"UNSTABLE_SEARCH"}, why)
