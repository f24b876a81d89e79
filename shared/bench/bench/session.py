"""One start of a stack: start → ready → first request → parity → trials → stop → stack rows."""

from collections.abc import Callable, Mapping
from typing import Any

import metrics
from bench import gpu, server
from bench.artefact import Artefact
from bench.audit import audit
from bench.device import wrong_device
from bench.errors import StackFailed
from bench.gate import pass_again, pass_gate
from bench.group import SCHEDULED, SEARCHES
from bench.install import Installed
from bench.plan import Start, Trial, variant_of
from bench.probing import search
from bench.progress import Reporter
from bench.quiet import wait_until_quiet
from bench.server import Running
from bench.stack import Stack
from bench.surroundings import read_machine
from bench.trial import Bench, measure
from bench.verdict import Verdict, conclude

Save = Callable[[Trial, dict[str, Any], Verdict, str | None], None]
SaveStart = Callable[[str, dict[str, Any]], None]
# Makes rows that are written already INVALID: which trials, the code, why.
Condemn = Callable[[list[Trial], str, str], None]


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
        "image": installed.image.name if installed.image else None,
        "image_id": installed.image.id if installed.image else None,
        **more,
    }


def quieten(bench: Bench, running: Running, report: Reporter) -> dict[str, str]:
    """Wait for a quiet machine before a trial. Returns what still disturbs it, by code."""
    meter, cpus = running.meter(), bench.cpus.both
    return wait_until_quiet(
        lambda: read_machine(meter.read().cpu_ns, gpu.handles(), running.processes, cpus),
        len(cpus),
        bench.profile.quiet_wait_s,
        report,
    )


def look_back(
    bench: Bench,
    running: Running,
    artefact: Artefact,
    start: Start,
    facts: dict[str, dict[str, Any]],
    report: Reporter,
    condemn: Condemn,
) -> None:
    """After the trials: the equal-work audit on the main interface, the parity gate again on all.

    What is found makes the rows of this start INVALID that it concerns. Raises StackFailed.
    """
    place = f"{running.stack.id}, block {start.block}"
    passed = [name for name, fact in facts.items() if "fault" not in fact]
    for name in passed:
        report.step(f"{place}: {name}: looking back: same answers, same work?")
        again = pass_again(bench, running, artefact, name, running.logs / f"parity-after-{name}")
        faults = "; ".join(again.faults[:3])
        if name == main_interface(running.stack, facts) and (
            found := audit(bench, running, artefact, name, running.logs / f"audit-{name}")
        ):
            facts[name]["repeat_ratio"] = found.ratio
            faults = faults or found.parity_fault or ""
            if found.unequal:
                condemn(list(start.trials), "UNEQUAL_WORK", found.unequal)
        if faults:
            facts[name]["fault"] = f"after the trials answers differ from the reference: {faults}"
            mine = [trial for trial in start.trials if trial.interface == name]
            condemn(mine, "PARITY_DRIFT", facts[name]["fault"])


def main_interface(stack: Stack, facts: Mapping[str, Any]) -> str:
    """The first of stack.toml's interfaces that this start serves."""
    return next(each.name for each in stack.interfaces if each.name in facts)


def run_start(
    bench: Bench,
    installed: Installed,
    artefact: Artefact,
    variables: Mapping[str, str],
    start: Start,
    rates: Mapping[str, float | None],
    engine_per_s: Mapping[str, float | None],
    todo: tuple[Trial, ...],
    report: Reporter,
    save: Save,
    save_start: SaveStart,
    condemn: Condemn,
) -> None:
    """Serve one start's trials; whatever happens has its rows.

    `rates` and `engine_per_s` (the ceiling of the stack's bare engine) are by load.
    """
    stack = installed.stack
    interfaces = list(dict.fromkeys(trial.interface for trial in start.trials))
    variant = variant_of(stack, stack.precision)
    logs = bench.raw / f"{stack.id}.{start.model}{variant}.b{start.block}"
    place = f"{stack.id}{variant.replace('.', ' ')}, block {start.block}"
    left = list(todo)
    facts: dict[str, dict[str, Any]] = {name: {} for name in interfaces}
    fault: str | None = None
    looked_back = False
    running: Running | None = None
    devices = gpu.handles()
    unused = gpu.read(devices).memory_bytes or 0
    try:
        report.step(f"{place}: starting")
        running = server.start(
            *(stack, installed.env, variables, bench.cpus.server, logs, bench.mark),
            installed.image,
        )
        ready_s = server.wait_ready(running)
        idle_mb = running.memory_bytes() / 1e6
        processes = len(running.processes())
        for name in interfaces:
            facts[name] = {"ready_s": ready_s, "memory_idle_mb": idle_mb, "processes": processes}
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
                facts[name]["fault"] = f"answers differ from the reference: {few}"
                facts[name]["code"] = "PARITY_DRIFT"
                report.note(f"{place}: {name}: {facts[name]['fault']}")
        grown = (gpu.read(devices).memory_bytes or 0) - unused
        holders = gpu.memory_by_process(devices)
        if why := wrong_device(bench.device, running.processes(), holders, grown):
            report.note(f"{place}: {why}")
            for fact in facts.values():
                fact |= {"fault": why, "code": "WRONG_DEVICE"}
        for trial in todo:
            load = bench.group.loads[trial.load]
            if why := facts[trial.interface].get("fault"):
                save(trial, {}, conclude({facts[trial.interface]["code"]}), why)
            elif load.kind in SCHEDULED and rates[trial.load] is None:
                why = "no bare engine could be timed, so there is no ceiling to take a share of"
                save(trial, {}, conclude({"NOT_MEASURED"}), why)
            else:
                before = quieten(bench, running, report)
                rate = rates[trial.load]
                report.step(f"{place}: {trial.interface}: {trial.load}")
                ask = search if load.kind in SEARCHES else measure
                figures, verdict = ask(
                    *(bench, running, artefact, trial, load, rate),
                    *(engine_per_s[trial.load], idle_mb, before),
                )
                save(trial, figures, verdict, verdict.detail)
            left.remove(trial)
        look_back(bench, running, artefact, start, facts, report, condemn)
        looked_back = True
    except StackFailed as failure:
        fault = str(failure)
    except (metrics.RecordsError, metrics.MetricsError) as failure:
        fault = f"its records give no figures: {failure}"
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
    if not left and not looked_back:
        condemn(list(start.trials), "NOT_MEASURED", f"its work could not be checked: {fault}")
    for name in interfaces:
        own_fault = facts[name].pop("fault", None)
        facts[name].pop("code", None)
        reason = fault or own_fault
        row = stack_row(installed, name, "failed" if reason else "measured", reason, **facts[name])
        save_start(name, row)
