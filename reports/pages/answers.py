"""The sentences: which stack is better for a workload and by how much, or why no one can say."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pages.names import times

Row = dict[str, Any]
# What tells two experiments apart: figures of different setups never meet.
SETUP = ("machine_name", "device", "model", "weights", "precision", "runtime", "generator")
WORKLOAD = (*SETUP, "interface", "load", "client_batch")
# What one sentence can bear: pairs (of six stacks), those of the best where there are more, names.
MOST_TOLD, CLOSEST, FEW = 15, 5, 6
TIMES = {
    "latency_p95_ms": "p95 latency",
    "ttft_p95_ms": "p95 time to the first token",
    "ttft_p50_ms": "median time to the first token",
}


@dataclass(frozen=True)
class Sentence:
    """One workload's answer. `answered`: at least one difference is real; `limit`: the SLO in
    words, which `text` says whole and `brief` leaves to what stands above it."""

    setup: tuple[str, ...]
    interface: str
    load: str
    load_title: str
    text: str
    brief: str
    limit: str
    answered: bool
    run_ids: tuple[str, ...]


def sentences(workloads: Iterable[Row], pairs: Iterable[Row]) -> list[Sentence]:
    """One sentence a workload, in the order of `workloads` (see reports/questions)."""
    by_workload: dict[tuple[Any, ...], list[Row]] = {}
    for row in workloads:
        by_workload.setdefault(tuple(row[name] for name in WORKLOAD), []).append(row)
    compared: dict[tuple[Any, ...], list[Row]] = {}
    for pair in pairs:
        compared.setdefault(tuple(pair[name] for name in WORKLOAD), []).append(pair)
    return [_sentence(stacks, compared.get(key, [])) for key, stacks in by_workload.items()]


def _sentence(stacks: Sequence[Row], pairs: Sequence[Row]) -> Sentence:
    first = stacks[0]
    told, answered = _told(stacks, pairs)
    limit, kept = _limit(stacks)
    return Sentence(
        setup=tuple(str(first[name]) for name in SETUP),
        interface=first["interface"],
        load=first["load"],
        load_title=first["load_title"],
        text=f"{told}. The limit, {limit}, is {kept}." if kept else f"{told}.",
        brief=f"{told}. The limit is {kept}." if kept else f"{told}.",
        limit=limit if kept else "",
        answered=answered,
        run_ids=tuple(sorted({run for row in stacks for run in row["run_ids"]})),
    )


def _told(stacks: Sequence[Row], pairs: Sequence[Row]) -> tuple[str, bool]:
    usable = [row for row in stacks if row["usable"]]
    titles = {row["stack"]: row["stack_title"] for row in stacks}
    if not usable:
        reasons: list[str] = [one for row in stacks for one in row["why_invalid"] or ()]
        why = sorted(set(reasons))
        return f"No answer: every trial is INVALID ({', '.join(why)})", False
    if len(usable) == 1:
        return f"No answer: only {usable[0]['stack_title']} was measured", False
    if not pairs:
        return f"No answer: {some(row['stack_title'] for row in usable)} {_apart(usable)}", False
    readable, others = _readable(pairs)
    clauses = _clauses(readable, titles, stacks[0]["unit"])
    if others:
        differ = sum(bool(pair["distinguishable"]) for pair in others)
        clauses.append(f"of {len(others):,} further pairs {differ:,} differ")
    missing = _missing(pairs, usable)
    if missing:
        clauses.append(f"{some(missing)} can't be compared: not on the same metric in one run")
    answered = any(pair["distinguishable"] for pair in pairs)
    careful = " (with care: some trials are DEGRADED)" if _degraded(pairs) else ""
    return ("" if answered else "No answer: ") + "; ".join(clauses) + careful, answered


def _readable(pairs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The pairs to tell one by one, and the others: where there are many, those of the best stack
    are told, the closest first."""
    if len(pairs) <= MOST_TOLD:
        return list(pairs), []
    wins = Counter(_better(pair) for pair in pairs if pair["distinguishable"])
    # Where none is better than another, the first one's.
    best = max(wins, key=lambda stack: (wins[stack], stack)) if wins else pairs[0]["stack_a"]
    near = sorted(pairs, key=lambda pair: (best not in _sides(pair), abs(math.log(pair["ratio"]))))
    return near[:CLOSEST], near[CLOSEST:]


def _sides(pair: Row) -> tuple[str, str]:
    return pair["stack_a"], pair["stack_b"]


def _better(pair: Row) -> str:
    more = pair["metric"] == "throughput_per_s"
    return pair["stack_a"] if (pair["ratio"] > 1) == more else pair["stack_b"]


def _clauses(pairs: Sequence[Row], titles: dict[str, str], unit: str) -> list[str]:
    """What the pairs say: differences, then ties, then what can't be told."""
    clauses: list[str] = []
    ties: list[Row] = []
    untold: list[Row] = []
    for pair in pairs:
        if pair["distinguishable"]:
            clauses.append(_difference(pair, titles, unit))
        else:
            (untold if pair["distinguishable"] is None else ties).append(pair)
    if ties:
        clauses += _tied(ties, titles)
    if untold:
        blocks = max(pair["blocks"] for pair in untold)
        clauses.append(
            f"{_listed(untold, titles)}: only {blocks} {'block' if blocks == 1 else 'blocks'}"
            " with both, too few to tell"
        )
    return clauses


def _apart(usable: Sequence[Row]) -> str:
    """Why there is no pair of these stacks."""
    if set[str].intersection(*(set(row["run_ids"]) for row in usable)):
        return "are not compared: their run has not ended, or has too few requests for the figure"
    return "were not measured in one run"


def _degraded(pairs: Sequence[Row]) -> bool:
    return any(pair["degraded"] and pair["distinguishable"] for pair in pairs)


def _difference(pair: Row, titles: dict[str, str], unit: str) -> str:
    """The pair with the larger figure first, so that the ratio is above 1."""
    a, b = titles[pair["stack_a"]], titles[pair["stack_b"]]
    low, high = pair["ratio_low"], pair["ratio_high"]
    if pair["ratio"] < 1:
        a, b, low, high = b, a, 1 / high, 1 / low
    if pair["metric"] == "throughput_per_s":
        return f"{a} serves {span(low, high)} {b}'s {unit} per second"
    return f"{a}'s {TIMES[pair['metric']]} is {span(low, high)} {b}'s"


def span(low: float, high: float) -> str:
    """A ratio's interval: 1.31–1.38×."""
    left, right = times(low), times(high)
    return f"{left}×" if left == right else f"{left}–{right}×"


def _tied(pairs: Sequence[Row], titles: dict[str, str]) -> list[str]:
    """The pairs in words: in one clause where each of the stacks ties with each other."""
    named = sorted({titles[pair[side]] for pair in pairs for side in ("stack_a", "stack_b")})
    if len(pairs) == len(list(combinations(named, 2))):
        return [f"{and_(named)} are not distinguishable"]
    one, *others = _pairs(pairs, titles)
    return [f"{one} are not distinguishable", *(f"nor are {other}" for other in others)]


def _listed(pairs: Sequence[Row], titles: dict[str, str]) -> str:
    return ", ".join(_pairs(pairs, titles))


def _pairs(pairs: Sequence[Row], titles: dict[str, str]) -> list[str]:
    return [f"{titles[pair['stack_a']]} and {titles[pair['stack_b']]}" for pair in pairs]


def _missing(pairs: Sequence[Row], usable: Sequence[Row]) -> list[str]:
    seen = {pair[side] for pair in pairs for side in ("stack_a", "stack_b")}
    return [row["stack_title"] for row in usable if row["stack"] not in seen]


def _limit(stacks: Sequence[Row]) -> tuple[str, str]:
    """The SLO, and who held it in every usable trial, in words; empty where none applies."""
    judged = [row for row in stacks if row["slo_held"] is not None]
    slo: Row = judged[0]["slo"] if judged else {}
    names = {"latency_ms": "latency", "ttft_ms": "first token", "tpot_ms": "token interval"}
    limits = [f"{title} ≤ {slo[name]:,g} ms" for name, title in names.items() if slo.get(name)]
    if not limits or slo["share"] is None:
        return "", ""
    held = [row["stack_title"] for row in judged if row["slo_held"]]
    missed = [
        f"{row['stack_title']} ({_share(row['goodput'], slo['share'])})"
        for row in judged
        if not row["slo_held"] and row["goodput"] is not None
    ]
    told = [f"held by {some(held)}"] if held else []
    told += [f"missed by {some(missed)}"] if missed else []
    wanted = f"{' and '.join(limits)} for {100 * slo['share']:.0f}% of requests"
    return wanted, " and ".join(told)


def _share(goodput: float, wanted: float) -> str:
    """What did meet it. The limit must hold in every block, so a mean above it can still miss."""
    if goodput >= wanted:
        return f"{100 * goodput:.0f}% on average, not in every block"
    # A near miss must not be rounded up to a hit.
    return f"{100 * goodput:.0f}%" if wanted - goodput > 0.005 else f"{1000 * goodput // 1 / 10}%"


def and_(words: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = list(words)
    return f"{', '.join(most)} and {last}" if most else last


def some(words: Iterable[str]) -> str:
    """a, b and c; of many the first ones, and how many more."""
    every = list(words)
    more = len(every) - FEW
    return and_(every) if more <= 1 else and_([*every[:FEW], f"{more:,} more"])
