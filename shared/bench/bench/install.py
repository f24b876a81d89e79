"""Make a stack ready to be started: prerequisites, environment, conversions from the artefact."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from bench.artefact import Artefact
from bench.commands import run_shown
from bench.config import Stack
from bench.digests import combined, file_digest, folder_digest
from bench.environments import (
    check_requirements,
    ensure_environment,
    environment_path,
    find_python,
    installed_version,
    lock_for,
    size_mb,
)
from bench.errors import StackFailed, StackSkipped
from bench.paths import BUILD
from bench.progress import Reporter
from bench.server import environment_for
from bench.toml_files import where


@dataclass(frozen=True)
class Installed:
    """A stack that can be started. `env` is None under RUNTIME=ambient."""

    stack: Stack
    env: Path | None
    version: str | None
    lock_sha256: str | None
    install_mb: float | None


def install(stack: Stack, device: str, runtime: str, report: Reporter) -> Installed:
    """Install a stack. Raises StackSkipped if it can't run here, StackFailed if that goes wrong."""
    if stack.container_only:
        raise StackSkipped(
            f"it comes as a container only, and {no_containers()}",
            fix=f"run it by hand, as {where(stack.folder / 'README.md')} says",
        )
    if runtime == "container":
        raise StackSkipped(
            "RUNTIME=container is not supported by the runner yet", fix="use RUNTIME=native"
        )
    check_requirements(stack.requires, find_python(stack.python))
    if runtime == "ambient":
        return Installed(stack, None, installed_version(None, stack.server[device]), None, None)
    env = ensure_environment(stack.folder, device, report, stack.python)
    lock = lock_for(stack.folder, device)
    return Installed(
        stack,
        env,
        installed_version(env, stack.server[device]),
        file_digest(lock) if lock else None,
        size_mb(env),
    )


def no_containers() -> str:
    """Why no container can be measured on this machine."""
    if not any(shutil.which(engine) for engine in ("docker", "podman")):
        return "there is no container engine (docker, podman) here"
    return "the runner does not measure containers yet"


def why_not(stack: Stack, device: str, runtime: str) -> StackSkipped | None:
    """What `install` would skip this stack for, found out without installing anything."""
    try:
        if stack.container_only or runtime == "container":
            raise StackSkipped(f"it comes as a container only, and {no_containers()}")
        check_requirements(stack.requires, find_python(stack.python))
        if runtime == "native" and lock_for(stack.folder, device) is None:
            raise StackSkipped(f"no requirements.{device}.lock")
    except StackSkipped as skipped:
        return skipped
    return None


def is_installed(stack: Stack, device: str) -> bool:
    """Whether the stack's environment has been made."""
    return (environment_path(stack.folder, device) / "lock.stamp").exists()


def at_precision(installed: Installed, precision: str) -> Installed:
    """The same installation, to be started with one of the precisions it offers."""
    return replace(installed, stack=replace(installed.stack, precision=precision))


def server_variables(
    artefact: Artefact, device: str, threads: int, precision: str, prepared: Path | None
) -> dict[str, str]:
    """The variables of shared/README.md that do not depend on one start."""
    variables = {
        "MODEL_DIR": str(artefact.folder),
        "MODEL": artefact.model,
        "DEVICE": device,
        "THREADS": str(threads),
        "PRECISION": precision,
    }
    if prepared:
        variables["PREPARED_DIR"] = str(prepared)
    if device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


def prepare(
    installed: Installed, artefact: Artefact, device: str, threads: int, report: Reporter
) -> dict[str, str]:
    """Run the stack's conversion once a state of artefact, lock and sources.

    Returns the variables to start the server with. Raises StackFailed.
    """
    stack = installed.stack
    if not stack.prepare:
        return server_variables(artefact, device, threads, stack.precision, None)
    sources = [artefact.digest, installed.lock_sha256 or "", device, folder_digest(stack.folder)]
    key = combined([*sources, stack.precision])[:16]
    home = BUILD / "prepared" / stack.folder.parent.name / stack.id / key
    variables = server_variables(artefact, device, threads, stack.precision, home)
    if home.exists():
        return variables
    report.step(f"{stack.id}: converting {artefact.model} for it")
    building = home.with_name(f"{key}.partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    env = environment_for(installed.env, {**variables, "PREPARED_DIR": str(building)}, {})
    program = shutil.which(stack.prepare[0], path=env["PATH"])
    if program is None:
        raise StackFailed(f"there is no command {stack.prepare[0]!r} in its environment")
    run_shown(
        [program, *stack.prepare[1:]],
        cwd=stack.folder,
        env=env,
        show=lambda line: report.detail(f"{stack.id}: {line}"),
        what=f"preparing {where(stack.folder)}",
    )
    building.rename(home)
    return variables
