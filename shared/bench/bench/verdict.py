"""Whether a trial counts, and why not: the reason codes of DESIGN, "A run, and when it counts"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.config import SCHEDULED, Load

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
# The generator sends this much later than scheduled, at the 99th percentile, with a user free.
LATE_MS = 5.0
GENERATOR_SHARE = 0.70
STEAL_SHARE = 0.01
# CPU seconds of other processes per second, while the machine should be quiet.
NEIGHBOUR_CPUS = 0.15
# In-flight work grows by this share of what is offered.
BACKLOG_SLOPE = 0.05


@dataclass(frozen=True)
class Surroundings:
    """What the machine did beside the trial; shares are of the window."""

    steal_share: float
    neighbour_cpus: float
    shared_cpus: bool
    unpinned: bool
    throttled: bool


@dataclass(frozen=True)
class Verdict:
    """VALID, DEGRADED or INVALID, with every reason that applies."""

    verdict: str
    reasons: tuple[str, ...]


def conclude(reasons: set[str]) -> Verdict:
    """The verdict that a set of reason codes makes."""
    ordered = tuple(code for code in INVALID + DEGRADED if code in reasons)
    if reasons & set(INVALID):
        return Verdict("INVALID", ordered)
    return Verdict("DEGRADED" if ordered else "VALID", ordered)


def judge(
    figures: Mapping[str, Any], load: Load, beside: Surroundings, *, parity_held: bool
) -> Verdict:
    """Judge one measured trial by its figures and what happened beside it."""
    reasons: set[str] = set()
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
        reasons.add("PARITY_DRIFT")
    if offered == 0:
        reasons.add("NOT_MEASURED")
    elif failed / offered > ERROR_SHARE:
        reasons.add("ERRORS")
    if dropped:
        reasons.add("DROPPED_ITERATIONS")
    if figures.get("wrong_answers"):
        reasons.add("PARITY_DRIFT")
    late = figures.get("generator_late_p99_ms")
    if overloaded and late is not None and late > LATE_MS:
        reasons.add("GENERATOR_LATE")
    if burst:
        if figures.get("before_burst_p95_ms") is None:
            reasons.add("TOO_FEW_SAMPLES")
    elif figures.get("latency_p95_ms") is None and not reasons & {"ERRORS", "NOT_MEASURED"}:
        reasons.add("TOO_FEW_SAMPLES" if not refused else "SATURATED")
    if (figures.get("generator_cpu_share") or 0) > GENERATOR_SHARE:
        reasons.add("NEAR_GENERATOR_CEILING")
    slope = figures.get("backlog_slope")
    saturated = refused / max(1, offered) > ERROR_SHARE or (slope or 0) > BACKLOG_SLOPE
    if overloaded and saturated and not burst:
        reasons.add("SATURATED")
    if beside.steal_share > STEAL_SHARE:
        reasons.add("STEAL")
    if beside.neighbour_cpus > NEIGHBOUR_CPUS:
        reasons.add("NOISY_NEIGHBOUR")
    if beside.shared_cpus:
        reasons.add("SHARED_CPUS")
    if beside.unpinned:
        reasons.add("UNPINNED")
    if beside.throttled:
        reasons.add("THROTTLED")
    return conclude(reasons)
