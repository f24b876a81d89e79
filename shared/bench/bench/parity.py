"""The parity gate: a stack's answers against the artefact's reference outputs.

Each comparator takes one answer and its reference and returns (drift, fault): how far apart they
are in the comparator's own unit, and None or what is wrong.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Comparator = Callable[[Any, Any, float, Mapping[str, Any]], tuple[float, str | None]]


@dataclass(frozen=True)
class Parity:
    """The gate's outcome over the whole probe set."""

    passed: bool
    drift: float | None
    faults: tuple[str, ...]


def top_k(
    answer: Any, reference: Any, tolerance: float, settings: Mapping[str, Any]
) -> tuple[float, str | None]:
    """Answer: [[class index, probability], …] best first; reference: all class probabilities.

    Drift is the largest |Δprobability|. The same classes must be named, except where the
    reference's own margin to the k-th is within the tolerance.
    """
    k = int(settings.get("k", 5))
    if len(answer) != k:
        return math.inf, f"{len(answer)} classes instead of {k}"
    given = {int(index): float(probability) for index, probability in answer}
    if len(given) != k or any(not 0 <= index < len(reference) for index in given):
        return math.inf, "class indices repeat or don't exist"
    drift = max(abs(p - reference[index]) for index, p in given.items())
    if not drift <= tolerance:
        return drift, f"a probability is off by {drift:.2g}, allowed {tolerance:g}"
    threshold = sorted(reference, reverse=True)[k - 1]
    for index, p in enumerate(reference):
        if index not in given and p > threshold + tolerance:
            return drift, f"class {index} is missing from the top {k}"
        if index in given and p < threshold - tolerance:
            return drift, f"class {index} is not of the top {k}"
    return drift, None


def tokens(
    answer: Any, reference: Any, tolerance: float, settings: Mapping[str, Any]
) -> tuple[float, str | None]:
    """Greedy token ids. Reference: {"tokens": [id, …], "margins": [lead, …]}, one each a step.

    A margin is the log-probability lead of the best token over the second. Where it is within the
    tolerance rounding may choose either, and all that follows depends on it: the comparison ends
    there. `first_tokens` in group.toml's [parity] ends it after so many. Drift is the share of the
    tokens from the first that differs.
    """
    wanted: list[int] = reference["tokens"]
    if len(answer) != len(wanted):
        return 1.0, f"{len(answer)} tokens instead of {len(wanted)}"
    first = settings.get("first_tokens", {}).get(settings.get("precision"), len(wanted))
    steps = zip(answer, wanted, reference["margins"], strict=True)
    for place, (given, right, margin) in enumerate(steps):
        if place >= first:
            break
        if given != right:
            if margin <= tolerance:
                break
            return 1 - place / len(wanted), f"token {place} is {given}, not {right}"
    return 0.0, None


def cosine(
    answer: Any, reference: Any, tolerance: float, settings: Mapping[str, Any]
) -> tuple[float, str | None]:
    """Vectors. Drift is 1 − cosine; the tolerance bounds it."""
    if len(answer) != len(reference):
        return math.inf, f"{len(answer)} dimensions instead of {len(reference)}"
    norm = math.sqrt(sum(x * x for x in answer)) * math.sqrt(sum(x * x for x in reference))
    if norm == 0 or not math.isfinite(norm):
        return math.inf, "a vector of no length"
    drift = 1 - sum(x * y for x, y in zip(answer, reference, strict=True)) / norm
    return drift, None if drift <= tolerance else f"1 − cosine is {drift:.2g}"


COMPARATORS: dict[str, Comparator] = {"top_k": top_k, "tokens": tokens, "cosine": cosine}


def check(
    answers: Sequence[Mapping[str, Any]],
    reference: Mapping[str, Any],
    probes: Sequence[str],
    settings: Mapping[str, Any],
    precision: str,
) -> Parity:
    """Compare every probe's answer. A probe that was not answered is a fault."""
    compare = COMPARATORS[settings["kind"]]
    tolerance = settings["tolerance"].get(precision)
    if tolerance is None:
        return Parity(False, None, (f"group.toml: parity.tolerance has no {precision}",))
    given = {answer["payload"]: answer for answer in answers}
    faults: list[str] = []
    drifts: list[float] = []
    for name in probes:
        answer = given.get(name)
        if answer is None or answer.get("answer") is None:
            said = answer.get("error") if answer else None
            faults.append(f"{name}: not answered{f' ({said})' if said else ''}")
            continue
        try:
            asked = {**settings, "precision": precision}
            drift, fault = compare(answer["answer"], reference[name], tolerance, asked)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            faults.append(f"{name}: answer of the wrong form ({error})")
            continue
        drifts.append(drift)
        if fault:
            faults.append(f"{name}: {fault}")
    worst = max(drifts) if drifts and math.isfinite(max(drifts)) else None
    return Parity(bool(probes) and not faults, worst, tuple(faults))


def load_keys(
    expected: Mapping[str, str | None],
    names: Sequence[str],
    settings: Mapping[str, Any],
    precision: str,
) -> list[str | None]:
    """What right answers to these payloads say under load (expected.json), None: can't be told.

    A precision whose answers are held to their `first_tokens` is held to no key, since a key is
    made of the whole answer.
    """
    if precision in settings.get("first_tokens", {}):
        return [None] * len(names)
    return [expected.get(name) for name in names]
