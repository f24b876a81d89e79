"""A server's start and stop where it runs in a container."""

import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import containers
from bench.containers import LABEL, Container, Image
from bench.knobs import knobs_of
from bench.processes import MARK, end_processes, marked
from bench.running import HOST, Running, spawn
from bench.stack import Stack


def own_variables(variables: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """What a server is told by the runner alone, and not by the shell it was started from."""
    told = {
        "HOST": HOST,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": variables.get("THREADS", "1"),
    }
    return {**told, **variables, **{f"{name.upper()}_PORT": str(p) for name, p in ports.items()}}


def start_container(
    stack: Stack,
    image: Image,
    variables: Mapping[str, str],
    ports: Mapping[str, int],
    cpus: Sequence[int],
    logs: Path,
    mark: str,
) -> Running:
    """Start a stack's server as a container, attached to its output. Raises StackFailed.

    A Dockerfile's image starts what it says itself, an upstream one stack.toml's command.
    """
    mark = f"{mark}:{uuid.uuid4().hex[:8]}"
    told = own_variables(variables, ports)
    places = {"host": HOST, "model_dir": "/model", "prepared_dir": "/prepared"}
    places |= {name.lower(): value for name, value in told.items() if name.lower() not in places}
    device = variables.get("DEVICE", "cpu")
    own = {name: each[device] for name, each in stack.container.environment.items()}
    # Where it listens and what it serves is the runner's to say, the rest may be tuned.
    ours = {*told, *(name for name, text in own.items() if "{" in text)}
    full = {name: text.format(**places) for name, text in own.items()}
    full |= {**knobs_of(stack.folder, ours, inside=True), **told, MARK: mark}
    upstream = stack.image != "Dockerfile"
    container = Container(image.engine, f"{LABEL}-{stack.id}-{mark[-8:]}")
    containers.remember(image.engine, mark)
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "oom").unlink(missing_ok=True)
    process = spawn(
        containers.run_words(
            *(image, container.name, mark, full, cpus),
            [word.format(**places) for word in stack.command] if upstream else (),
        ),
        cwd=logs,
        env={**os.environ, MARK: mark},
        cpus=cpus,
        stdout=logs / "server.stdout",
        stderr=logs / "server.stderr",
    )
    return Running(stack, process, mark, dict(ports), full, None, logs, container)


def stop_container(running: Running, container: Container) -> str | None:
    """`stop` for a server in a container: the engine stops it, and it is removed."""
    stack, fault = running.stack, None
    if running.alive():
        if stack.stop:
            containers.ask(
                *(container.engine, "exec", container.name, *stack.stop),
                timeout_s=stack.stop_timeout_s,
            )
        fault = containers.stop_container(container, running.process, stack.stop_timeout_s)
        if containers.killed_for_memory(container, running.logs):
            fault = fault or "a process of it was killed for memory: over its container's limit"
    unremoved = containers.remove(container)
    try:
        running.process.wait(10)
    except subprocess.TimeoutExpired:
        running.process.kill()
        running.process.wait()
    # What the engine itself started for it may outlast the container by a moment.
    end_processes(marked(running.mark), 5)
    return fault or unremoved
