"""Ask a running server one thing at a time, and hold its answers against the reference."""

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.artefact import Artefact, Payload
from bench.generator import make_plan, read_answers, run_k6
from bench.parity import Parity, check
from bench.server import Running
from bench.trial import Bench

# After the trials this many probes are asked again: what changes a server's answers changes many.
REPEATED_PROBES = 8


@dataclass(frozen=True)
class Gate:
    """The parity gate's outcome on one interface, and what its first request took."""

    parity: Parity
    first_request_ms: float | None
    later_request_ms: float | None


@dataclass(frozen=True)
class Asked:
    """What came of asking: k6's answers and its raw records as text, each in the order of asking.

    There may be fewer than were asked, if k6 was cut off.
    """

    answers: list[dict[str, Any]]
    records: list[dict[str, str]]


def ask(
    bench: Bench,
    running: Running,
    artefact: Artefact,
    interface: str,
    payloads: Sequence[Payload],
    folder: Path,
) -> Asked:
    """Send these payloads in this order, one by one, through the stack's own k6.js.

    One payload may come several times. Raises StackFailed if k6 or the server ends.
    """
    plan = make_plan(
        mode="check",
        group=bench.group,
        artefact=artefact,
        payloads=payloads,
        running=running,
        interface=interface,
        load={"kind": "closed", "users": 1},
        client_batch=1,
        seed=0,
        warmup_s=0,
        window_s=0,
        timeout_s=bench.profile.timeout_s,
        folder=folder,
    )
    folder.mkdir(parents=True, exist_ok=True)
    Path(plan["answers"]).unlink(missing_ok=True)
    run_k6(
        bench.k6,
        running.stack,
        plan,
        bench.cpus.client,
        folder,
        running.mark,
        keep_going=running.alive,
    )
    return Asked(read_answers(Path(plan["answers"])), read_records(Path(plan["records"])))


def read_records(file: Path) -> list[dict[str, str]]:
    """A check run's raw records in the order of asking."""
    try:
        with file.open(newline="") as stream:
            return sorted(csv.DictReader(stream), key=lambda row: int(row["slot"]))
    except OSError:
        return []


def latency_ms(record: dict[str, str]) -> float | None:
    """From the moment the user was free to the last byte; None if there was no right answer."""
    if record["ok"] != "true" or record["done_ns"] in ("", "0"):
        return None
    return (int(record["done_ns"]) - int(record["intended_ns"])) / 1e6


def probes(payloads: Sequence[Payload]) -> list[Payload]:
    """The payloads that the gate compares."""
    return [payload for payload in payloads if payload.probe]


def repeated(every: list[Payload]) -> list[Payload]:
    """Those of the probes that are asked again after the trials, evenly spread."""
    return every[:: -(-len(every) // REPEATED_PROBES)] if every else []


def pass_gate(
    bench: Bench, running: Running, artefact: Artefact, interface: str, folder: Path
) -> Gate:
    """Send the probe set through the stack's own k6.js and compare. Raises StackFailed."""
    sent = probes(bench.payloads)
    asked = ask(bench, running, artefact, interface, sent, folder)
    parity = compare(asked.answers, bench, running, artefact, sent)
    times = [ms for record in asked.records if (ms := latency_ms(record)) is not None]
    return Gate(
        parity,
        times[0] if times else None,
        statistics.median(times[1:]) if len(times) > 2 else None,
    )


def pass_again(
    bench: Bench, running: Running, artefact: Artefact, interface: str, folder: Path
) -> Parity:
    """The gate once more, after the trials, with a part of the probe set. Raises StackFailed."""
    sent = repeated(probes(bench.payloads))
    asked = ask(bench, running, artefact, interface, sent, folder)
    return compare(asked.answers, bench, running, artefact, sent)


def compare(
    answers: Sequence[dict[str, Any]],
    bench: Bench,
    running: Running,
    artefact: Artefact,
    payloads: Sequence[Payload],
) -> Parity:
    """Hold the answers to these payloads against the artefact's reference outputs."""
    return check(
        answers,
        artefact.reference,
        [payload.name for payload in payloads],
        bench.group.parity,
        running.stack.precision,
    )
