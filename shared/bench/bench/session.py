"""One start of a stack: start → ready → first request → parity → trials → stop → stack rows."""

import csv
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import server
from bench.artefact import Artefact
from bench.config import SCHEDULED, SEARCHES
from bench.errors import StackFailed
from bench.generator import make_plan, read_answers, run_k6
from bench.install import Installed
from bench.parity import Parity, check
from bench.plan import Start, Trial
from bench.probing import search
from bench.processes import tree_pss_bytes
from bench.progress import Reporter
from bench.server import Running
from bench.trial import Bench, measure
from bench.verdict import Verdict, conclude

Save = Callable[[Trial, dict[str, Any], Verdict, str | None], None]
SaveStart = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Gate:
    """The parity gate's outcome on one interface, and what its first request took."""

    parity: Parity
    first_request_ms: float | None
    later_request_ms: float | None


def latencies_ms(records: Path) -> list[float]:
    """Latencies of a check run's requests in order; unanswered ones left out."""
    try:
        with records.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError:
        return []
    return [
        (int(row["done_ns"]) - int(row["intended_ns"])) / 1e6
        for row in rows
        if row.get("ok") in ("true", "1", "True") and row.get("done_ns")
    ]


def pass_gate(
    bench: Bench, running: Running, artefact: Artefact, interface: str, folder: Path
) -> Gate:
    """Send the probe set through the stack's own k6.js and compare. Raises StackFailed."""
    probes = [payload for payload in bench.payloads if payload.probe]
    plan = make_plan(
        mode="check",
        group=bench.group,
        artefact=artefact,
        payloads=probes,
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
    parity = check(
        read_answers(Path(plan["answers"])),
        artefact.reference,
        [payload.name for payload in probes],
        bench.group.parity,
        running.stack.precision,
    )
    times = latencies_ms(Path(plan["records"]))
    return Gate(
        parity,
        times[0] if times else None,
        statistics.median(times[1:]) if len(times) > 2 else None,
    )


def stack_row(
    installed: Installed, interface: str, status: str, reason: str | None, **more: Any
) -> dict[str, Any]:
    """One row of the view `stacks`, as far as this start knows it."""
    return {
        "stack": installed.stack.id,
        "interface": interface,
        "status": status,
        "reason": reason,
        "server_version": installed.version,
        "precision": installed.stack.precision,
        "install_mb": installed.install_mb,
        **more,
    }


def run_start(
    bench: Bench,
    installed: Installed,
    artefact: Artefact,
    variables: Mapping[str, str],
    start: Start,
    rates: Mapping[str, float | None],
    engine_per_s: float | None,
    todo: tuple[Trial, ...],
    report: Reporter,
    save: Save,
    save_start: SaveStart,
) -> bool:
    """Serve one start's trials. Returns whether all went well; whatever happened has its rows."""
    stack = installed.stack
    interfaces = list(dict.fromkeys(trial.interface for trial in start.trials))
    logs = bench.raw / f"{stack.id}.{start.model}.b{start.block}"
    place = f"{stack.id}, block {start.block}"
    left = list(todo)
    facts: dict[str, dict[str, Any]] = {name: {} for name in interfaces}
    fault: str | None = None
    running: Running | None = None
    try:
        report.step(f"{place}: starting")
        running = server.start(stack, installed.env, variables, bench.cpus.server, logs, bench.mark)
        ready_s = server.wait_ready(running)
        idle_mb = tree_pss_bytes(running.pid) / 1e6
        for name in interfaces:
            facts[name] = {"ready_s": ready_s, "memory_idle_mb": idle_mb}
        for name in interfaces:
            report.step(f"{place}: {name}: comparing its answers with the reference")
            gate = pass_gate(bench, running, artefact, name, logs / f"parity-{name}")
            facts[name] |= {
                "first_request_ms": gate.first_request_ms,
                "later_request_ms": gate.later_request_ms,
                "parity_drift": gate.parity.drift,
            }
            if not gate.parity.passed:
                few = "; ".join(gate.parity.faults[:3])
                facts[name]["parity_fault"] = f"answers differ from the reference: {few}"
                report.note(f"{place}: {name}: {facts[name]['parity_fault']}")
        for trial in todo:
            load = bench.group.loads[trial.load]
            if why := facts[trial.interface].get("parity_fault"):
                save(trial, {}, conclude({"PARITY_DRIFT"}), why)
            elif load.kind in SCHEDULED and rates[trial.load] is None:
                why = "no bare engine could be timed, so there is no ceiling to take a share of"
                save(trial, {}, conclude({"NOT_MEASURED"}), why)
            else:
                report.step(f"{place}: {trial.interface}: {trial.load}")
                ask = search if load.kind in SEARCHES else measure
                figures, verdict = ask(
                    bench, running, artefact, trial, load, rates[load.name], engine_per_s, idle_mb
                )
                save(trial, figures, verdict, figures.pop("detail", None))
            left.remove(trial)
    except StackFailed as failure:
        fault = str(failure)
    except OSError as failure:
        fault = f"{failure.strerror or failure}: {failure.filename or 'while writing'}"
    finally:
        if running is not None:
            going = server.stop(running)
            fault = fault or going
    if fault:
        report.note(f"{place}: {fault}")
    for trial in left:
        save(trial, {}, conclude({"NOT_MEASURED"}), fault)
    for name in interfaces:
        parity_fault = facts[name].pop("parity_fault", None)
        reason = fault or parity_fault
        row = stack_row(installed, name, "failed" if reason else "measured", reason, **facts[name])
        save_start(name, row)
    return fault is None and all("parity_fault" not in fact for fact in facts.values())
