"""A group's blocks: time the bare engines, fix the rates, serve each start, write its rows."""

from collections.abc import Sequence
from typing import Any

from bench import table
from bench.engines import Ceiling, combinations, time_engine
from bench.errors import StackFailed
from bench.estimate import engine_s, start_s, trial_s, trials_s
from bench.group import Load
from bench.install import at_precision, prepare, server_variables
from bench.plan import Start, Trial, offered_rate
from bench.progress import Reporter
from bench.recorder import Recorder
from bench.rows import trial_record
from bench.server import run_mark
from bench.session import run_start
from bench.setup import Part, Run, unmeasured
from bench.store import read_json, write_json
from bench.trial import Bench
from bench.verdict import Verdict, conclude


def time_engines(part: Part, run: Run, model: str, block: int, report: Reporter) -> list[Ceiling]:
    """The engines' ceilings for one model in one block.

    One that can't costs its own ceilings only: it is told, and the others go on.
    """
    ceilings: list[Ceiling] = []
    artefact = part.artefacts[model]
    wanted = part.wanted_of_engines(model)
    for engine, env in part.engines.values():
        for precision, payload_set in combinations(engine, wanted):
            what = ", ".join(filter(None, (f"{engine.id}, {model}", precision, payload_set)))
            report.step(f"bare engine {what}, block {block}")
            variables = server_variables(
                artefact, run.device, len(run.cpus.server), precision, None
            )
            variables["PAYLOADS_DIR"] = str(part.group.folder / "payloads")
            try:
                best = time_engine(
                    *(engine, env, variables, precision, payload_set, run.cpus.server),
                    *(part.profile.engine_s, run_mark(run.id)),
                )
            except StackFailed as failed:
                report.note(f"bare engine {what}: {failed}")
                break  # the first is the main one: without it the others say little
            finally:
                report.spent(engine_s(engine, part.profile))
            ceilings.append(best)
            report.note(
                f"bare engine {what}: {best.throughput_per_s:.1f} {part.group.unit}/s "
                f"at batch {best.batch_size}"
            )
    return ceilings


def ceiling_for(
    ceilings: Sequence[Ceiling], engine: str | None, precision: str, load: Load
) -> float | None:
    """What an engine did with a load's payloads at this precision; None if it wasn't asked."""
    return next(
        (
            one.throughput_per_s
            for one in ceilings
            if (one.engine, one.precision, one.payload_set) == (engine, precision, load.payloads)
        ),
        None,
    )


def highest_for(part: Part, ceilings: Sequence[Ceiling], load: Load) -> float:
    """The most payloads per second that an engine finished at its main precision, of those that the
    load sends or, where none was timed on these, of the main set.
    """
    main = [c for c in ceilings if c.precision == part.engines[c.engine][0].precisions[0]]
    own = [c for c in main if c.payload_set == load.payloads]
    return max(c.requests_per_s for c in own or [c for c in main if c.payload_set is None])


def fix_rates(
    part: Part, recorder: Recorder, model: str, ceilings: Sequence[Ceiling], report: Reporter
) -> dict[str, float | None]:
    """The run's open rates by load, fixed by its first ceilings and kept in run.json.

    Empty as long as no engine could be timed: there is nothing to take a share of.
    """
    known = recorder.facts["groups"][part.group.id]["rates"]
    if model not in known:
        if not ceilings:
            return {}
        offered = {
            load.name: offered_rate(load, highest_for(part, ceilings, load))
            for load in part.group.loads.values()
        }
        known[model] = {name: rate for name, rate in offered.items() if rate is not None}
        recorder.save_facts()
        mine = [t for start in part.starts if start.model == model for t in start.trials]
        asked = (part, mine, recorder.run.device)
        report.extend(trials_s(*asked, known[model]) - trials_s(*asked, {}))
    return known[model]


def measure_start(
    part: Part,
    run: Run,
    recorder: Recorder,
    start: Start,
    ceilings: Sequence[Ceiling],
    report: Reporter,
) -> None:
    """Serve one start's missing trials and write their rows."""
    group, profile = part.group, part.profile
    installed = at_precision(part.installed[start.stack], start.precision)
    artefact = part.artefacts[start.model]
    rates = fix_rates(part, recorder, start.model, ceilings, report)

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
        return
    run_start(
        bench,
        installed,
        artefact,
        variables,
        start,
        {load.name: rates.get(load.name) for load in group.loads.values()},
        {
            load.name: ceiling_for(ceilings, installed.stack.engine, start.precision, load)
            for load in group.loads.values()
        },
        todo,
        report,
        save,
        save_start,
        condemn,
    )
    report.spent(start_s(part, start, run.device))


def measure_part(part: Part, run: Run, recorder: Recorder, report: Reporter) -> None:
    """All blocks of one group."""
    stored = recorder.facts["groups"][part.group.id]["engines"]
    ceilings: dict[tuple[int, str], list[Ceiling]] = {}
    for start in part.starts:
        if recorder.complete(start):
            continue
        key = (start.block, start.model)
        if key not in ceilings:
            ceilings[key] = time_engines(part, run, start.model, start.block, report)
            stored += [
                {"model": start.model, "block": start.block, **vars(ceiling)}
                for ceiling in ceilings[key]
            ]
            recorder.save_facts()
        measure_start(part, run, recorder, start, ceilings[key], report)
        recorder.save_facts()
