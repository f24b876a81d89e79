"""Set a run up: what was selected, the artefacts, the environments of engines and stacks."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.artefact import Artefact, Payload, ensure_artefact, read_payloads
from bench.cpus import CpuSplit
from bench.environments import ensure_environment
from bench.errors import StackFailed, StackSkipped, UserError
from bench.folders import engine_folders, find_groups, find_stacks
from bench.group import Group, Profile, load_group
from bench.install import Installed, install
from bench.plan import Start, make_starts
from bench.progress import Reporter
from bench.settings import Settings
from bench.stack import Engine, Stack, load_engine, load_stack
from bench.toml_files import did_you_mean


@dataclass
class Part:
    """One group's share of a run, set up and ready to be measured."""

    group: Group
    profile: Profile
    models: tuple[str, ...]
    payloads: list[Payload]
    artefacts: dict[str, Artefact]
    engines: dict[str, tuple[Engine, Path | None]]
    installed: dict[str, Installed]
    starts: list[Start]
    stack_rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def wanted_of_engines(self, model: str) -> set[tuple[str, str | None]]:
        """The (precision, set of payloads) that the trials of a model are measured with."""
        return {
            (start.precision, self.group.loads[trial.load].payloads)
            for start in self.starts
            if start.model == model
            for trial in start.trials
        }


@dataclass(frozen=True)
class Run:
    """What is fixed for a run, also when it is resumed."""

    id: str
    folder: Path
    settings: Settings
    device: str
    seed: int
    cpus: CpuSplit
    k6: Path


def new_run_id() -> str:
    """A name that sorts by time and that two machines won't both choose."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def select(settings: Settings, device: str) -> list[tuple[Group, Profile, list[Stack]]]:
    """The groups, their profile and stacks that the settings mean on a device. Raises UserError."""
    folders = find_groups(settings.group)
    if not folders:
        raise UserError("there is no group below groups/")
    stacks = [load_stack(f, device) for f in find_stacks(folders, settings.stack)]
    if settings.interface:
        known = {interface.name for stack in stacks for interface in stack.interfaces}
        if settings.interface not in known:
            hint = did_you_mean(settings.interface, sorted(known))
            raise UserError(f"INTERFACE={settings.interface}: no selected stack has it, {hint}")
        stacks = [s for s in stacks if settings.interface in (i.name for i in s.interfaces)]
    if settings.base and len(stacks) != 1:
        raise UserError(f"BASE={settings.base}: name the one stack with STACK=<group>/<stack>")
    chosen = {
        folder: [stack for stack in stacks if stack.folder.parent == folder]
        for folder in folders
        if any(stack.folder.parent == folder for stack in stacks)
    }
    groups = [(load_group(folder), mine) for folder, mine in chosen.items()]
    check_offers(settings, groups)
    return [(group, profile_of(group, settings), mine) for group, mine in groups]


def check_offers(settings: Settings, groups: Sequence[tuple[Group, list[Stack]]]) -> None:
    """Raise UserError where a group lacks the PROFILE, MODEL or PRECISION that is asked for."""
    for variable, asked, offers in (
        ("PROFILE", settings.profile, {g.id: list(g.profiles) for g, _ in groups}),
        ("MODEL", settings.model, {g.id: list(g.models) for g, _ in groups}),
        (
            "PRECISION",
            settings.precision,
            {g.id: sorted({p for s in stacks for p in s.precisions}) for g, stacks in groups},
        ),
    ):
        if asked is None:
            continue
        having = [group for group, names in offers.items() if asked in names]
        lacking = [group for group in offers if group not in having]
        if lacking and having:
            raise UserError(
                f"{variable}={asked}: {lacking[0]} has none of that name, {having[0]} has: "
                f"add GROUP={having[0]}"
            )
        if lacking:
            known = sorted({name for names in offers.values() for name in names})
            hint = did_you_mean(asked, known)
            raise UserError(
                f"{variable}={asked}: {', '.join(lacking)} has none of that name, {hint}"
            )


def profile_of(group: Group, settings: Settings) -> Profile:
    """PROFILE, its window as long as DURATION says."""
    profile = group.profiles[settings.profile]
    return replace(profile, window_s=settings.duration_s) if settings.duration_s else profile


def as_then(
    selected: Sequence[tuple[Group, Profile, list[Stack]]], facts: Mapping[str, Any]
) -> list[tuple[Group, Profile, list[Stack]]]:
    """Of what is selected, what an earlier run measured: a stack added since would change its
    order."""
    return [
        (group, profile, [one for one in stacks if one.id in facts["groups"][group.id]["versions"]])
        for group, profile, stacks in selected
        if group.id in facts["groups"]
    ]


def models_of(group: Group, profile: Profile, settings: Settings) -> tuple[str, ...]:
    """The models a run measures: MODEL, or the first and, if the profile asks, the others."""
    if settings.model:
        return (settings.model,)
    return group.models if profile.further_models else group.models[:1]


def set_up(
    group: Group,
    profile: Profile,
    stacks: Sequence[Stack],
    run: Run,
    report: Reporter,
) -> Part:
    """Build the artefacts and install the engines and stacks of one group.

    A stack that can't be installed gets its rows and the others go on. Raises StackFailed if the
    artefact itself can't be built.
    """
    settings = run.settings
    models = models_of(group, profile, settings)
    payloads = read_payloads(group)
    ambient = settings.runtime == "ambient"
    artefacts = {
        m: ensure_artefact(group, m, settings.weights, report, ambient=ambient) for m in models
    }
    part = Part(group, profile, models, payloads, artefacts, {}, {}, [])
    for named in stacks:
        stack = replace(named, interfaces=tuple(i for i in named.interfaces if not i.skip))
        for interface in named.interfaces:
            if interface.skip and settings.interface in (None, interface.name):
                alone = replace(named, interfaces=(interface,))
                part.stack_rows += unmeasured(alone, models, "skipped", interface.skip, None)
        try:
            part.installed[stack.id] = install(stack, run.device, settings, report)
        except StackSkipped as skipped:
            fix = f"; to change that: {skipped.fix}" if skipped.fix else ""
            report.note(f"skipping {group.id}/{stack.id}: {skipped}{fix}")
            part.stack_rows += unmeasured(stack, models, "skipped", str(skipped), skipped.fix)
        except StackFailed as failed:
            report.note(f"{group.id}/{stack.id} could not be installed: {failed}")
            part.stack_rows += unmeasured(stack, models, "failed", str(failed), None)
    wanted = {installed.stack.engine for installed in part.installed.values()}
    for folder in engine_folders(group.folder):
        if folder.name in wanted:
            engine = load_engine(folder, run.device)
            env = None if ambient else ensure_environment(folder, run.device, report)
            part.engines[engine.id] = (engine, env)
    usable = [installed.stack for installed in part.installed.values()]
    part.starts = make_starts(
        group, usable, profile, models, run.seed, settings.interface, settings.precision
    )
    return part


def unmeasured(
    stack: Stack, models: Sequence[str], status: str, reason: str, fix: str | None
) -> list[dict[str, Any]]:
    """Stack rows for one that never started: one an interface and model."""
    return [
        {
            "stack": stack.id,
            "model": model,
            "interface": interface.name,
            "block": None,
            "status": status,
            "reason": reason,
            "fix": fix,
            "precision": stack.precision,
        }
        for model in models
        for interface in stack.interfaces
    ]
