"""The fixture `server`: the stack whose folder a test file is in, really running."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bench.artefact import Artefact, Payload, read_payloads
from bench.cpus import split_cpus
from bench.errors import StackSkipped
from bench.group import load_group
from bench.progress import Reporter
from bench.serve import served
from bench.server import Running
from bench.settings import Settings, read_settings
from bench.stack import Stack


@dataclass(frozen=True)
class Server:
    """What tests of a stack may rely on."""

    running: Running
    artefact: Artefact
    payloads: list[Payload]

    @property
    def stack(self) -> Stack:
        return self.running.stack

    @property
    def url(self) -> str:
        """Base of the HTTP port, no slash at the end."""
        return f"http://127.0.0.1:{self.running.ports['http']}"

    @property
    def pid(self) -> int:
        return self.running.pid

    def port(self, name: str) -> int:
        return self.running.ports[name]

    def alive(self) -> bool:
        return self.running.alive()

    def payload(self, number: int) -> bytes:
        return self.payloads[number].data()


def asked() -> Settings:
    """The settings that tests take from the shell: what machine there is, and which weights."""
    return read_settings({name: os.environ.get(name, "") for name in ("DEVICE", "WEIGHTS")})


def stack_folder(test_file: Path) -> Path:
    """The stack folder above a test file."""
    for folder in test_file.parents:
        if (folder / "stack.toml").exists():
            return folder
    raise AssertionError(f"{test_file} is not in a stack folder")


@pytest.fixture
def start_server(request: pytest.FixtureRequest, tmp_path: Path):
    """A context manager that starts a server of its own, for tests that end or overload it."""
    import contextlib

    @contextlib.contextmanager
    def start() -> Iterator[Server]:
        folder = stack_folder(request.path)
        report = Reporter(Console(quiet=True))
        try:
            context = served(folder, asked(), split_cpus(dict(os.environ)), tmp_path, report)
            with context as (running, artefact):
                payloads = read_payloads(load_group(folder.parent))
                yield Server(running, artefact, payloads)
        except StackSkipped as skipped:
            pytest.skip(f"{folder.name} can't run here: {skipped}; {skipped.fix or ''}")

    return start


@pytest.fixture
def another(server: Server):
    """another("other.py", NAME="value"): a context manager of (process, HTTP client).

    It runs what `server` runs, beside it, on ports of its own: `words` in place of the command's
    own after the program, the variables changed.
    """
    import contextlib
    import socket
    import subprocess
    import time

    import httpx

    def ready(http: httpx.Client) -> bool:
        try:
            return http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    @contextlib.contextmanager
    def start(
        *words: str, **variables: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        program, *own = server.running.process.args
        given = {**server.running.env, "HTTP_PORT": port, "GRPC_PORT": "0", **variables}
        process = subprocess.Popen([program, *(words or own)], cwd=server.stack.folder, env=given)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                deadline = time.monotonic() + server.stack.ready_timeout_s
                while not ready(http):
                    assert process.poll() is None and time.monotonic() < deadline, "never ready"
                    time.sleep(0.05)
                yield process, http
        finally:
            process.kill()
            process.wait()

    return start


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """One server for all tests of a file. It must outlive them: each test's request is served."""
    folder = stack_folder(request.path)
    logs = tmp_path_factory.mktemp(folder.name)
    report = Reporter(Console(quiet=True))
    try:
        context = served(folder, asked(), split_cpus(dict(os.environ)), logs, report)
        running, artefact = context.__enter__()
    except StackSkipped as skipped:
        pytest.skip(f"{folder.name} can't run here: {skipped}; {skipped.fix or ''}")
    try:
        yield Server(running, artefact, read_payloads(load_group(folder.parent)))
    finally:
        context.__exit__(None, None, None)
