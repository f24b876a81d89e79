"""The variables that every target knows, read from the environment and checked."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from bench import gpu
from bench.errors import UserError
from bench.toml_files import did_you_mean

CHOICES = {
    "DEVICE": ("auto", "cpu", "cuda"),
    "RUNTIME": ("native", "container", "ambient"),
    "WEIGHTS": ("auto", "pretrained", "random"),
}

VARIABLES = {
    "GROUP": "a group's number or folder name; default: all groups",
    "STACK": "a stack's folder name, or <group>/<stack>; several with commas; default: all",
    "INTERFACE": "only this interface (rest, grpc, sse, …); default: all a stack offers",
    "MODEL": "only this model of the group; default: all that the profile asks for",
    "PRECISION": "only this precision (fp32, int8, …); default: all that the profile asks for",
    "PROFILE": "smoke (minutes), standard (3 blocks), publish (≥ 5 blocks), or a group's own",
    "DEVICE": "auto, cpu or cuda; auto is cuda if there is one",
    "RUNTIME": "native (processes), container, or ambient (the Python that is already there)",
    "WEIGHTS": "auto, pretrained or random; auto is pretrained where the hub is reachable",
    "SERVER_CPUS": "CPUs of the server, as 0-1,4; default: half of the cores",
    "CLIENT_CPUS": "CPUs of generator, runner and samplers; default: the other half",
    "RUN": "continue this run; or the run that replay, recompute and other targets act on",
    "DURATION": "seconds of each measured window, instead of the profile's",
    "BASE": "base image of one STACK's container, instead of its Dockerfile's own",
    "CONTAINER_FLAGS": "further words for the engine's `run`, like --memory=2g",
    "RESULTS": "the results folder; default: results/",
}


# What is never written down. TOKENS are of text.
SECRET = re.compile("TOKEN(?!S)|KEY|SECRET|PASSW|CREDENTIAL")


@dataclass(frozen=True)
class Settings:
    """What was asked for. Resolved means: what `auto` became."""

    group: str | None
    stack: str | None
    interface: str | None
    model: str | None
    profile: str
    device: str
    runtime: str
    weights: str
    run: str | None
    duration_s: float | None
    precision: str | None = None
    base: str | None = None
    container_flags: str | None = None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the variables. Raises UserError naming the variable and what it may be."""
    values: dict[str, str] = {}
    for name, choices in CHOICES.items():
        value = environ.get(name) or choices[0]
        if value not in choices:
            raise UserError(f"{name}={value}: {did_you_mean(value, list(choices))}")
        values[name] = value
    duration: float | None = None
    if text := environ.get("DURATION"):
        try:
            duration = float(text)
        except ValueError:
            duration = 0.0
        if not 0 < duration < 86_400:
            raise UserError(f"DURATION={text}: give the seconds of a measured window, like 10")
    flags = environ.get("CONTAINER_FLAGS") or None
    try:
        words = shlex.split(flags or "")
    except ValueError as error:
        raise UserError(f"CONTAINER_FLAGS={flags}: {error}") from None
    for word in words:
        name, given, _ = word.removeprefix("--env=").removeprefix("-e").partition("=")
        if given and SECRET.search(name):
            raise UserError(
                f"CONTAINER_FLAGS: the value of {name} would be written to run.json: leave it out, "
                f"as in -e {name}, and set {name} in the environment"
            )
    if "://" in (results := environ.get("RESULTS") or ""):
        raise UserError(
            f"RESULTS={results}: measurements are written to a folder; "
            "only query, sql, export, report and compare can read there"
        )
    return Settings(
        group=environ.get("GROUP") or None,
        stack=environ.get("STACK") or None,
        interface=environ.get("INTERFACE") or None,
        model=environ.get("MODEL") or None,
        profile=environ.get("PROFILE") or "smoke",
        device=values["DEVICE"],
        runtime=values["RUNTIME"],
        weights=values["WEIGHTS"],
        run=environ.get("RUN") or None,
        duration_s=duration,
        precision=environ.get("PRECISION") or None,
        base=environ.get("BASE") or None,
        container_flags=flags,
    )


def resolve_device(wanted: str) -> str:
    """What DEVICE=auto is on this machine: never a GPU that the locks' CUDA can't run on.

    Raises UserError if cuda was asked for in vain.
    """
    if wanted == "cpu":
        return "cpu"
    found = bool(gpu.handles())
    if wanted == "cuda" and not found:
        raise UserError("DEVICE=cuda: NVML finds no GPU here; use DEVICE=cpu or install the driver")
    return "cuda" if found and (wanted == "cuda" or not gpu.outdated_driver()) else "cpu"
