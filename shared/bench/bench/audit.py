"""The equal-work audit: does a server do less for what it was sent before?

Payloads that the manifest marks `audit` are held back from everything that a start sends until its
trials are over. Then one user sends them in the order of pairs.py.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from bench.artefact import Artefact
from bench.gate import ask, compare
from bench.pairs import EQUAL, pairs_needed, ratios, sequence
from bench.server import Running
from bench.trial import Bench

# Ordinary payloads before it all: they open the connection.
PRIMES = 4


@dataclass(frozen=True)
class Audit:
    """What was found. `ratio`: median over the pairs of repeated / first, None without a pair.

    `unequal`: why this is UNEQUAL_WORK. `parity_fault`: held-back payloads whose answers, the first
    time or later, differ from the reference.
    """

    ratio: float | None
    unequal: str | None
    parity_fault: str | None


def work_ns(record: dict[str, str]) -> int | None:
    """From the send to the first text-carrying chunk where something streams, else to the end.

    A cache of prefixes shows in the first chunk, one of answers in both. None: no right answer.
    """
    if record["ok"] != "true":
        return None
    return int(record["chunk_ns"].split(";")[0] or record["done_ns"]) - int(record["sent_ns"])


def judge_pairs(found: list[float]) -> str | None:
    """Why these ratios mean UNEQUAL_WORK, or None."""
    quicker = sum(ratio < EQUAL for ratio in found)
    needed = pairs_needed(len(found))
    if needed is None or quicker < needed:
        return None
    return (
        f"repeated payloads took {statistics.median(found):.2f} of the time of never-sent ones "
        f"({quicker} of {len(found)} below {EQUAL:g}): something caches"
    )


def audit(
    bench: Bench, running: Running, artefact: Artefact, interface: str, folder: Path
) -> Audit | None:
    """Audit a server whose trials are over; None where nothing was held back.

    Raises StackFailed if k6 or the server ends.
    """
    held = bench.held_back
    if not held:
        return None
    order = sequence(len(held))
    primes = [bench.payloads[i % len(bench.payloads)] for i in range(PRIMES)]
    asked = ask(bench, running, artefact, interface, [*primes, *(held[n] for n in order)], folder)
    answers = asked.answers[PRIMES:]
    # Of answers to the same payload the last one counts: once the first time's, once the latest.
    first = compare(answers[::-1], bench, running, artefact, held)
    again = compare(answers, bench, running, artefact, held)
    faults = [*first.faults, *again.faults]
    found = ratios(order, [work_ns(record) for record in asked.records[PRIMES:]])
    return Audit(
        ratio=statistics.median(found) if found else None,
        unequal=judge_pairs(found),
        parity_fault="; ".join(faults[:3]) or None,
    )
