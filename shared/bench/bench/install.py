"""Make a stack ready to be started: prerequisites, environment, conversions from the artefact."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.artefact import Artefact
from bench.commands import find_program, run_shown
from bench.containers import (
    Image,
    as_caller,
    environment_words,
    find_engine,
    flags_of,
    inside,
    once_words,
    remember,
)
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
from bench.images import ensure_image, version_in
from bench.paths import BUILD
from bench.progress import Reporter
from bench.server import environment_for, our_mark
from bench.settings import Settings
from bench.stack import Stack
from bench.toml_files import where


@dataclass(frozen=True)
class Installed:
    """A stack that can be started: from its environment (`env` is None under RUNTIME=ambient) or,
    under RUNTIME=container, from its image.
    """

    stack: Stack
    env: Path | None
    version: str | None
    lock_sha256: str | None
    install_mb: float | None
    image: Image | None = None


def install(stack: Stack, device: str, settings: Settings, report: Reporter) -> Installed:
    """Install a stack. Raises StackSkipped if it can't run here, StackFailed if that goes wrong."""
    runtime = settings.runtime
    if runtime == "container":
        return install_image(stack, device, settings, report)
    if stack.container_only:
        raise container_only(stack)
    check_requirements(stack.requires, find_python(stack.python), device)
    if runtime == "ambient":
        return Installed(stack, None, installed_version(None, stack.server[device]), None, None)
    env = ensure_environment(stack.folder, device, report, stack.python)
    return Installed(
        stack,
        env,
        installed_version(env, stack.server[device]),
        lock_digest(stack, device),
        size_mb(env),
    )


def install_image(stack: Stack, device: str, settings: Settings, report: Reporter) -> Installed:
    """`install` under RUNTIME=container: its image, built or pulled."""
    flags = flags_of(settings.container_flags)
    image = ensure_image(stack, device, report, settings.base, flags)
    remember(image.engine, our_mark())
    version = version_in(image, stack.server[device])
    return Installed(stack, None, version, lock_digest(stack, device), image.size_mb, image)


def lock_digest(stack: Stack, device: str) -> str | None:
    """SHA-256 of its lock for a device, if it has one."""
    lock = lock_for(stack.folder, device)
    return file_digest(lock) if lock else None


def container_only(stack: Stack) -> StackSkipped:
    """Why such a stack is not measured natively."""
    return StackSkipped(
        "it comes as a container only, and RUNTIME=container was not asked for",
        fix=f"make bench RUNTIME=container STACK={stack.folder.parent.name}/{stack.id}; "
        f"by hand: {where(stack.folder / 'README.md')}",
    )


def why_not(stack: Stack, device: str, runtime: str) -> StackSkipped | None:
    """What `install` would skip this stack for, as far as is known before anything is fetched."""
    try:
        if runtime == "container":
            find_engine()
            return None
        if stack.container_only:
            raise container_only(stack)
        check_requirements(stack.requires, find_python(stack.python), device)
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
    else:
        # A GPU's number means the same to CUDA as to NVML, which watches it.
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
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
    sources += [installed.image.id] if installed.image else []
    key = combined([*sources, stack.precision])[:16]
    home = BUILD / "prepared" / stack.folder.parent.name / stack.id / key
    variables = server_variables(artefact, device, threads, stack.precision, home)
    if home.exists():
        return variables
    report.step(f"{stack.id}: converting {artefact.model} for it")
    building = home.with_name(f"{key}.partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    told = {**variables, "PREPARED_DIR": str(building)}
    if installed.image and not stack.container_only:
        command, env = prepare_inside(installed.image, stack, told), None
    else:
        # An image that is not ours need not hold what prepares for it: this Python does.
        home_env = Path(sys.prefix) if installed.image else installed.env
        env = environment_for(home_env, told, {})
        program = find_program(stack.prepare[0], env["PATH"])
        if program is None:
            raise StackFailed(f"there is no command {stack.prepare[0]!r} in its environment")
        command = [program, *stack.prepare[1:]]
    run_shown(
        command,
        cwd=stack.folder,
        env=env,
        show=lambda line: report.detail(f"{stack.id}: {line}"),
        what=f"preparing {where(stack.folder)}",
    )
    for path in (building, *building.rglob("*")):
        if not path.is_symlink():  # servers in containers run as another user, whatever the umask
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
    building.rename(home)
    return variables


def prepare_inside(image: Image, stack: Stack, variables: Mapping[str, str]) -> list[str]:
    """The command that converts the artefact with the stack's own image."""
    inner, mounts = inside({**variables, "PREPARED_DIR": ""})
    inner["PREPARED_DIR"] = "/prepared"
    return once_words(
        image,
        our_mark(),
        stack.prepare,
        [
            *as_caller(image.engine),
            *mounts,
            *("-v", f"{variables['PREPARED_DIR']}:/prepared"),
            *environment_words(inner),
        ],
    )
