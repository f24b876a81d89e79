"""Whether a trial counts, and why not: the reason codes of DESIGN, "A run, and when it counts"."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.group import SCHEDULED, Load

INVALID = (
    "NOT_MEASURED",
    "DROPPED_ITERATIONS",
    "GENERATOR_LATE",
    "PARITY_DRIFT",
    "UNEQUAL_WORK",
    "WRONG_DEVICE",
    "UNSTABLE_SEARCH",
    "ERRORS",
)
DEGRADED = (
    "TOO_FEW_SAMPLES",
    "NEAR_GENERATOR_CEILING",
    "SHARED_CPUS",
    "NOISY_NEIGHBOUR",
    "STEAL",
    "THROTTLED",
    "UNPINNED",
    "SATURATED",
)

# A trial with more errors than this measures failing, not serving. Refusals under an open load are
# answers of a kind: they cost goodput, and the row says SATURATED.
ERROR_SHARE = 0.01
# The generator sends this much later than scheduled, at the 99th percentile, with a user free;
# where answers take long, this share of the median one (to its first token, if it has tokens).
LATE_MS = 5.0
LATE_SHARE = 0.01
GENERATOR_SHARE = 0.70
STEAL_SHARE = 0.01
# CPU seconds of other processes per second, while the machine should be quiet.
NEIGHBOUR_CPUS = 0.15
# In-flight work grows by this share of what is offered, and by more than chance (by_chance).
BACKLOG_SLOPE = 0.05


@dataclass(frozen=True)
class Surroundings:
    """What the machine did beside the trial; shares are of the window.

    `throttled`: what was slowed down, in words. `strangers`: other processes on the GPU. `before`:
    what disturbed the machine when the trial had to begin, by code (quiet.py).
    """

    steal_share: float = 0.0
    neighbour_cpus: float = 0.0
    shared_cpus: bool = False
    unpinned: bool = False
    throttled: str | None = None
    strangers: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Verdict:
    """VALID, DEGRADED or INVALID, with every reason that applies and what was seen of them."""

    verdict: str
    reasons: tuple[str, ...]
    detail: str | None = None


def conclude(reasons: Collection[str], detail: str | None = None) -> Verdict:
    """The verdict that a set of reason codes makes."""
    ordered = tuple(code for code in INVALID + DEGRADED if code in reasons)
    if set(reasons) & set(INVALID):
        return Verdict("INVALID", ordered, detail)
    return Verdict("DEGRADED" if ordered else "VALID", ordered, detail)


def disturbances(beside: Surroundings) -> dict[str, str]:
    """What disturbs a measurement on this machine, in words, by code."""
    found: dict[str, str] = {}
    if beside.neighbour_cpus > NEIGHBOUR_CPUS:
        found["NOISY_NEIGHBOUR"] = f"other processes use {beside.neighbour_cpus:.1f} CPUs"
    if beside.strangers:
        words = f"{', '.join(beside.strangers)} on the GPU"
        found["NOISY_NEIGHBOUR"] = "; ".join(filter(None, (found.get("NOISY_NEIGHBOUR"), words)))
    if beside.steal_share > STEAL_SHARE:
        found["STEAL"] = f"the hypervisor takes {beside.steal_share:.1%} of the CPU time"
    if beside.throttled:
        found["THROTTLED"] = beside.throttled
    return found


def by_chance(load: Load, offered: int) -> float:
    """The share of what is offered that may pile up though the server keeps up: Poisson arrivals
    vary by the square root of their number, constant ones don't."""
    return offered**-0.5 if load.arrivals == "poisson" and offered else 0.0


def judge(
    figures: Mapping[str, Any], load: Load, beside: Surroundings, *, parity_held: bool
) -> Verdict:
    """Judge one measured trial by its figures and what happened beside it."""
    # Each code with what was seen of it.
    reasons: dict[str, str] = {}
    offered = figures.get("offered") or 0
    refused = figures.get("refused") or 0
    dropped = figures.get("dropped") or 0
    errors = (figures.get("errors") or 0) - dropped
    burst = load.kind == "burst"
    overloaded = load.kind in SCHEDULED
    failed = errors - refused if overloaded else errors
    if burst:
        # What a burst makes late is what it measures: so late that nobody waits for it, too.
        failed -= figures.get("timed_out") or 0
    if not parity_held:
        reasons["PARITY_DRIFT"] = "its answers were not compared with the reference"
    if offered == 0:
        reasons["NOT_MEASURED"] = "no request fell in the window"
    elif failed / offered > ERROR_SHARE:
        reasons["ERRORS"] = f"{failed} of {offered} requests failed"
    if dropped:
        reasons["DROPPED_ITERATIONS"] = (
            f"{dropped} of {offered} requests were never sent: all {load.max_users} users were busy"
        )
    if wrong := figures.get("wrong_answers"):
        reasons["PARITY_DRIFT"] = f"{wrong} answers under load were wrong"
    hits = figures.get("cache_hit_share") or 0
    if hits > ERROR_SHARE and load.cache != "expected":
        reasons["UNEQUAL_WORK"] = f"the server says that it took {hits:.1%} from a cache"
    late = figures.get("generator_late_p99_ms")
    median_ms = figures.get("ttft_p50_ms") or figures.get("latency_p50_ms") or 0.0
    if overloaded and late is not None and late > max(LATE_MS, LATE_SHARE * median_ms):
        reasons["GENERATOR_LATE"] = f"requests left {late:.0f} ms late (p99) with a user free"
    if burst:
        if figures.get("before_burst_p95_ms") is None:
            reasons["TOO_FEW_SAMPLES"] = "the requests before the burst give no p95"
    elif figures.get("latency_p95_ms") is None and not reasons.keys() & {"ERRORS", "NOT_MEASURED"}:
        code = "TOO_FEW_SAMPLES" if not refused else "SATURATED"
        reasons[code] = f"{offered} requests give no p95"
    if (share := figures.get("generator_cpu_share") or 0) > GENERATOR_SHARE:
        reasons["NEAR_GENERATOR_CEILING"] = f"the generator used {share:.0%} of its CPUs"
    slope = figures.get("backlog_slope") or 0
    if overloaded and not burst:
        if refused / max(1, offered) > ERROR_SHARE:
            reasons["SATURATED"] = f"{refused} of {offered} requests were refused"
        elif slope > max(BACKLOG_SLOPE, by_chance(load, offered)):
            reasons["SATURATED"] = f"{slope:.0%} of what was offered piled up"
    for code, seen in (*disturbances(beside).items(), *beside.before.items()):
        reasons[code] = f"{reasons[code]}; {seen}" if code in reasons else seen
    if beside.shared_cpus:
        reasons["SHARED_CPUS"] = "server and generator share CPUs"
    if beside.unpinned:
        reasons["UNPINNED"] = "nothing pins the server's packages"
    return conclude(reasons, "; ".join(reasons.values()) or None)
