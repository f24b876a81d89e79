"""The story of a run: set up, plan, measure block by block, tell what came of it."""

import os
import random
from collections.abc import Sequence
from typing import Any

import metrics
from bench import inputs, provenance, table
from bench.blocks import measure_part
from bench.calibration import calibrate
from bench.cpus import CpuSplit, format_cpus
from bench.errors import StackFailed
from bench.estimate import calibration_s, part_s, waits_s
from bench.paths import results_dir
from bench.progress import Reporter, spell
from bench.recorder import Recorder
from bench.resume import resumed, same_cpus
from bench.settings import Settings, resolve_device
from bench.setup import Part, Run, as_then, new_run_id, select, set_up
from bench.side_by_side import print_side_by_side
from bench.store import read_json, write_json
from bench.tools import ensure_k6


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
    device = resolve_device(settings.device)
    selected = select(settings, device)
    if known:
        selected = as_then(selected, known)
        other = inputs.changed_sources(known, [group for group, *_ in selected])
        inputs.refuse_if(other, known, target)
    if earlier:
        cpus = same_cpus(earlier, cpus)
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
    recorder = Recorder(run, earlier or provenance.run_facts(run, parts))
    if again:
        recorder.facts["replay_of"] = again["run_id"]
        for group, facts in recorder.facts["groups"].items():
            facts["rates"] = again["groups"][group]["rates"]
    announce(run, recorder, parts, report)
    if recorder.facts["calibration"] is None:
        recorder.facts["calibration"] = calibrate(run.k6, cpus, report)
        report.spent(calibration_s())
    try:
        begin(recorder, parts)
        for part in parts:
            measure_part(part, run, recorder, report)
        finish(run, recorder, parts)
    except KeyboardInterrupt:
        report.note(f"stopping; continue with: make bench RUN={run.id}")
        raise
    except OSError as error:
        raise StackFailed(
            f"{error.strerror}: {error.filename or run.folder}; what was measured is whole. "
            f"Free some space and continue with: make bench RUN={run.id}"
        ) from None
    report.progress.stop()
    table.print_run(report.console, run.folder, recorder.facts)
    if replayed := recorder.facts.get("replay_of"):
        print_side_by_side(report.console, results_dir() / replayed, run.folder)
    return recorder.facts["exit_code"]


def announce(run: Run, recorder: Recorder, parts: Sequence[Part], report: Reporter) -> None:
    """Say what is going to be measured and about how long it takes."""
    seconds = 0.0 if recorder.facts["calibration"] else calibration_s()
    waits = 0.0
    trials = 0
    for part in parts:
        left = recorder.left(part.starts)
        seconds += part_s(part, left, run.device, recorder.facts["groups"][part.group.id]["rates"])
        waits += waits_s(part, left)
        trials += sum(map(len, left.values()))
    report.note(
        f"run {run.id}: {trials} trials on {run.device}, "
        f"server on CPU {format_cpus(run.cpus.server)}, "
        f"client on {format_cpus(run.cpus.client)}, about {spell(seconds)} "
        f"(up to {spell(waits)} more on a machine that is never quiet)"
    )
    for part in parts:
        report.note(table.plan_line(part.group.id, part.profile, part.starts))
    report.plan(seconds)


def begin(recorder: Recorder, parts: Sequence[Part]) -> None:
    """Write what is known before anything is measured: run.json, and why stacks are left out."""
    if any(recorder.left(part.starts) for part in parts):
        recorder.facts |= {"finished_at": None, "exit_code": None}
    recorder.save_facts()
    for part in parts:
        for row in part.stack_rows:
            recorder.save_stack(part, row)


def finish(run: Run, recorder: Recorder, parts: Sequence[Part]) -> None:
    """Compute the comparisons and close run.json."""
    rows = [
        row
        for part in parts
        for start in part.starts
        for trial in start.trials
        if (row := read_json(recorder.trial_file(trial)))
    ]
    write_json(run.folder / "comparisons.json", {"comparisons": metrics.compare(rows)})
    recorder.facts["finished_at"] = recorder.facts["finished_at"] or provenance.now()
    recorder.facts["exit_code"] = 0 if recorder.went_well(parts) else 3
    recorder.save_facts()
