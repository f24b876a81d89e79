"""The story of a run: set up, plan, measure block by block, tell what came of it."""

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import metrics
from bench import config, inputs, machine, provenance, table
from bench.calibration import calibrate
from bench.cpus import CpuSplit, format_cpus
from bench.engines import Ceiling, time_engine
from bench.errors import StackFailed, UserError
from bench.install import prepare, server_variables
from bench.machine import host_times
from bench.paths import results_dir
from bench.plan import START_S, Start, Trial, estimate_s, offered_rate, trial_s
from bench.progress import Reporter, spell
from bench.rows import stack_record, trial_record
from bench.server import run_mark
from bench.session import run_start
from bench.settings import Settings, resolve_device
from bench.setup import Part, Run, as_then, new_run_id, select, set_up, unmeasured
from bench.side_by_side import print_side_by_side
from bench.store import read_json, write_json
from bench.tools import ensure_k6
from bench.trial import Bench
from bench.verdict import Verdict, conclude


def time_engines(
    part: Part, run: Run, model: str, block: int, report: Reporter
) -> dict[str, Ceiling]:
    """Each engine's ceiling for one model in one block. Raises StackFailed."""
    ceilings: dict[str, Ceiling] = {}
    artefact = part.artefacts[model]
    for engine, env in part.engines.values():
        report.step(f"bare engine {engine.id}, {model}, block {block}")
        variables = server_variables(artefact, run.device, len(run.cpus.server), None)
        variables["PAYLOADS_DIR"] = str(part.group.folder / "payloads")
        ceilings[engine.id] = time_engine(
            engine, env, variables, run.cpus.server, part.profile.engine_s, run_mark(run.id)
        )
        best = ceilings[engine.id]
        report.note(
            f"bare engine {engine.id}: {best.throughput_per_s:.1f} {part.group.unit}/s "
            f"at batch {best.batch_size}"
        )
    return ceilings


class Recorder:
    """Writes a run's rows as they come; knows which trials are done."""

    def __init__(self, run: Run, facts: dict[str, Any]) -> None:
        self.run = run
        self.facts = facts

    def save_facts(self) -> None:
        """Write run.json."""
        write_json(self.run.folder / "run.json", self.facts)

    def trial_file(self, trial: Trial) -> Path:
        """Where a trial's row lies."""
        return self.run.folder / "trials" / f"{trial.id}.json"

    def done(self, trial: Trial) -> bool:
        """Whether a trial was measured already (a row without figures is tried again)."""
        row = read_json(self.trial_file(trial))
        return row is not None and "NOT_MEASURED" not in row.get("reasons", ["NOT_MEASURED"])

    def stack_file(self, group: str, stack: str, model: str, interface: str, block: int) -> Path:
        """Where a start's row for one interface lies."""
        name = f"{group.split('-')[0]}.{stack}.{model}.{interface}.b{block}.json"
        return self.run.folder / "stacks" / name

    def complete(self, start: Start) -> bool:
        """Whether a start's trials are done and were looked back on: only then it has a row."""
        return all(
            self.done(t)
            and self.stack_file(t.group_id, t.stack, t.model, t.interface, t.block).exists()
            for t in start.trials
        )

    def save_stack(self, part: Part, row: dict[str, Any]) -> None:
        """Write one stack row."""
        record = stack_record(self.run, part, row)
        keys = (row["stack"], row["model"], row["interface"], row["block"] or 0)
        write_json(self.stack_file(part.group.id, *keys), record)


def fix_rates(
    part: Part, recorder: Recorder, model: str, ceilings: dict[str, Ceiling], report: Reporter
) -> dict[str, float | None]:
    """The run's open rates by load, fixed by its first ceilings and kept in run.json.

    Empty as long as no engine could be timed: there is nothing to take a share of.
    """
    known = recorder.facts["groups"][part.group.id]["rates"]
    if model not in known:
        if not ceilings:
            return {}
        highest = max(ceiling.throughput_per_s for ceiling in ceilings.values())
        loads = part.group.loads.values()
        known[model] = {
            load.name: rate for load in loads if (rate := offered_rate(load, highest)) is not None
        }
        recorder.save_facts()
        mine = [start for start in part.starts if start.model == model]
        asked = (mine, part.group, part.profile, recorder.run.device)
        report.extend(estimate_s(*asked, known[model]) - estimate_s(*asked, {}))
    return known[model]


def measure_start(
    part: Part,
    run: Run,
    recorder: Recorder,
    start: Start,
    ceilings: dict[str, Ceiling],
    report: Reporter,
) -> bool:
    """Serve one start's missing trials and write their rows. Returns whether all went well."""
    group, profile = part.group, part.profile
    installed = part.installed[start.stack]
    artefact = part.artefacts[start.model]
    rates = fix_rates(part, recorder, start.model, ceilings, report)
    own = ceilings.get(installed.stack.engine or "")

    def write(trial: Trial, figures: dict[str, Any], verdict: Verdict, detail: str | None) -> None:
        row = trial_record(
            run, part, installed, artefact, trial, rates.get(trial.load), figures, verdict, detail
        )
        write_json(recorder.trial_file(trial), row)
        report.note(table.trial_line(row))

    def save(trial: Trial, figures: dict[str, Any], verdict: Verdict, detail: str | None) -> None:
        efficiency = figures.get("serving_efficiency")
        if efficiency is not None and efficiency > table.ENGINE_AT_FAULT:
            at_fault = f"serving efficiency {efficiency:.2f}: engine's run or window at fault"
            detail = f"{detail}; {at_fault}" if detail else at_fault
        write(trial, figures, verdict, detail)
        load = group.loads[trial.load]
        report.spent(trial_s(profile, group.slos[run.device], load, rates.get(trial.load)))

    def condemn(trials: list[Trial], code: str, why: str) -> None:
        for trial in trials:
            row = read_json(recorder.trial_file(trial))
            if row is not None and recorder.done(trial) and code not in row["reasons"]:
                detail = "; ".join(filter(None, (why, row["detail"])))
                path = {"search_path": row["search_path"]}
                write(trial, path, conclude({*row["reasons"], code}), detail)

    def save_start(interface: str, row: dict[str, Any]) -> None:
        recorder.save_stack(
            part, {**row, "model": start.model, "interface": interface, "block": start.block}
        )

    todo = tuple(trial for trial in start.trials if not recorder.done(trial))
    if recorder.complete(start):
        return True
    bench = Bench(
        group=group,
        profile=profile,
        payloads=[payload for payload in part.payloads if not payload.audit],
        held_back=[payload for payload in part.payloads if payload.audit],
        cpus=run.cpus,
        k6=run.k6,
        device=run.device,
        runtime=run.settings.runtime,
        raw=run.folder / "raw",
        mark=run_mark(run.id),
    )
    try:
        variables = prepare(installed, artefact, run.device, len(run.cpus.server), report)
    except StackFailed as failed:
        report.note(f"{start.stack}: {failed}")
        for trial in todo:
            save(trial, {}, conclude({"NOT_MEASURED"}), str(failed))
        for row in unmeasured(installed.stack, [start.model], "failed", str(failed), None):
            save_start(row["interface"], row)
        return False
    went_well = run_start(
        bench,
        installed,
        artefact,
        variables,
        start,
        {load.name: rates.get(load.name) for load in group.loads.values()},
        own.throughput_per_s if own else None,
        todo,
        report,
        save,
        save_start,
        condemn,
    )
    report.spent(START_S)
    return went_well


def measure_part(part: Part, run: Run, recorder: Recorder, report: Reporter) -> bool:
    """All blocks of one group. Returns whether every stack that can run here did."""
    went_well = not any(row["status"] == "failed" for row in part.stack_rows)
    for row in part.stack_rows:
        recorder.save_stack(part, row)
    stored = recorder.facts["groups"][part.group.id]["engines"]
    ceilings: dict[tuple[int, str], dict[str, Ceiling]] = {}
    for start in part.starts:
        if recorder.complete(start):
            continue
        key = (start.block, start.model)
        if key not in ceilings:
            try:
                ceilings[key] = time_engines(part, run, start.model, start.block, report)
            except StackFailed as failed:
                report.note(str(failed))
                ceilings[key], went_well = {}, False
            stored += [
                {"engine": name, "model": start.model, "block": start.block, **vars(ceiling)}
                for name, ceiling in ceilings[key].items()
            ]
            recorder.save_facts()
        went_well &= measure_start(part, run, recorder, start, ceilings[key], report)
    return went_well


def resumed(run_id: str) -> tuple[Settings, dict[str, Any]]:
    """The settings an earlier run was started with, and its facts. Raises UserError."""
    facts = read_json(results_dir() / run_id / "run.json")
    if facts is None:
        known = sorted(f.parent.name for f in results_dir().glob("*/run.json"))
        hint = config.did_you_mean(run_id, known) if known else "there are no results yet"
        raise UserError(f"RUN={run_id}: no such run below the results folder, {hint}")
    # What `auto` became then; models that became different things are told apart by digest.
    groups = facts["groups"].values()
    weights = {artefact["weights"] for group in groups for artefact in group["artefacts"].values()}
    saved: dict[str, Any] = {**facts["settings"], "run": run_id, "device": facts["device"]}
    if len(weights) == 1:
        saved["weights"] = weights.pop()
    return Settings(**saved), facts


def bench(
    settings: Settings, cpus: CpuSplit, report: Reporter, again: dict[str, Any] | None = None
) -> int:
    """Run it. Returns the exit code: 0 all that can run here was measured, 3 a stack failed.

    `again` is the run.json of a run that is to be repeated. Raises UserError if that, or a run
    that is continued, was made with something that is not here.
    """
    earlier: dict[str, Any] | None = None
    if settings.run:
        settings, earlier = resumed(settings.run)
    known, target = earlier or again, "bench" if earlier else "replay"
    selected = select(settings)
    if known:
        selected = as_then(selected, known)
        other = inputs.changed_sources(known, [group for group, *_ in selected])
        inputs.refuse_if(other, known, target)
    device = resolve_device(settings.device)
    if earlier:
        device = earlier["device"]
        cpus = CpuSplit(
            tuple(earlier["server_cpus"]), tuple(earlier["client_cpus"]), earlier["shared_cpus"]
        )
    k6 = ensure_k6(report)
    run_id = settings.run or new_run_id()
    run = Run(
        id=run_id,
        folder=results_dir() / run_id,
        settings=settings,
        device=device,
        seed=known["seed"] if known else random.SystemRandom().randrange(1, 10**6),
        cpus=cpus,
        k6=k6,
    )
    parts = [set_up(group, profile, stacks, run, report) for group, profile, stacks in selected]
    if known:
        other = [one for part in parts for one in inputs.changed_setup(known, part)]
        if again:
            other += inputs.changed_plan(again, parts)
        inputs.refuse_if(other, known, target)
    os.sched_setaffinity(0, cpus.client)
    seconds = sum(estimate_s(p.starts, p.group, p.profile, device, {}) for p in parts)
    trials = sum(len(start.trials) for part in parts for start in part.starts)
    report.note(
        f"run {run.id}: {trials} trials on {device}, server on CPU {format_cpus(cpus.server)}, "
        f"client on {format_cpus(cpus.client)}, about {spell(seconds)}"
    )
    for part in parts:
        report.note(table.plan_line(part.group.id, part.profile, part.starts))
    report.plan(seconds)
    recorder = Recorder(run, earlier or provenance.run_facts(run, parts))
    if again:
        recorder.facts["replay_of"] = again["run_id"]
        for group, facts in recorder.facts["groups"].items():
            facts["rates"] = again["groups"][group]["rates"]
    if recorder.facts["calibration"] is None:
        recorder.facts["calibration"] = calibrate(run.k6, cpus, report)
    recorder.save_facts()
    before = host_times()
    try:
        went_well = True
        for part in parts:
            went_well &= measure_part(part, run, recorder, report)
    except KeyboardInterrupt:
        report.note(f"stopping; continue with: make bench RUN={run.id}")
        raise
    except OSError as error:
        raise StackFailed(
            f"{error.strerror}: {error.filename or run.folder}; what was measured is whole. "
            f"Free some space and continue with: make bench RUN={run.id}"
        ) from None
    finish(run, recorder, parts, before, went_well)
    report.progress.stop()
    table.print_run(report.console, run.folder, recorder.facts)
    if replayed := recorder.facts.get("replay_of"):
        print_side_by_side(report.console, results_dir() / replayed, run.folder)
    return 0 if went_well else 3


def finish(
    run: Run, recorder: Recorder, parts: Sequence[Part], before: machine.HostTimes, well: bool
) -> None:
    """Compute the comparisons and close run.json."""
    rows = [
        row
        for part in parts
        for start in part.starts
        for trial in start.trials
        if (row := read_json(recorder.trial_file(trial)))
    ]
    write_json(run.folder / "comparisons.json", {"comparisons": metrics.compare(rows)})
    after = host_times()
    elapsed = max(1e-9, after.at - before.at) * (len(run.cpus.server) + len(run.cpus.client))
    recorder.facts["steal_share"] = (after.steal_s - before.steal_s) / elapsed
    recorder.facts["finished_at"] = provenance.now()
    recorder.facts["exit_code"] = 0 if well else 3
    recorder.save_facts()
