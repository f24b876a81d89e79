"""An earlier run that is gone on with or repeated: what it was started with, and what it found."""

import os
from collections.abc import Mapping
from typing import Any

from bench.cpus import CpuSplit, format_cpus
from bench.errors import UserError
from bench.folders import find_groups
from bench.paths import results_dir
from bench.settings import Settings, read_settings
from bench.store import read_json
from bench.toml_files import did_you_mean

# The variables that a run was started with, by their field in Settings.
FIELDS = {
    "GROUP": "group",
    "STACK": "stack",
    "INTERFACE": "interface",
    "MODEL": "model",
    "PRECISION": "precision",
    "PROFILE": "profile",
    "DEVICE": "device",
    "RUNTIME": "runtime",
    "WEIGHTS": "weights",
    "DURATION": "duration_s",
    "BASE": "base",
    "CONTAINER_FLAGS": "container_flags",
}


def find_run(run_id: str) -> dict[str, Any]:
    """The run.json of RUN. Raises UserError for one that isn't there."""
    facts = read_json(results_dir() / run_id / "run.json")
    if facts is None:
        known = sorted(f.parent.name for f in results_dir().glob("*/run.json"))
        hint = did_you_mean(run_id, known) if known else "there are no results yet"
        raise UserError(f"RUN={run_id}: no such run in {results_dir()}, {hint}")
    return facts


def resumed(run_id: str) -> tuple[Settings, dict[str, Any]]:
    """The settings an earlier run was started with, and its facts.

    Raises UserError for a run that isn't there, or a variable set now that says something else.
    """
    facts = find_run(run_id)
    # What `auto` became then; models that became different things are told apart by digest.
    groups = facts["groups"].values()
    weights = {artefact["weights"] for group in groups for artefact in group["artefacts"].values()}
    saved: dict[str, Any] = {**facts["settings"], "run": run_id, "device": facts["device"]}
    if len(weights) == 1:
        saved["weights"] = weights.pop()
    then = Settings(**saved)
    refuse_contradiction(then, os.environ)
    return then, facts


def refuse_contradiction(then: Settings, environ: Mapping[str, str]) -> None:
    """Raise UserError for a variable that is set and is not what the run was started with."""
    now = read_settings(environ)
    for name, field in FIELDS.items():
        was, asked = getattr(then, field), getattr(now, field)
        if not environ.get(name) or asked == "auto" or meant(name, asked) == meant(name, was):
            continue
        said = f"{was:g}" if isinstance(was, float) else was
        began = "without it" if was is None else f"with {name}={said}"
        raise UserError(
            f"{name}={environ[name]}: run {then.run} was started {began}: leave it out, "
            "or leave RUN out to start another run"
        )


def meant(name: str, value: Any) -> Any:
    """A value without the different ways to write it."""
    if name == "GROUP" and value:
        return [folder.name for folder in find_groups(value)]
    if name == "STACK" and value:
        return {one.split("/")[-1] for one in value.split(",")}
    return value


def recorded_cpus(facts: Mapping[str, Any]) -> CpuSplit:
    """The CPUs of both sides as run.json has them."""
    return CpuSplit(tuple(facts["server_cpus"]), tuple(facts["client_cpus"]), facts["shared_cpus"])


def same_cpus(facts: Mapping[str, Any], here: CpuSplit) -> CpuSplit:
    """The CPUs a run goes on with. Raises UserError where other ones are asked for."""
    then = recorded_cpus(facts)
    for name, was, asked in (
        ("SERVER_CPUS", then.server, here.server),
        ("CLIENT_CPUS", then.client, here.client),
    ):
        if os.environ.get(name) and was != asked:
            raise UserError(
                f"{name}={os.environ[name]}: run {facts['run_id']} has "
                f"{name}={format_cpus(was)}: leave it out, or leave RUN out to start another run"
            )
    return then
