"""A server's life: start, ready, stop, nothing left behind."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import containers
from bench.cgroups import CgroupMeter
from bench.config import Stack
from bench.containers import LABEL, Container, Image
from bench.errors import StackFailed
from bench.knobs import knobs_of
from bench.paths import BUILD, ROOT
from bench.processes import (
    MARK,
    Meter,
    TreeMeter,
    descendants,
    end_processes,
    marked,
    tree_pss_bytes,
)

HOST = "127.0.0.1"


@dataclass
class Running:
    """A started server. `mark` finds its processes even if they left the tree.

    Of one in a container, `process` is the engine's client, which ends with it and as it.
    """

    stack: Stack
    process: subprocess.Popen[bytes]
    mark: str
    ports: dict[str, int]
    env: dict[str, str]
    state: Path | None
    logs: Path
    container: Container | None = None
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False

    @property
    def pid(self) -> int:
        """The process that was started; the server's other processes are below it."""
        return self.process.pid

    def fill(self, text: str) -> str:
        """Replace {host}, {model} and {<name>_port} in a URL of stack.toml."""
        ports = {f"{name}_port": port for name, port in self.ports.items()}
        return text.format(host=HOST, model=self.env.get("MODEL", ""), **ports)

    def alive(self) -> bool:
        """Whether the started process still runs."""
        return self.process.poll() is None

    def processes(self) -> set[int]:
        """All of the server's processes, those that left its tree included."""
        if self.container:
            return containers.cgroup(self.container).pids()
        return {*descendants(self.pid), *marked(self.mark)}

    def meter(self) -> Meter:
        """What reads its CPU time and memory. Raises StackFailed if a container has ended."""
        if self.container:
            return CgroupMeter(containers.cgroup(self.container))
        return TreeMeter(self.pid)

    def memory_bytes(self) -> int:
        """Its memory now: PSS of its tree, or what its container's cgroup holds. Slow."""
        if self.container:
            return containers.cgroup(self.container).memory_bytes()
        return tree_pss_bytes(self.pid)

    def ending(self) -> str:
        """How it ended by itself, in words."""
        how = f"exited with code {self.process.returncode}"
        if self.container and containers.killed_for_memory(self.container, self.logs):
            return f"was killed for memory: it went over its container's limit ({how})"
        return how


def run_mark(run_id: str = "") -> str:
    """What the processes that a run of this checkout started are marked with; "": any run."""
    return f"{ROOT}:run:{run_id}"


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A free TCP port for each name. Another process may still take one before the server binds."""
    sockets: list[socket.socket] = []
    try:
        for _ in names:
            probe = socket.socket()
            probe.bind((HOST, 0))
            sockets.append(probe)
        return {name: probe.getsockname()[1] for name, probe in zip(names, sockets, strict=True)}
    finally:
        for probe in sockets:
            probe.close()


def environment_for(
    env: Path | None, variables: Mapping[str, str], ports: Mapping[str, int]
) -> dict[str, str]:
    """The environment a project's command is started with."""
    full = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    if env is not None:
        full["PATH"] = f"{env / 'bin'}{os.pathsep}{full.get('PATH', '')}"
        full["VIRTUAL_ENV"] = str(env)
    full.update(
        {
            "HOST": HOST,
            "PYTHONUNBUFFERED": "1",
            # Kept, or a server that imports much compiles it all again at every start; kept apart,
            # so that no folder which is digested changes.
            "PYTHONPYCACHEPREFIX": str(BUILD / "cache" / "bytecode"),
            "OMP_NUM_THREADS": variables.get("THREADS", "1"),
        }
    )
    full.update(variables)
    full.update({f"{name.upper()}_PORT": str(port) for name, port in ports.items()})
    return full


def spawn(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    cpus: Sequence[int],
    stdout: Path,
    stderr: Path,
) -> subprocess.Popen[bytes]:
    """Start a process on these CPUs, in a session of its own. Raises StackFailed if it can't be.

    The child inherits the CPUs of the calling thread, so that no code of ours runs in the child.
    """
    program = shutil.which(command[0], path=env["PATH"])
    if program is None:
        raise StackFailed(f"there is no command {command[0]!r} in its environment")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        with stdout.open("ab") as out, stderr.open("ab") as err:
            return subprocess.Popen(
                [program, *command[1:]],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, before)


def start(
    stack: Stack,
    env: Path | None,
    variables: Mapping[str, str],
    cpus: Sequence[int],
    logs: Path,
    mark: str,
    image: Image | None = None,
) -> Running:
    """Start a stack's server, from `image` if there is one, with ports and a scratch folder of its
    own. Raises StackFailed.
    """
    ports = free_ports(stack.ports)
    if image is not None:
        return start_container(stack, image, variables, ports, cpus, logs, mark)
    states = BUILD / "state"
    states.mkdir(parents=True, exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix=f"{stack.id}-", dir=states))
    full = environment_for(env, {**variables, "STATE_DIR": str(state)}, ports)
    full[MARK] = f"{mark}:{uuid.uuid4().hex[:8]}"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        process = spawn(
            stack.command,
            cwd=stack.folder,
            env=full,
            cpus=cpus,
            stdout=logs / "server.stdout",
            stderr=logs / "server.stderr",
        )
    except BaseException:
        shutil.rmtree(state, ignore_errors=True)
        raise
    return Running(stack, process, full[MARK], ports, full, state, logs)


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
    own_names = {name: text.format(**places) for name, text in stack.container.environment.items()}
    full = {**knobs_of(stack.folder, {*told}, inside=True), **told, **own_names, MARK: mark}
    upstream = stack.image != "Dockerfile"
    container = Container(image.engine, f"{LABEL}-{stack.id}-{mark[-8:]}")
    containers.remember(image.engine)
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


def last_words(logs: Path, lines: int = 4) -> str:
    """The end of what a server said, for an error message."""
    for name in ("server.stderr", "server.stdout"):
        try:
            said = (logs / name).read_text(errors="replace").strip().splitlines()
        except OSError:
            continue
        if said:
            return " | ".join(line.strip()[:200] for line in said[-lines:])
    return "(it said nothing)"


def is_ready(running: Running) -> bool:
    """Whether the readiness URL answers 200 with what it must contain."""
    request = urllib.request.Request(running.fill(running.stack.ready_url))
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            body = response.read(1_000_000).decode(errors="replace")
    except (OSError, urllib.error.URLError, ValueError):
        return False
    wanted = running.stack.ready_contains
    return wanted is None or wanted in body


def wait_ready(running: Running) -> float:
    """Seconds from start to ready. Raises StackFailed if it dies or never gets ready."""
    deadline = running.started + running.stack.ready_timeout_s
    while time.monotonic() < deadline:
        if is_ready(running):
            return time.monotonic() - running.started
        if not running.alive():
            raise StackFailed(f"{running.ending()} before it was ready: {last_words(running.logs)}")
        time.sleep(0.05)
    raise StackFailed(
        f"not ready after {running.stack.ready_timeout_s:.0f} s: {last_words(running.logs)}"
    )


def stop(running: Running) -> str | None:
    """End a server as an operator would; what stays is killed.

    Returns what was wrong with its going, or None for a clean exit 0.
    """
    if running.stopped:
        return None
    running.stopped = True
    if running.container:
        return stop_container(running, running.container)
    fault: str | None = None
    timeout = running.stack.stop_timeout_s
    if running.alive():
        if running.stack.stop:
            try:
                subprocess.run(
                    running.stack.stop,
                    cwd=running.stack.folder,
                    env=running.env,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=timeout,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                fault = f"its stop command failed: {error}"
        if running.alive():
            running.process.send_signal(signal.SIGTERM)
        try:
            code = running.process.wait(timeout)
            if code != 0:
                fault = f"exited with code {code} after SIGTERM"
        except subprocess.TimeoutExpired:
            fault = f"still running {timeout:.0f} s after SIGTERM: killed"
            running.process.kill()
            running.process.wait()
    if left := marked(running.mark):
        names = len(left)
        end_processes(left, 2)
        fault = fault or f"left {names} process(es) behind: ended"
    if running.state:
        shutil.rmtree(running.state, ignore_errors=True)
    return fault


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
