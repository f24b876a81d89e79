"""Container engines, and the life of one container: run, ended how, stopped, nothing left behind.

docker, podman and nerdctl take the same words; ENGINES holds the few that differ.
"""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.cgroups import Cgroup, cgroup_of
from bench.cpus import format_cpus
from bench.errors import StackFailed, StackSkipped
from bench.paths import BUILD
from bench.processes import RUNS, SERVES

# Of every container that is started; its value says by whom.
LABEL = "inference-study"
# One file an engine and starter that may have given it containers; it holds the starter's mark.
USED = BUILD / "containers"


@dataclass(frozen=True)
class ContainerEngine:
    """A command that runs containers, and its own words for what they all can."""

    name: str
    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ("--gpus", "all")
    # Lets the caller's user write to a mounted folder where the engine is not run by root.
    own_user: tuple[str, ...] = ()


# An engine's own health checks would be requests that no load asked for: the runner asks itself.
ENGINES = (
    ContainerEngine("docker", run=("--no-healthcheck",)),
    ContainerEngine(
        "podman",
        build=("--format", "docker"),  # OCI's format has no HEALTHCHECK
        # label=disable: SELinux would keep the container from what is mounted.
        run=("--no-healthcheck", "--security-opt=label=disable"),
        gpus=("--device", "nvidia.com/gpu=all"),
        own_user=("--userns", "keep-id"),
    ),
    ContainerEngine("nerdctl"),
)


@dataclass(frozen=True)
class Image:
    """An image that is on this machine, and `flags`, the user's own words for its engine's run."""

    engine: ContainerEngine
    name: str
    id: str
    size_mb: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Container:
    """A container that was started, by its name."""

    engine: ContainerEngine
    name: str


def ask(
    engine: ContainerEngine, *words: str, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Have the engine do something short. A hanging one answers 124, as `timeout` would."""
    command = [engine.name, *words]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer in {timeout_s:.0f} s")


def last_line(text: str) -> str:
    """The last line that says something: where command-line tools put what went wrong."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def find_engine() -> ContainerEngine:
    """The first engine on PATH that answers. Raises StackSkipped naming those that don't."""
    silent: list[str] = []
    for engine in ENGINES:
        if shutil.which(engine.name):
            said = ask(engine, "info", timeout_s=15)
            if said.returncode == 0:
                return engine
            silent.append(f"{engine.name} does not answer ({last_line(said.stderr)[:200]})")
    names = ", ".join(engine.name for engine in ENGINES)
    raise StackSkipped(
        "; ".join(silent) or f"there is no container engine here ({names})",
        fix="apt-get install podman, or start the engine's daemon",
    )


def inside(variables: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables as they hold in a container, and the words that mount what they name."""
    mapped = dict(variables)
    mounts: list[str] = []
    for name, place in (("MODEL_DIR", "/model"), ("PREPARED_DIR", "/prepared")):
        if folder := variables.get(name):
            mapped[name] = place
            mounts += ["-v", f"{folder}:{place}:ro"]
    return mapped, mounts


def environment_words(variables: Mapping[str, str]) -> list[str]:
    """The words that set variables in a container."""
    return [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]


def owner_of(mark: str) -> str:
    """Whose a container is, as its label says: all runs of this checkout are one owner."""
    return RUNS.removesuffix(":") if mark.startswith(RUNS) else mark


def run_words(
    image: Image,
    name: str,
    mark: str,
    variables: Mapping[str, str],
    cpus: Sequence[int],
    entrypoint: Sequence[str] = (),
) -> list[str]:
    """The command that runs a server's container in the foreground.

    The host's network, because a proxy or a bridge would be measured too; nothing of the image can
    be written to; /tmp and STATE_DIR are memory of the container's own. `entrypoint`: instead of
    the image's.
    """
    inner, mounts = inside(variables)
    engine = image.engine
    return [
        *(engine.name, "run", "--name", name, "--label", f"{LABEL}={owner_of(mark)}"),
        *("--pull=never", "--network=host", "--read-only", "--shm-size=1g"),
        *("--tmpfs=/tmp:exec,mode=1777", "--tmpfs=/state:exec,mode=1777"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
        f"--cpuset-cpus={format_cpus(cpus)}",
        *engine.run,
        *(engine.gpus if variables.get("DEVICE") == "cuda" else ()),
        *mounts,
        *environment_words({**inner, "STATE_DIR": "/state"}),
        *image.flags,
        *(("--entrypoint", entrypoint[0]) if entrypoint else ()),
        image.name,
        *entrypoint[1:],
    ]


def once_words(
    image: Image, mark: str, words: Sequence[str], more: Sequence[str] = ()
) -> list[str]:
    """The command that has a program of the image do something short, with no network."""
    return [
        *(image.engine.name, "run", "--rm", "--label", f"{LABEL}={owner_of(mark)}"),
        *("--pull=never", "--network=none", "--read-only", "--tmpfs=/tmp:exec,mode=1777"),
        *image.engine.run,
        *more,
        *image.flags,
        *("--entrypoint", words[0], image.name, *words[1:]),
    ]


def as_caller(engine: ContainerEngine) -> list[str]:
    """The words that have a container write files as the user who started it."""
    rootless = engine.own_user if os.getuid() else ()
    return ["--user", f"{os.getuid()}:{os.getgid()}", *rootless]


def flags_of(text: str | None) -> tuple[str, ...]:
    """CONTAINER_FLAGS as words."""
    return tuple(shlex.split(text or ""))


def inspect(container: Container, form: str) -> str | None:
    """One property of a container as its engine tells it, None if it doesn't."""
    said = ask(container.engine, "container", "inspect", "--format", form, container.name)
    return said.stdout.strip() if said.returncode == 0 else None


@cache
def cgroup(container: Container) -> Cgroup:
    """Where the kernel accounts for a container. Raises StackFailed if it has ended."""
    pid = inspect(container, "{{.State.Pid}}") or ""
    if not pid.isdigit() or pid == "0":
        raise StackFailed("the container has ended")
    return cgroup_of(int(pid))


def killed_for_memory(container: Container, logs: Path) -> bool:
    """Whether the kernel ended a process of it for going over its memory limit.

    podman 4's monitor tells it by a file where the client was started, and podman itself doesn't.
    """
    return (logs / "oom").exists() or inspect(container, "{{.State.OOMKilled}}") == "true"


def stop_container(
    container: Container, client: subprocess.Popen[bytes], grace_s: float
) -> str | None:
    """Stop it as an operator would: its stop signal, then SIGKILL after `grace_s`.

    Returns what was wrong with its going, None for a clean exit 0.
    """
    asked = time.monotonic()
    said = ask(
        container.engine, "stop", "-t", f"{grace_s:.0f}", container.name, timeout_s=grace_s + 30
    )
    took_s = time.monotonic() - asked
    try:
        code = client.wait(10)
    except subprocess.TimeoutExpired:
        return f"could not be stopped: {last_line(said.stderr)}"
    if code == 137 and took_s >= grace_s:
        return f"still running {grace_s:.0f} s after it was told to stop: killed"
    return f"exited with code {code} after it was told to stop" if code else None


def remove(container: Container) -> str | None:
    """Remove it, running or not. Returns why that failed, if it did."""
    said = ask(container.engine, "rm", "-f", "-v", container.name, timeout_s=90)
    return None if said.returncode == 0 else f"could not be removed: {last_line(said.stderr)}"


def remember(engine: ContainerEngine, mark: str) -> None:
    """Note, before it is given a container, an engine in which it may be left."""
    if mark.startswith((RUNS, SERVES)):
        USED.mkdir(parents=True, exist_ok=True)
        partial = USED / f".{engine.name}.{os.getpid()}"
        partial.write_text(owner_of(mark))
        partial.replace(USED / partial.name[1:])


def starter_of(note: Path) -> str:
    """The mark in a file of USED, "" if another has dropped it meanwhile."""
    try:
        return note.read_text()
    except FileNotFoundError:
        return ""


def remove_leftovers(dead: Callable[[str], bool]) -> int:
    """Remove all containers of starters that are dead, by their marks. Returns how many there were.

    No engine is asked to which none of them gave any.
    """
    removed = 0
    notes = [file for file in sorted(USED.glob("[!.]*")) if dead(starter_of(file))]
    for engine in ENGINES:
        mine = [file for file in notes if file.stem == engine.name]
        if not mine or shutil.which(engine.name) is None:
            continue
        found = ask(engine, "ps", "-aq", "--filter", f"label={LABEL}")
        for name in found.stdout.split():
            container = Container(engine, name)
            mark = inspect(container, f'{{{{index .Config.Labels "{LABEL}"}}}}')
            if mark is not None and dead(mark):
                remove(container)
                removed += 1
        if found.returncode == 0:
            for file in mine:
                file.unlink(missing_ok=True)
    return removed
