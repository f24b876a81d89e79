"""A server's life: start, ready, stop, nothing left behind."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

from bench import sessions
from bench.contained import start_container, stop_container
from bench.containers import Image
from bench.errors import StackFailed
from bench.local_http import open_url
from bench.paths import BUILD
from bench.processes import MARK, RUNS, end_processes, marked, of_session
from bench.running import HOST, Running, free_ports, spawn
from bench.stack import Stack

# Processes that wait for their parent's end (Python's resource tracker) go a little after it.
HELPERS_S = 2.0


def run_mark(run_id: str = "") -> str:
    """What the processes that a run of this checkout started are marked with; "": any run."""
    return f"{RUNS}{run_id}"


def our_mark() -> str:
    """What is started on the way to a server is marked with: whoever starts it, else any run."""
    return os.environ.get(MARK, run_mark())


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
            # A proxy is for what is fetched, never between the processes of this machine.
            **dict.fromkeys(("no_proxy", "NO_PROXY"), without_proxy(full)),
        }
    )
    full.update(variables)
    full.update({f"{name.upper()}_PORT": str(port) for name, port in ports.items()})
    return full


def without_proxy(environ: Mapping[str, str]) -> str:
    """The hosts that need no proxy: those that are named already, and this machine."""
    named = environ.get("no_proxy") or environ.get("NO_PROXY")
    return ",".join(filter(None, (named, HOST, "localhost")))


def start(
    stack: Stack,
    env: Path | None,
    variables: Mapping[str, str],
    cpus: Sequence[int],
    logs: Path,
    mark: str,
    image: Image | None = None,
    asked: Mapping[str, int] | None = None,
) -> Running:
    """Start a stack's server, from `image` if there is one, with a scratch folder of its own, at
    the ports that were `asked` for and at free ones. Raises StackFailed.
    """
    ports = {**free_ports(stack.ports), **(asked or {})}
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
    try:
        with open_url(running.fill(running.stack.ready_url), timeout_s=5) as response:
            body = response.read(1_000_000).decode(errors="replace")
    except (OSError, HTTPException, ValueError):
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
    fault = (
        stop_container(running, running.container) if running.container else stop_process(running)
    )
    sessions.forget(lambda mark: mark == running.mark)
    return fault


def left_behind(running: Running) -> set[int]:
    """What is left of a server that has ended; its helpers get a moment to see that it has."""
    deadline = time.monotonic() + HELPERS_S
    while left := {*marked(running.mark), *of_session(running.pid)}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def stop_process(running: Running) -> str | None:
    """`stop` for a server that is a process of this machine."""
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
    if left := left_behind(running):
        end_processes(sorted(left), 2)
        fault = fault or f"left {len(left)} process(es) behind: ended"
    if running.state:
        shutil.rmtree(running.state, ignore_errors=True)
    return fault
