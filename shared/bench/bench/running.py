"""A server that runs: its processes, its memory, its end; and how its command is started."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import containers, sessions
from bench.cgroups import CgroupMeter
from bench.commands import find_program
from bench.containers import Container
from bench.errors import StackFailed
from bench.processes import (
    MARK,
    RUNS,
    SERVES,
    Meter,
    TreeMeter,
    descendants,
    marked,
    of_session,
    tree_pss_bytes,
)
from bench.stack import Stack

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
        return {*descendants(self.pid), *of_session(self.pid), *marked(self.mark)}

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
    program = find_program(command[0], env["PATH"])
    if program is None:
        raise StackFailed(f"there is no command {command[0]!r} in its environment")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        with stdout.open("ab") as out, stderr.open("ab") as err:
            process = subprocess.Popen(
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
    if (mark := env.get(MARK, "")).startswith((RUNS, SERVES)):
        sessions.remember(process.pid, mark)
    return process
