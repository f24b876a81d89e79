"""About how long a run takes, from what its profile, payloads and engines say beforehand.

How long a server takes to start, and an answer to come, nobody knows before: the constants are
rough, and an answer is taken to need half of what the SLO allows it.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from bench.artefact import Payload
from bench.audit import PRIMES
from bench.calibration import SHORT, SHORT_LADDER, SHORT_SPAN
from bench.engines import combinations
from bench.gate import probes, repeated
from bench.group import SEARCHES, Load, Profile, Slo
from bench.pairs import sequence
from bench.plan import Start, Trial, probe_s, steady_s
from bench.setup import Part
from bench.stack import Engine

# Seconds beside what is asked and measured: start and stop of a server; of k6, and a look at the
# machine; an engine's load and check; k6 and the null server of one case of the calibration.
START_S = 15.0
TRIAL_OVERHEAD_S = 2.8
ENGINE_START_S = 5.0
CASE_OVERHEAD_S = 1.0
# What a search usually takes: two probes to bracket, four or five to bisect.
PROBES = 7

Rates = Mapping[str, float | None]


def trial_s(profile: Profile, slo: Slo, load: Load, rate_per_s: float | None) -> float:
    """What one trial costs, in seconds; a search is taken to find half of its highest rate."""
    if load.kind in SEARCHES:
        rate = rate_per_s / 2 if rate_per_s else None
        once = profile.warmup_s + TRIAL_OVERHEAD_S
        return PROBES * (once + probe_s(slo, rate)) + once + steady_s(profile, load, rate)
    window_s = steady_s(profile, load, rate_per_s) + load.burst_s + load.after_s
    return profile.warmup_s + window_s + TRIAL_OVERHEAD_S


def answer_s(slo: Slo, reference: Mapping[str, Any]) -> float:
    """How long a lone answer is taken to need, in seconds: half of what the SLO allows.

    `reference`: the artefact's outputs, whose tokens a limit per token is multiplied by.
    """
    texts = (cast(dict[str, Any], each) for each in reference.values() if isinstance(each, dict))
    lengths = [len(each["tokens"]) for each in texts]
    tokens = sum(lengths) / len(lengths) if lengths else 1.0
    streamed_ms = (slo.ttft_ms or 0.0) + (slo.tpot_ms or 0.0) * (tokens - 1)
    return (slo.latency_ms or streamed_ms) / 2 / 1000


def questions(start: Start, payloads: Collection[Payload]) -> int:
    """Requests that a start is asked one at a time: the gate before and after on each interface,
    the audit on one."""
    interfaces = {trial.interface for trial in start.trials}
    sent = probes(list(payloads))
    held = sum(payload.audit for payload in payloads)
    audit = PRIMES + len(sequence(held)) if held else 0
    return len(interfaces) * (len(sent) + len(repeated(sent))) + audit


def start_s(part: Part, start: Start, device: str) -> float:
    """What a start costs beside its trials, in seconds."""
    each_s = answer_s(part.group.slos[device], part.artefacts[start.model].reference)
    return START_S + each_s * questions(start, part.payloads)


def engine_s(engine: Engine, profile: Profile) -> float:
    """What one timing of a bare engine costs, in seconds."""
    return ENGINE_START_S + len(engine.batch_sizes) * profile.engine_s


def engines_s(part: Part, starts: Collection[Start]) -> float:
    """All timings of bare engines for these starts, in seconds: once a block and model."""
    return sum(
        engine_s(engine, part.profile) * len(combinations(engine, part.wanted_of_engines(model)))
        for _, model in {(start.block, start.model) for start in starts}
        for engine, _ in part.engines.values()
    )


def trials_s(part: Part, trials: Iterable[Trial], device: str, rates: Rates) -> float:
    """The trials alone, in seconds; `rates` by load, as far as they are known."""
    slo, loads = part.group.slos[device], part.group.loads
    return sum(trial_s(part.profile, slo, loads[t.load], rates.get(t.load)) for t in trials)


def part_s(
    part: Part,
    left: Mapping[Start, Collection[Trial]],
    device: str,
    rates: Mapping[str, Rates] = MappingProxyType({}),
) -> float:
    """Seconds ahead for one group: the starts that are left, each with its trials that are.

    `rates`: by model, those that are fixed already.
    """
    return engines_s(part, left.keys()) + sum(
        start_s(part, start, device) + trials_s(part, trials, device, rates.get(start.model, {}))
        for start, trials in left.items()
    )


def waits_s(part: Part, left: Mapping[Start, Collection[Trial]]) -> float:
    """The most that waiting for a quiet machine can add to it, in seconds."""
    return part.profile.quiet_wait_s * sum(map(len, left.values()))


def calibration_s() -> float:
    """The short calibration before a run, in seconds."""
    loads = len(SHORT) + len(SHORT_LADDER)
    return loads * (SHORT_SPAN.warmup_s + SHORT_SPAN.window_s + CASE_OVERHEAD_S)
